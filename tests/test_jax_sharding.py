"""Losses on eight devices: the numbers are those of one, and no device ever holds all weights."""

import copy
import doctest
import pickle
import re
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import float_arrays, gentle, made, per_class, rowwise

import anglos
from anglos import Loss

jax: Any = import_module("jax")
jnp: Any = jax.numpy
P: Any = jax.sharding.PartitionSpec
batch_sharded: Any = import_module("anglos.backends.jax").batch_sharded
class_sharded: Any = import_module("anglos.backends.jax").class_sharded

pytestmark = pytest.mark.slow

DEVICES, BATCH, CLASSES, DIMENSION = 8, 16, 56, 5


@pytest.fixture
def mesh(jax_library: Library) -> Any:
    return mesh_of((DEVICES,), ("devices",))


def mesh_of(shape: tuple[int, ...], names: tuple[str, ...], kind: str = "Auto") -> Any:
    """Made by tests/conftest.py, if it was imported before JAX and XLA_FLAGS was not set already."""
    devices = jax.devices("cpu")
    assert len(devices) >= DEVICES, "XLA_FLAGS must hold --xla_force_host_platform_device_count=8"
    kinds = (getattr(jax.sharding.AxisType, kind),) * len(names)
    return jax.make_mesh(shape, names, axis_types=kinds, devices=devices[:DEVICES])


def inputs_of(loss: Loss[...], count: int = CLASSES) -> list[np.ndarray]:
    """The two samples of a class are on different devices, and so are all classes that occur."""
    random = np.random.default_rng(0)
    classes = (np.arange(DEVICES) * count // DEVICES + np.arange(DEVICES) % 6) % count
    named = {"embeddings": random.normal(size=(BATCH, DIMENSION)), "weights": random.normal(size=(count, DIMENSION)),
             "logits": random.normal(size=(BATCH, count)), "labels": np.tile(classes, 2)}
    named |= {name: random.normal(size=(BATCH, DIMENSION)) for name in ("others", "more")}
    return made(loss, named)


def placed(loss: Loss[...], inputs: list[np.ndarray], mesh: Any, layout: str, batch: Any = "devices",
           classes: Any = "devices") -> list[Any]:
    specs = [P(classes) if per_class(loss, name) and layout != "batch" else
             P(batch) if not per_class(loss, name) and layout != "classes" else P() for name in loss.arrays]
    return [jax.device_put(jnp.asarray(array), jax.sharding.NamedSharding(mesh, spec))
            for array, spec in zip(inputs, specs, strict=True)]


def whole_weights(compiled: Any, count: int = CLASSES) -> set[str]:
    """Arrays on one device that hold a number for every class and dimension."""
    sizes = {count * DIMENSION * several for several in (1, 3)}
    return {shape for shape in re.findall(r"\bf64\[([\d,]+)\]", compiled.as_text())
            if np.prod([int(size) for size in shape.split(",")]) in sizes}


def collectives_in_loops(text: str) -> list[str]:
    """Of a compiled module, what devices exchange in every turn of a loop."""
    bodies: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith(" "):
            bodies[line.removeprefix("ENTRY ").split()[0].lstrip("%")] = lines = []
        elif line.startswith(" "):
            lines.append(line)
    found, seen, to_see = [], set(), re.findall(r"body=%?([\w.\-]+)", text)
    while to_see:
        name = to_see.pop()
        if name not in seen:
            seen.add(name)
            found += [line.strip() for line in bodies[name] if re.search(
                r" (all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(-start)?\(", line)]
            to_see += re.findall(r"(?:calls|body|condition|to_apply)=%?([\w.\-]+)", "\n".join(bodies[name]))
    return found


def assert_steps_are_equal(loss: Any, inputs: list[np.ndarray], step: Any, where: list[Any], options: Any) -> Any:
    """Of gradient descent: a gradient lives where its parameter does."""
    value, gradients = loss.value_and_grad(*inputs, **options)
    compiled = jax.jit(step).lower(*where).compile()
    got_value, got = compiled(*where)
    np.testing.assert_allclose(got_value, value, rtol=1e-12)
    for one, gradient, before in zip(got, gradients, inputs, strict=False):
        np.testing.assert_allclose(one, before - gradient, rtol=0, atol=1e-11)
    return compiled


def descent(loss: Any, count: int, options: dict[str, Any]) -> Any:
    def step(*arrays: Any) -> Any:
        value, gradients = jax.value_and_grad(lambda *a: loss(*a, **options), argnums=tuple(range(count)))(*arrays)
        return value, [array - gradient for array, gradient in zip(arrays, gradients, strict=False)]

    return step


@pytest.mark.parametrize("layout", ["batch", "classes", "both"])
def test_named_sharding_under_plain_jit(loss: Loss[...], mesh: Any, layout: str) -> None:
    if layout != "batch" and not any(per_class(loss, name) for name in loss.arrays):
        pytest.skip("has no array with a row per class")
    inputs = inputs_of(loss)
    step = descent(loss, len(float_arrays(loss)), {})
    compiled = assert_steps_are_equal(loss, inputs, step, placed(loss, inputs, mesh, layout), {})
    assert bool(whole_weights(compiled)) == (layout == "batch" and any(per_class(loss, name) for name in loss.arrays))


@pytest.mark.parametrize("name", ["arcface", "subcenter_arcface", "inter_topk", "proxy_anchor", "center", "supcon"])
def test_mesh_with_explicit_axes(name: str, jax_library: Library) -> None:
    """What jax.make_mesh gives unless told otherwise."""
    loss = anglos.LOSSES[name]
    mesh = mesh_of((DEVICES,), ("devices",), "Explicit")
    inputs = inputs_of(loss)
    step = descent(loss, len(float_arrays(loss)), {})
    compiled = assert_steps_are_equal(loss, inputs, step, placed(loss, inputs, mesh, "both"), {})
    assert not whole_weights(compiled)


@pytest.mark.parametrize("name", ["cosface", "supcon"])
def test_one_array_on_a_mesh_with_explicit_axes(name: str, jax_library: Library) -> None:
    """The others go where it is, without jit too; a gradient without jit JAX itself refuses, of `x @ w.T` too."""
    loss = anglos.LOSSES[name]
    everywhere = jax.sharding.NamedSharding(mesh_of((DEVICES,), ("devices",), "Explicit"), P())
    *floats, labels = map(jnp.asarray, inputs_of(loss))
    option = {"cosface": "scale", "supcon": "temperature"}[name]
    inputs = [*floats, jnp.asarray(2.0)]

    def value(*inputs: Any) -> Any:
        return loss(*inputs[:-1], labels, **{option: inputs[-1]})

    step = jax.value_and_grad(value, argnums=tuple(range(len(inputs))))
    wanted = step(*inputs)
    for place in range(len(inputs)):
        where = [jax.device_put(one, everywhere) if i == place else one for i, one in enumerate(inputs)]
        np.testing.assert_allclose(value(*where), wanted[0], rtol=1e-12)
        jax.tree.map(lambda got, want: np.testing.assert_allclose(got, want, rtol=0, atol=1e-11),
                     jax.jit(step)(*where), wanted)


def test_shard_map_over_the_batch(single: Loss[...], mesh: Any) -> None:
    loss, inputs, options = single, inputs_of(single), rowwise(single)
    specs = tuple(P() if per_class(loss, name) else P("devices") for name in loss.arrays)
    mean = jax.shard_map(lambda *a: jax.lax.pmean(loss(*a, **options), "devices"), mesh=mesh, in_specs=specs,
                         out_specs=P())
    assert_steps_are_equal(loss, inputs, descent(mean, len(float_arrays(loss)), {}),
                           placed(loss, inputs, mesh, "batch"), options)


def sharded_options(loss: Loss[...], count: int = CLASSES) -> dict[str, Any]:
    """Those that have to do with all classes."""
    options: dict[str, Any] = {"label_smoothing": 0.1} if "label_smoothing" in loss.defaults else {}
    if "C" in getattr(loss.kinds.get("bias"), "shapes", ()):
        options["bias"] = np.linspace(-1.0, 1.0, count)
    return {**gentle(loss), **options, "keep_bytes": 0}


def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of 2, where a device has 7 classes."""
    monkeypatch.setattr(import_module("anglos.backends.jax").Jax, "class_tile_width", lambda *_: 2)


def test_class_sharded(prototype: Loss[...], mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    inputs, options = inputs_of(prototype), sharded_options(prototype)
    step = descent(class_sharded(prototype, mesh, "devices"), len(float_arrays(prototype)), options)
    where = placed(prototype, inputs, mesh, "both")
    compiled = assert_steps_are_equal(prototype, inputs, step, where, options)
    assert not whole_weights(compiled)
    assert "while" in compiled.as_text()
    assert not collectives_in_loops(compiled.as_text())


@pytest.mark.parametrize("soft", [False, True])
def test_class_sharded_targets_and_class_weights(soft: bool, mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    loss: Loss[...] = anglos.linear_cross_entropy
    random = np.random.default_rng(1)
    inputs, options = inputs_of(loss), {"class_weight": random.random(CLASSES), "label_smoothing": 0.2}
    inputs[2] = random.random((BATCH, CLASSES)) if soft else inputs[2]
    step = descent(class_sharded(loss, mesh, "devices"), 2, options)
    assert not whole_weights(assert_steps_are_equal(loss, inputs, step, placed(loss, inputs, mesh, "both"), options))


def test_class_sharded_to_second_order(prototype: Loss[...], mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if prototype is anglos.cosface:  # one of them in narrow tiles, which compile for long
        narrow(monkeypatch)
    inputs, options = inputs_of(prototype), sharded_options(prototype)
    places = tuple(range(len(float_arrays(prototype))))

    def penalty_of(function: Any) -> Any:
        def penalty(*arrays: Any) -> Any:
            gradients = jax.grad(lambda *a: function(*a, **options), argnums=places)(*arrays)
            return sum(jnp.sum(gradient**2) for gradient in gradients)

        return jax.jit(jax.grad(penalty, argnums=places))

    where = placed(prototype, inputs, mesh, "both")
    compiled = penalty_of(class_sharded(prototype, mesh, "devices")).lower(*where).compile()
    wanted = penalty_of(prototype.plain)(*map(jnp.asarray, inputs))
    for got, want in zip(compiled(*where), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * max(1.0, np.abs(want).max()))
    assert not whole_weights(compiled)


UNEVEN = 53  # 7 on every device but the last, which has 4
FEW = 18  # 3 on each of six devices, and none on two


def padded(array: np.ndarray, rows: int, axis: int = 0) -> np.ndarray:
    """With rows of NaN after its own."""
    widths = [(0, rows - array.shape[axis] if place == axis else 0) for place in range(array.ndim)]
    return np.pad(array, widths, constant_values=np.nan)


def assert_padding_does_not_count(loss: Loss[...], count: int, mesh: Any, inputs: list[np.ndarray],
                                  options: dict[str, Any], wrt: tuple[str, ...]) -> None:
    """By both ways to the gradient, with arrays of classes that were sharded when they came, and stay so."""
    rows = -(-count // DEVICES) * DEVICES
    sharded = class_sharded(loss, mesh, "devices", num_classes=count)
    named = {**dict(zip(loss.arrays, inputs, strict=True)), **options}
    of_classes = {name: array.shape.index(count) for name, array in named.items()
                  if isinstance(array, np.ndarray) and count in array.shape}
    assert loss.arrays[1] in of_classes
    places = {name: P(*[None] * axis, "devices") for name, axis in of_classes.items()}
    where = {name: jax.device_put(padded(named[name], rows, axis), jax.sharding.NamedSharding(mesh, places[name]))
             for name, axis in of_classes.items()}
    where |= {name: jnp.asarray(array) for name, array in named.items()
              if isinstance(array, np.ndarray) and name not in where}
    numbers = {name: option for name, option in options.items() if name not in where}

    def call(function: Any, where: dict[str, Any], **more: Any) -> Any:
        arrays = {name: where[name] for name in loss.arrays}
        return function(*arrays.values(), **{name: array for name, array in where.items() if name not in arrays},
                        **numbers, **more)

    def step(where: dict[str, Any]) -> Any:
        some, others = ({name: array for name, array in where.items() if (name in wrt) == is_in}
                        for is_in in (True, False))
        return jax.value_and_grad(lambda some: call(sharded, {**some, **others}))(some), call(
            sharded.value_and_grad, where, wrt=wrt)

    value, gradients = loss.value_and_grad(*inputs, **options, wrt=wrt)
    compiled = jax.jit(step).lower(where).compile()
    (one, differentiated), (other, computed) = compiled(where)
    np.testing.assert_allclose([one, other], value, rtol=1e-12)
    for name, gradient, also in zip(wrt, gradients, computed, strict=True):
        for got in (differentiated[name], also):
            if name in of_classes:
                shape = tuple(count if size == rows else size for size in got.shape)
                kept = np.asarray(got)[tuple(map(slice, shape))]
                assert np.sum(got != 0.0) == np.sum(kept != 0.0)  # and no NaN
                got = kept
            np.testing.assert_allclose(got, gradient, rtol=0, atol=1e-11)
    assert not whole_weights(compiled, rows) | whole_weights(compiled, count)


@pytest.mark.parametrize("count", [UNEVEN, FEW])
def test_class_sharded_padded_weights(prototype: Loss[...], count: int, mesh: Any, monkeypatch: pytest.MonkeyPatch
                                      ) -> None:
    if count == FEW and prototype.name not in ("arcface", "inter_topk", "subcenter_arcface", "c_triplet"):
        pytest.skip("differs from the other number in nothing but devices without a class")
    narrow(monkeypatch)
    options = {name: np.asarray(option) if name == "label_smoothing" else option
               for name, option in sharded_options(prototype, count).items()}
    wrt = (*float_arrays(prototype), *(name for name in ("bias", "label_smoothing") if name in options))
    assert_padding_does_not_count(prototype, count, mesh, inputs_of(prototype, count), options, wrt)


@pytest.mark.parametrize("count", [CLASSES, UNEVEN, FEW])
def test_class_sharded_proxies(count: int, mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("anglos.backends.jax").Jax, "tile_width", lambda *_: 2)
    loss: Loss[...] = anglos.proxy_anchor
    assert_padding_does_not_count(loss, count, mesh, inputs_of(loss, count), {}, loss.arrays[:2])


@pytest.mark.parametrize("count", [CLASSES, UNEVEN, FEW])
def test_class_sharded_centers(count: int, mesh: Any) -> None:
    """Each sample's centre comes from the device that has it, and its gradient goes there."""
    loss: Loss[...] = anglos.center
    inputs = inputs_of(loss, count)
    assert_padding_does_not_count(loss, count, mesh, inputs, {}, loss.arrays[:2])
    sharded = class_sharded(loss, mesh, "devices", num_classes=count)
    embeddings, centers, labels = inputs
    where = placed(loss, [embeddings, padded(centers, -(-count // DEVICES) * DEVICES), labels], mesh, "both")

    def second(function: Any, embeddings: Any, centers: Any) -> Any:
        def penalty(*arrays: Any) -> Any:
            return sum(jnp.sum(one**2) for one in jax.grad(lambda *a: function(*a, labels), argnums=(0, 1))(*arrays))

        return jax.grad(penalty, argnums=(0, 1))(embeddings, centers)

    wanted = second(loss.plain, jnp.asarray(embeddings), jnp.asarray(centers))
    for form in (sharded, sharded.plain):
        compiled = jax.jit(lambda *a, form=form: second(form, *a)).lower(*where[:2]).compile()
        assert not whole_weights(compiled, where[1].shape[0]) | whole_weights(compiled, count)
        for got, want in zip(compiled(*where[:2]), wanted, strict=True):
            np.testing.assert_allclose(got[:want.shape[0]], want, rtol=0, atol=1e-13)


@pytest.mark.parametrize("soft", [False, True])
def test_class_sharded_padded_targets_and_class_weights(soft: bool, mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    loss: Loss[...] = anglos.linear_cross_entropy
    random = np.random.default_rng(1)
    inputs = inputs_of(loss, UNEVEN)
    options = {"class_weight": random.random(UNEVEN), "label_smoothing": np.asarray(0.2),
               "bias": random.normal(size=UNEVEN)}
    inputs[2] = random.random((BATCH, UNEVEN)) if soft else inputs[2]
    assert_padding_does_not_count(loss, UNEVEN, mesh, inputs, options,
                                  ("embeddings", "weights", *["labels"] * soft, "bias", "label_smoothing"))


@pytest.mark.parametrize("count", [UNEVEN, FEW, 3])
@pytest.mark.parametrize("name", ["arcface", "inter_topk", "linear_cross_entropy", "c_triplet"])
def test_class_sharded_whole_weights_of_any_number(name: str, count: int, mesh: Any, monkeypatch: pytest.MonkeyPatch
                                                   ) -> None:
    narrow(monkeypatch)
    loss: Loss[...] = anglos.LOSSES[name]
    inputs, options = inputs_of(loss, count), sharded_options(loss, count)
    step = descent(class_sharded(loss, mesh, "devices"), 2, options)
    assert_steps_are_equal(loss, inputs, step, placed(loss, inputs, mesh, "batch"), options)


@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
@pytest.mark.parametrize("axis", ["classes", ("rows", "classes")])
def test_class_sharded_over_axes_of_a_mesh(axis: Any, kind: str, jax_library: Library,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    loss, mesh = anglos.arcface, mesh_of((2, 4), ("rows", "classes"), kind)
    inputs = inputs_of(loss)
    step = descent(class_sharded(loss, mesh, axis), 2, {})
    compiled = assert_steps_are_equal(loss, inputs, step, placed(loss, inputs, mesh, "both", "rows", axis), {})
    assert not whole_weights(compiled)


def test_class_sharded_inside_shard_map(jax_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the user, over another axis."""
    narrow(monkeypatch)
    loss, mesh = anglos.arcface, mesh_of((2, 4), ("rows", "classes"))
    inputs, sharded = inputs_of(loss), class_sharded(loss, mesh, "classes")
    mean = jax.shard_map(lambda *a: jax.lax.pmean(sharded(*a), "rows"), mesh=mesh, axis_names={"rows"},
                         in_specs=(P("rows"), P(), P("rows")), out_specs=P())
    where = placed(loss, inputs, mesh, "both", "rows", "classes")
    compiled = assert_steps_are_equal(loss, inputs, descent(mean, 2, {}), where, {})
    assert not whole_weights(compiled)


@pytest.mark.parametrize("check_vma", [True, False])
def test_shard_map_with_scanned_tiles(check_vma: bool, mesh: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    narrow(monkeypatch)
    loss, inputs = anglos.arcface, inputs_of(anglos.arcface)
    mean = jax.shard_map(lambda *a: jax.lax.pmean(loss(*a), "devices"), mesh=mesh, check_vma=check_vma,
                         in_specs=(P("devices"), P(), P("devices")), out_specs=P())
    assert_steps_are_equal(loss, inputs, descent(mean, 2, {}), placed(loss, inputs, mesh, "batch"), {})


def test_class_sharded_saves_memory(mesh: Any) -> None:
    """Of a device's logits, 64 × 8192, and of their gradient, only tiles are held."""
    floats = [jax.ShapeDtypeStruct(shape, "float32", sharding=jax.sharding.NamedSharding(mesh, spec))
              for shape, spec in (((64, 16), P()), ((65536, 16), P("devices")))]
    labels = jax.ShapeDtypeStruct((64,), "int32", sharding=jax.sharding.NamedSharding(mesh, P()))
    peaks = []
    for width in (65536, 256):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(import_module("anglos.backends.jax").Jax, "class_tile_width", lambda *_, width=width: width)
            step = jax.jit(jax.grad(class_sharded(anglos.arcface, mesh, "devices"), argnums=(0, 1)))
            peaks.append(step.lower(*floats, labels).compile().memory_analysis().temp_size_in_bytes)
    assert peaks[1] < peaks[0] / 3


def test_class_sharded_in_a_layer(mesh: Any) -> None:
    Head = import_module("anglos.backends.equinox").Head
    embeddings, _, labels = map(jnp.asarray, inputs_of(anglos.arcface))
    loss = class_sharded(anglos.arcface, mesh, "devices")
    assert loss is class_sharded(anglos.arcface, mesh, ("devices",)) != anglos.arcface
    heads = [Head(one, CLASSES, DIMENSION, key=jax.random.key(0), dtype="float64") for one in (loss, anglos.arcface)]
    for call in (lambda head: head(embeddings, labels), lambda head: head.logits(embeddings)):
        got, wanted = map(call, heads)
        np.testing.assert_allclose(got, wanted, rtol=1e-13)


@pytest.mark.parametrize("name", ["cosface", "subcenter_arcface", "linear_cross_entropy"])
def test_class_sharded_padded_weights_to_second_order(name: str, mesh: Any) -> None:
    """By the custom gradient, and by JAX's own of `plain`."""
    loss: Loss[...] = anglos.LOSSES[name]
    sharded = class_sharded(loss, mesh, "devices", num_classes=UNEVEN)
    embeddings, weights, labels = inputs_of(loss, UNEVEN)

    def second(function: Any, embeddings: Any, weights: Any) -> Any:
        def penalty(*arrays: Any) -> Any:
            return sum(jnp.sum(one**2) for one in jax.grad(lambda *a: function(*a, labels), argnums=(0, 1))(*arrays))

        return jax.grad(penalty, argnums=(0, 1))(embeddings, weights)

    wanted = jax.jit(lambda *a: second(loss.plain, *a))(embeddings, weights)
    where = jax.device_put(padded(weights, CLASSES), jax.sharding.NamedSharding(mesh, P("devices")))
    got = jax.jit(lambda *a: (second(sharded, *a), second(sharded.plain, *a)))(embeddings, where)
    for d_embeddings, d_weights in got:
        np.testing.assert_allclose(d_embeddings, wanted[0], rtol=0, atol=1e-12 * np.abs(wanted[0]).max())
        np.testing.assert_allclose(d_weights[:UNEVEN], wanted[1], rtol=0, atol=1e-12 * np.abs(wanted[1]).max())
        assert np.all(d_weights[UNEVEN:] == 0.0)


def test_class_sharded_labels_of_padding_are_refused(mesh: Any) -> None:
    sharded = class_sharded(anglos.arcface, mesh, "devices", num_classes=UNEVEN)
    arrays = jnp.ones((3, 4)), jnp.ones((CLASSES, 4))
    with pytest.raises(ValueError, match=r"^arcface: labels held 53 at position 1; wanted 0 to 52, or ignore_index"):
        sharded(*arrays, jnp.asarray([0, UNEVEN, -100]))
    traced = jax.jit(sharded, static_argnames="reduction")(*arrays, jnp.asarray([0, UNEVEN, -100]), reduction="none")
    np.testing.assert_array_equal(jnp.isnan(traced), [False, True, False])
    assert class_sharded(anglos.arcface, mesh, "devices", num_classes=np.int64(UNEVEN)) is sharded


def test_class_sharded_sampling(mesh: Any) -> None:
    """Under jit the number of rows depends on shapes alone; 28 are no multiple of the devices."""
    whole = anglos.correct_sampling(anglos.arcface)
    sharded = class_sharded(whole, mesh, "devices")
    embeddings, weights, labels = map(jnp.asarray, inputs_of(anglos.arcface))
    where = jax.device_put(weights, jax.sharding.NamedSharding(mesh, P("devices")))

    def step(embeddings: Any, weights: Any, key: Any) -> Any:
        sampled = anglos.sample_classes(labels, CLASSES, 0.5, rng=key)

        def value(embeddings: Any, weights: Any) -> Any:
            return sharded(embeddings, weights[sampled.rows], sampled.labels, log_probability=sampled.log_probability)

        return jax.value_and_grad(value, argnums=(0, 1))(embeddings, weights), sampled

    (value, (d_embeddings, d_weights)), sampled = jax.jit(step)(embeddings, where, jax.random.key(0))
    assert sampled.rows.shape == (28,)
    wanted, gradients = whole.value_and_grad(embeddings, weights[sampled.rows], sampled.labels,
                                             log_probability=sampled.log_probability)
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    np.testing.assert_allclose(d_embeddings, gradients[0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(d_weights[sampled.rows], gradients[1], rtol=0, atol=1e-12)
    assert np.count_nonzero(np.any(d_weights != 0.0, axis=1)) <= 28


def test_labels_on_a_mesh_with_explicit_axes(jax_library: Library) -> None:
    """They are sampled as on one device, and refused by name."""
    mesh = mesh_of((DEVICES,), ("devices",), "Explicit")
    labels = jnp.asarray(inputs_of(anglos.arcface)[-1])
    where = jax.device_put(labels, jax.sharding.NamedSharding(mesh, P("devices")))

    def sampled(labels: Any, key: Any) -> Any:
        return anglos.sample_classes(labels, CLASSES, 0.5, rng=key)

    for sample in (sampled, jax.jit(sampled)):
        for got, wanted in zip(sample(where, jax.random.key(0)), sample(labels, jax.random.key(0)), strict=True):
            np.testing.assert_array_equal(got, wanted)
    outside = jax.device_put(labels.at[5].set(CLASSES), where.sharding)
    for loss in (anglos.arcface, class_sharded(anglos.arcface, mesh, "devices")):
        with pytest.raises(ValueError, match=r"^arcface: labels held 56 at position 5; wanted 0 to 55, or ignore_ind"):
            loss(jnp.ones((BATCH, 4)), jnp.ones((CLASSES, 4)), outside)
    with pytest.raises(ValueError, match=r"^sample_classes: labels held 56 at position 5; wanted 0 to 55, or ignore_"):
        sampled(outside, jax.random.key(0))


def test_plain_and_value_and_grad_on_a_mesh_with_explicit_axes(jax_library: Library) -> None:
    mesh = mesh_of((DEVICES,), ("devices",), "Explicit")
    cases = (anglos.arcface, class_sharded(anglos.arcface, mesh, "devices", num_classes=UNEVEN)), (
        anglos.clip, batch_sharded(anglos.clip, mesh, "devices"))
    for whole, sharded in cases:
        inputs = inputs_of(whole, UNEVEN)
        where = placed(whole, [padded(one, CLASSES) if per_class(whole, name) else one
                               for name, one in zip(whole.arrays, inputs, strict=True)], mesh, "both")
        for call in (sharded.plain, sharded.value_and_grad, jax.jit(sharded.plain), jax.jit(sharded.value_and_grad)):
            with pytest.raises(ValueError, match=r"^plain, value_and_grad: an array was on a mesh whose axis 'devices' "
                                                 r"is explicit; wanted the call inside jax.sharding.auto_axes, or "
                                                 r"axes of type AxisType.Auto\b"):
                call(*where)
        value = jax.jit(jax.sharding.auto_axes(lambda *a, f=sharded: f.value_and_grad(*a)[0], out_sharding=P()))
        with jax.set_mesh(mesh):
            np.testing.assert_allclose(value(*where), whole(*map(jnp.asarray, inputs)), rtol=1e-12)


def test_class_sharded_is_pickled(mesh: Any) -> None:
    """It comes back as the same object, so that nothing is traced again; on a mesh of fewer devices it is refused."""
    axes = mesh_of((2, 4), ("rows", "classes"), "Explicit")
    for loss in (class_sharded(anglos.arcface, mesh, "devices"), class_sharded(anglos.cosface, axes, "classes"),
                 class_sharded(anglos.arcface, axes, ("rows", "classes"), num_classes=UNEVEN)):
        assert pickle.loads(pickle.dumps(loss)) is copy.deepcopy(loss) is loss
    meshes = import_module("anglos.backends.jax.sharding.meshes")
    elsewhere = meshes.named(mesh)._replace(devices=(0, 1, 2, 3, 4, 5, 6, 77))
    with pytest.raises(RuntimeError, match=r"^class_sharded: it was pickled with cpu device 77, and this process sees "
                                           r"8; wanted class_sharded to be called again, with a mesh of these$"):
        meshes.found("class_sharded", elsewhere)


def test_class_sharded_refuses(mesh: Any) -> None:
    with pytest.raises(TypeError, match=r"^class_sharded: loss was supcon; wanted a loss with class prototypes"):
        class_sharded(anglos.supcon, mesh, "devices")
    with pytest.raises(TypeError, match=r"^class_sharded: loss was ham_softmax, which holds the logits of all classes"):
        class_sharded(anglos.ham_softmax, mesh, "devices")
    with pytest.raises(ValueError, match=r"^class_sharded: axis was 'classes'; wanted one or several of 'devices'"):
        class_sharded(anglos.arcface, mesh, "classes")
    with pytest.raises(TypeError, match=r"^class_sharded: mesh was a list; wanted a jax.sharding.Mesh$"):
        class_sharded(anglos.arcface, jax.devices(), "devices")
    with pytest.raises(ValueError, match=r"^class_sharded: num_classes was 0; wanted an integer from 1 below "):
        class_sharded(anglos.arcface, mesh, "devices", num_classes=0)
    inputs = jnp.ones((8, 3)), jnp.ones((57, 3)), jnp.zeros(8, int)
    with pytest.raises(ValueError, match=r"^arcface: weights held 57 rows for 53 classes; wanted 56, as many for each "
                                         r"of the 8 devices along devices$"):
        class_sharded(anglos.arcface, mesh, "devices", num_classes=UNEVEN)(*inputs)
    sharded = class_sharded(anglos.arcface, mesh, "devices")
    with pytest.raises(ValueError, match=r"^arcface: it was called inside jax.shard_map over 'devices', where arrays "
                                         r"are parts; wanted whole arrays, outside of it"):
        jax.shard_map(sharded, mesh=mesh, in_specs=(P("devices"), P(), P("devices")), out_specs=P())(*inputs)
    with jax.set_mesh(mesh_of((4, 2), ("devices", "others"))), pytest.raises(
            ValueError, match=r"^arcface: the mesh that is set was {'devices': 4, 'others': 2}; wanted that of the "
                              r"loss, {'devices': 8}$"):
        sharded(*inputs)
    results = doctest.testmod(import_module("anglos.backends.jax.sharding.classes"))
    assert results.attempted > 0
    assert results.failed == 0
