"""Losses over pairs of a batch on eight devices: the numbers are those of one, and columns are sent once."""

import copy
import doctest
import pickle
import re
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import float_arrays, made, per_class
from test_jax_sharding import (
    CLASSES,
    DEVICES,
    P,
    assert_steps_are_equal,
    batch_sharded,
    collectives_in_loops,
    descent,
    jax,
    jnp,
    mesh_of,
    placed,
)

import anglos
from anglos import Loss

pytestmark = pytest.mark.slow

ROWS, UNEVEN, DIMENSION = 32, 29, 5


@pytest.fixture
def mesh(jax_library: Library, monkeypatch: pytest.MonkeyPatch) -> Any:
    """With tiles of 2 rows, where a device has 4, or 3."""
    monkeypatch.setattr(import_module("anglos.backends.jax").Jax, "tile_width", lambda *_: 2)
    return mesh_of((DEVICES,), ("devices",))


def inputs_of(loss: Loss[...], rows: int = ROWS) -> list[np.ndarray]:
    random = np.random.default_rng(0)
    named = {name: random.normal(size=(rows, DIMENSION)) for name in ("embeddings", "others", "more")}
    return made(loss, {**named, "labels": np.arange(rows) * 7 % 6, "logits": np.zeros(()),
                       "weights": random.normal(size=(CLASSES, DIMENSION))})


def inside(mesh: Any, loss: Loss[...], function: Any, options: dict[str, Any] | None = None, check_vma: bool = True
           ) -> Any:
    """The mean over devices of a function of a device's own rows, of whole arrays."""
    def mean(*arrays: Any) -> Any:
        own, options_of_all = arrays[:len(loss.arrays)], arrays[len(loss.arrays):]
        named = dict(zip(options or {}, options_of_all, strict=True))
        return jax.lax.pmean(function(*own, **named), "devices")

    def spec(name: str, array: Any) -> Any:
        return P() if per_class(loss, name) or np.ndim(array) == 0 else P("devices")

    def of_whole(*arrays: Any) -> Any:
        every = (*arrays, *(options or {}).values())
        specs = tuple(map(spec, (*loss.arrays, *(options or {})), every))
        return jax.shard_map(mean, mesh=mesh, in_specs=specs, out_specs=P(), check_vma=check_vma)(*every)

    return of_whole


def test_batch_sharded(pair: Loss[...], mesh: Any) -> None:
    """Of whole arrays, of a number of rows that is no multiple of the devices; and of a device's own rows."""
    sharded, count = batch_sharded(pair, mesh, "devices"), len(float_arrays(pair))
    inputs = inputs_of(pair, UNEVEN)
    compiled = assert_steps_are_equal(pair, inputs, descent(sharded, count, {}), list(map(jnp.asarray, inputs)), {})
    assert "while" in compiled.as_text()
    inputs = inputs_of(pair)
    own = descent(inside(mesh, pair, lambda *own: sharded(*own, reduction="sum")), count, {})
    times = 1 if pair is anglos.proxy_anchor else DEVICES  # whose loss is that of all on every device

    def whole(*arrays: Any, **_: Any) -> Any:
        value, gradients = pair.value_and_grad(*arrays, reduction="sum")
        return value / times, tuple(gradient / times for gradient in gradients)

    where = placed(pair, inputs, mesh, "batch")
    assert_steps_are_equal(SimpleNamespace(value_and_grad=whole), inputs, own, where, {})


@pytest.mark.parametrize("name", ["clip", "supcon", "triplet", "info_nce"])
def test_columns_are_sent_once(name: str, mesh: Any) -> None:
    """No collective in a loop over tiles; own rows: one to gather the columns, one for their gradients."""
    loss: Loss[...] = anglos.LOSSES[name]
    sharded, count, inputs = batch_sharded(loss, mesh, "devices"), len(float_arrays(loss)), inputs_of(loss)
    where = placed(loss, inputs, mesh, "batch")
    for function in (sharded, inside(mesh, loss, sharded)):
        text = jax.jit(descent(function, count, {})).lower(*where).compile().as_text()
        assert "while" in text
        assert not collectives_in_loops(text)
    assert len(re.findall(rf"= f64\[{ROWS},{DIMENSION}\]\S* all-gather\(", text)) == 1
    assert len(re.findall(r" reduce-scatter\(", text)) == 1
    assert collectives_in_loops(jax.jit(descent(loss, count, {})).lower(*where).compile().as_text())


@pytest.mark.parametrize("name", ["clip", "supcon", "triplet", "proxy_anchor"])
def test_batch_sharded_to_second_order(name: str, mesh: Any) -> None:
    """By the custom gradient, and by JAX's own of `plain`; of whole arrays, and of a device's own rows."""
    loss: Loss[...] = anglos.LOSSES[name]
    sharded, inputs, many = batch_sharded(loss, mesh, "devices"), inputs_of(loss), len(float_arrays(loss))
    floats, others = list(map(jnp.asarray, inputs[:many])), inputs[many:]

    def second(function: Any) -> Any:
        def penalty(*floats: Any) -> Any:
            gradients = jax.grad(lambda *a: function(*a, *others), argnums=tuple(range(many)))(*floats)
            return sum(jnp.sum(one**2) for one in gradients)

        return jax.grad(penalty, argnums=tuple(range(many)))

    forms = [second(sharded), second(sharded.plain), second(inside(mesh, loss, sharded)),
             second(inside(mesh, loss, sharded.plain))]
    wanted = jax.jit(second(loss.plain))(*floats)
    for got in jax.jit(lambda *floats: [form(*floats) for form in forms])(*floats):
        for one, want in zip(got, wanted, strict=True):
            np.testing.assert_allclose(one, want, rtol=0, atol=1e-12 * np.abs(want).max())


@pytest.mark.parametrize("check_vma", [True, False])
def test_learnt_options(check_vma: bool, mesh: Any) -> None:
    """They are the same on all devices; their gradient is that of the sum of all devices' losses."""
    loss: Loss[...] = anglos.siglip
    sharded, inputs = batch_sharded(loss, mesh, "devices"), inputs_of(loss)
    options = {"log_scale": np.asarray(1.0), "bias": np.asarray(-1.0)}
    value, wanted = loss.value_and_grad(*inputs, **options, wrt=("queries", "log_scale", "bias"))

    def of_options(**options: Any) -> Any:
        return inside(mesh, loss, sharded, options, check_vma)(*inputs)

    got = jax.jit(jax.value_and_grad(lambda options: of_options(**options)))(options)
    np.testing.assert_allclose(got[0], value, rtol=1e-12)
    np.testing.assert_allclose([got[1]["log_scale"], got[1]["bias"]], wanted[1:], rtol=1e-11)
    analytical = jax.shard_map(
        lambda *own: sharded.value_and_grad(*own, **options, wrt=("queries", "log_scale", "bias"))[1], mesh=mesh,
        in_specs=P("devices"), out_specs=(P("devices"), P(), P()), check_vma=check_vma)(*inputs)
    for one, want in zip(analytical, wanted, strict=True):
        np.testing.assert_allclose(one, DEVICES * want, rtol=0, atol=1e-11)


def test_what_is_said_of_pairs(mesh: Any) -> None:
    """Of own rows and the columns of all: references, negatives, false negatives, excluded pairs, weights."""
    random = np.random.default_rng(1)
    vectors = [random.normal(size=(rows, DIMENSION)) for rows in (ROWS, ROWS, 2 * DEVICES, 3 * DEVICES)]
    labels, of_references = np.arange(ROWS) % 5, np.arange(3 * DEVICES) % 7
    for loss, arrays, options in (
            (anglos.info_nce, vectors[:3], {"false_negatives": random.random((ROWS, 2 * DEVICES)) < 0.3}),
            (anglos.supcon, [vectors[0], labels], {
                "reference_embeddings": vectors[3], "reference_labels": of_references,
                "excluded_pairs": random.random((ROWS, 3 * DEVICES)) < 0.2}),
            (anglos.triplet, [vectors[0], random.random((ROWS, ROWS)) * (random.random((ROWS, ROWS)) < 0.3)], {}),
            (anglos.clip, vectors[:2], {"row_mask": np.arange(ROWS) % 4 < 3}),
            (anglos.info_nce, vectors[:2], {})):
        some: Loss[...] = loss
        sharded = batch_sharded(some, mesh, "devices")
        wrt = tuple(name for name in ("embeddings", "queries", "keys", "negatives", "reference_embeddings")
                    if name in some.arrays[:len(arrays)] or name in options) if options else None
        named = {**dict(zip(some.arrays, arrays, strict=False)), **options}
        value, wanted = some.value_and_grad(*arrays, **options, wrt=wrt, reduction="sum")

        def step(named: Any, function: Any, names: Any = some.arrays, wrt: Any = wrt) -> Any:
            own = [named[name] for name in names if name in named]
            return function(*own, **{name: array for name, array in named.items() if name not in names}, wrt=wrt,
                            reduction="sum")

        of_own = jax.shard_map(lambda named, sharded=sharded, step=step: jax.tree.map(
            jnp.atleast_1d, step(named, sharded.value_and_grad)), mesh=mesh, in_specs=P("devices"),
            out_specs=P("devices"))
        for got_value, got in (jax.jit(of_own)(named), jax.jit(
                lambda named, sharded=sharded, step=step: step(named, sharded.value_and_grad))(named)):
            np.testing.assert_allclose(np.sum(got_value), value, rtol=1e-12)
            for one, want in zip(got, wanted, strict=True):
                np.testing.assert_allclose(one, want, rtol=0, atol=1e-11)


LEARNT = {"clip": {"scale": 3.0}, "siglip": {"log_scale": 1.0, "bias": -1.0}, "info_nce": {"temperature": 0.5}}


def of_ring(loss: Loss[...], rows: int) -> tuple[dict[str, Any], Any]:
    """Queries, keys, and all that may be given beside them; and a function's value and gradients of these."""
    random = np.random.default_rng(2)
    queries, keys = random.normal(size=(2, rows, DIMENSION))
    named = {"queries": queries, "keys": keys, "row_mask": np.arange(rows) % 4 < 3,
             "false_negatives": random.random((rows, rows)) < 0.3,
             **{name: np.asarray(number) for name, number in LEARNT[loss.name].items()}}
    free = [name for name, array in named.items() if array.dtype == float]

    def step(function: Any) -> Any:
        def of(named: dict[str, Any]) -> Any:
            others = {name: array for name, array in named.items() if name not in free}
            return jax.value_and_grad(lambda floats: function(**floats, **others))({name: named[name] for name in free})

        return of

    return named, step


@pytest.mark.parametrize("name", LEARNT)
def test_ring(name: str, mesh: Any) -> None:
    """Of whole arrays of a number of rows that is no multiple of the devices; and of a device's own rows."""
    loss: Loss[...] = anglos.LOSSES[name]
    ring = batch_sharded(loss, mesh, "devices", ring=True)

    def called(queries: Any, keys: Any, **options: Any) -> Any:
        return ring(queries, keys, **options)

    def of_own(**named: Any) -> Any:
        return jax.shard_map(lambda named: jax.lax.pmean(called(**named, reduction="sum"), "devices"), mesh=mesh,
                             in_specs=({name: P("devices") if array.ndim else P() for name, array in named.items()},),
                             out_specs=P())(named)

    for function, rows, options in ((called, UNEVEN, {}), (of_own, ROWS, {"reduction": "sum"})):
        named, step = of_ring(loss, rows)
        got_value, got = jax.jit(step(function))(named)
        queries, keys, *others = named.values()
        value, wanted = loss.value_and_grad(queries, keys, **dict(zip(list(named)[2:], others, strict=True)), **options,
                                            wrt=tuple(got))
        times = DEVICES if options else 1
        np.testing.assert_allclose(times * got_value, value, rtol=1e-12)
        for one, want in zip(got.values(), wanted, strict=True):
            np.testing.assert_allclose(times * one, want, rtol=0, atol=1e-12 * np.abs(want).max())


def test_ring_to_second_order(mesh: Any) -> None:
    ring = batch_sharded(anglos.clip, mesh, "devices", ring=True)
    queries, keys, scale = *inputs_of(anglos.clip), jnp.asarray(3.0)
    own = jax.shard_map(lambda q, k, scale: jax.lax.pmean(ring(q, k, scale=scale), "devices"), mesh=mesh,
                        in_specs=(P("devices"), P("devices"), P()), out_specs=P())

    def second(function: Any) -> Any:
        def penalty(*floats: Any) -> Any:
            return sum(jnp.sum(one**2) for one in jax.grad(function, argnums=(0, 1, 2))(*floats))

        return jax.jit(jax.grad(penalty, argnums=(0, 1, 2)))(queries, keys, scale)

    wanted = second(lambda q, k, scale: anglos.clip.plain(q, k, scale=scale))
    for form in (lambda q, k, scale: ring(q, k, scale=scale), own):
        for one, want in zip(second(form), wanted, strict=True):
            np.testing.assert_allclose(one, want, rtol=0, atol=1e-12 * np.abs(want).max())


def test_ring_never_holds_all_columns(mesh: Any) -> None:
    """Of 4 rows × 32 numbers on each of 8 devices, it has two devices' keys and their gradient; sent once a turn."""
    each, wide = 4, 32
    ring, rows = batch_sharded(anglos.clip, mesh, "devices", ring=True), DEVICES * each
    array = jax.ShapeDtypeStruct((rows, wide), "float64", sharding=jax.sharding.NamedSharding(mesh, P("devices")))
    for function in (ring, inside(mesh, anglos.clip, ring)):
        text = jax.jit(jax.grad(function, argnums=(0, 1))).lower(array, array).compile().as_text()
        largest = max(np.prod([int(size) for size in shape.split(",")])
                      for shape in re.findall(r"\bf64\[([\d,]+)\]", text))
        assert largest <= each * (2 * wide + 5)
        assert sum("collective-permute" in line for line in collectives_in_loops(text)) == 2
        assert not re.search(r" (all-gather|all-to-all|reduce-scatter)(-start)?\(", text)


def test_ring_over_axes_of_a_mesh(mesh: Any) -> None:
    explicit = mesh_of((2, 4), ("rows", "devices"), "Explicit")
    loss, inputs = anglos.siglip, inputs_of(anglos.siglip)
    axes: tuple[Any, ...] = ("devices", ("rows", "devices"))
    for axis in axes:
        ring = batch_sharded(loss, explicit, axis, ring=True)
        assert_steps_are_equal(loss, inputs, descent(ring, 2, {}), placed(loss, inputs, explicit, "batch", axis), {})


def test_ring_is_pickled_and_refuses(mesh: Any) -> None:
    ring = batch_sharded(anglos.clip, mesh, "devices", ring=True)
    assert pickle.loads(pickle.dumps(ring)) is ring is not batch_sharded(anglos.clip, mesh, "devices")
    with pytest.raises(ValueError, match=r"^batch_sharded: ring was True, and loss triplet; wanted one of queries and "
                                         r"keys, as anglos.clip and anglos.siglip are$"):
        batch_sharded(anglos.triplet, mesh, "devices", ring=True)
    x = jnp.ones((DEVICES, 3))
    with pytest.raises(ValueError, match=r"^batch_sharded: ring was True; wanted a loss of queries and keys alone, "
                                         r"whose terms are define.one_of_many or define.each_by_itself, as those of "):
        batch_sharded(anglos.info_nce, mesh, "devices", ring=True)(x, x, x)


@pytest.mark.parametrize("name", ["clip", "triplet", "batch_coco"])
def test_mesh_with_explicit_axes_and_several(name: str, mesh: Any) -> None:
    loss: Loss[...] = anglos.LOSSES[name]
    explicit = mesh_of((2, 4), ("rows", "devices"), "Explicit")
    inputs, count = inputs_of(loss), len(float_arrays(loss))
    axes: tuple[Any, ...] = ("devices", ("rows", "devices"))
    for axis in axes:
        where = placed(loss, inputs, explicit, "batch", axis)
        assert_steps_are_equal(loss, inputs, descent(batch_sharded(loss, explicit, axis), count, {}), where, {})
    own = batch_sharded(loss, explicit, ("rows", "devices"))
    mean = jax.shard_map(lambda *a: jax.lax.pmean(own(*a), ("rows", "devices")), mesh=explicit,
                         in_specs=P(("rows", "devices")), out_specs=P())
    if name != "triplet":  # the mean of triplets is not that of its rows
        assert_steps_are_equal(loss, inputs, descent(mean, count, {}), where, {})


def test_memory_of_a_device(jax_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles, and a few numbers for every row and column; not its own rows × all columns."""
    monkeypatch.setattr(import_module("anglos.backends.jax").Jax, "tile_elements", 1 << 16)
    mesh = mesh_of((DEVICES,), ("devices",))
    sharded = batch_sharded(anglos.siglip, mesh, "devices")

    def peak(rows: int, function: Any) -> int:
        array = jax.ShapeDtypeStruct((rows, 8), "float32", sharding=jax.sharding.NamedSharding(mesh, P("devices")))
        step = jax.jit(jax.grad(function, argnums=(0, 1))).lower(array, array)
        return int(step.compile().memory_analysis().temp_size_in_bytes)

    for function in (sharded, inside(mesh, anglos.siglip, sharded)):
        some, many = peak(4096, function), peak(8192, function)
        assert many < 4 * 8192 * 1024 / 4
        assert many < 2.2 * some


def test_batch_sharded_is_pickled_and_refuses(mesh: Any) -> None:
    sharded = batch_sharded(anglos.supcon, mesh, "devices")
    assert pickle.loads(pickle.dumps(sharded)) is copy.deepcopy(sharded) is sharded
    with pytest.raises(TypeError, match=r"^batch_sharded: loss was arcface; wanted a loss that compares samples of a "
                                        r"batch with each other, such as anglos.info_nce: others are of own rows as "):
        batch_sharded(anglos.arcface, mesh, "devices")
    with pytest.raises(ValueError, match=r"^batch_sharded: axis was \(\); wanted one or several of 'devices'$"):
        batch_sharded(anglos.supcon, mesh, ())
    embeddings, labels = inputs_of(anglos.supcon)
    with pytest.raises(ValueError, match=r"^supcon: excluded_pairs was of shape \(4, 4\); wanted \(4, 32\): own rows "
                                         r"against the 32 columns of all"):
        jax.shard_map(lambda *own: sharded(*own, excluded_pairs=jnp.zeros((4, 4), bool)), mesh=mesh,
                      in_specs=P("devices"), out_specs=P("devices"))(embeddings, labels)
    both = batch_sharded(anglos.supcon, mesh_of((2, 4), ("rows", "devices")), ("rows", "devices"))
    with pytest.raises(ValueError, match=r"^supcon: it was called inside jax.shard_map over 'devices'; wanted it over "
                                         r"all of 'rows', 'devices', or none"):
        jax.shard_map(both, mesh=both.mesh, axis_names={"devices"}, in_specs=P("devices"), out_specs=P())(
            embeddings, labels)
    results = doctest.testmod(import_module("anglos.backends.jax.sharding.batches"))
    assert results.attempted > 0
    assert results.failed == 0
