"""What JAX does to a function, done to a loss."""

import math
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import (
    CLASSES,
    array_options,
    arrays,
    float_arrays,
    gentle,
    hard_embeddings,
    has_several,
    leaves,
    made,
    per_class,
    rowwise,
    takes_labels,
)
from test_properties import assert_short_prototypes_count

import anglos
from anglos import Loss
from anglos.call.kinds import Number

jax: Any = import_module("jax")
jnp: Any = jax.numpy


def test_jit_grad_is_value_and_grad(loss: Loss[...], jax_library: Library) -> None:
    inputs = arrays(loss, jax_library)
    value, gradients = loss.value_and_grad(*inputs)
    places = tuple(range(len(float_arrays(loss))))
    traced, traced_gradients = jax.jit(jax.value_and_grad(lambda *a: loss(*a), argnums=places))(*inputs)
    np.testing.assert_allclose(traced, value, rtol=1e-13)
    for got, want in zip(traced_gradients, gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name", ["arcface", "proxy_anchor"])
def test_labels_that_a_trace_closes_over(name: str, jax_library: Library) -> None:
    """They are read: one is ignored, and one that is no class is refused."""
    loss, (x, weights, _) = anglos.LOSSES[name], arrays(anglos.LOSSES[name], jax_library)
    labels, wrong = (jax_library.array(np.asarray([0, 3, -100, 1, 4, last])) for last in (3, 5))
    traced = jax.jit(jax.value_and_grad(lambda x: loss(x, weights, labels)))(x)
    value, gradients = loss.value_and_grad(x, weights, labels)
    for got, want in zip(traced, (value, gradients[0]), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-15)
    with pytest.raises(ValueError, match=f"^{name}: labels held 5 at position 5; wanted 0 to 4"):
        jax.make_jaxpr(lambda x: loss(x, weights, wrong))(x)


def test_every_number_may_be_traced(loss: Loss[...], jax_library: Library) -> None:
    """The value is that of the number; one out of range makes the loss NaN."""
    inputs, numbers = arrays(loss, jax_library), [name for name, kind in loss.kinds.items()
                                                  if isinstance(kind, Number) and "" in kind.shapes]
    for name in numbers:
        kind: Any = loss.kinds[name]
        number = loss.defaults[name] or array_options(loss).get(name, [kind.low + 1.0])[0]
        step = jax.jit(lambda number, name=name: loss(*inputs, **{name: number}))
        np.testing.assert_allclose(step(number), loss(*inputs, **{name: number}), rtol=1e-12, err_msg=name)
        assert np.isnan(step(math.nan)), name
        assert kind.low == -math.inf or np.isnan(step(kind.low - 1.0)), name


def test_vmap_of_grad(single: Loss[...], jax_library: Library) -> None:
    loss, inputs = single, arrays(single, jax_library)
    _, (wanted, *_) = loss.value_and_grad(*inputs, **rowwise(loss), reduction="sum")

    def of_one(first: Any, *rest: Any) -> Any:
        one = (array if per_class(loss, name) else array[None]
               for name, array in zip(loss.arrays[1:], rest, strict=True))
        return loss(first[None], *one, **rowwise(loss))

    axes = [None if per_class(loss, name) else 0 for name in loss.arrays]
    gradients = jax.jit(jax.vmap(jax.grad(of_one), in_axes=axes))(*inputs)
    np.testing.assert_allclose(gradients, wanted, rtol=0, atol=1e-11)


def test_vmap_of_value_and_grad_over_batches(loss: Loss[...], jax_library: Library) -> None:
    batches = [arrays(loss, jax_library, seed=seed) for seed in (0, 1)]
    stacked = [jnp.stack(both) for both in zip(*batches, strict=True)]
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(lambda *a: loss(*a))))(*stacked)
    for value, got, inputs in zip(values, gradients, batches, strict=True):
        wanted, (gradient, *_) = loss.value_and_grad(*inputs)
        np.testing.assert_allclose(value, wanted, rtol=1e-13)
        np.testing.assert_allclose(got, gradient, rtol=0, atol=1e-11)


@pytest.mark.representatives(words=True)
@pytest.mark.slow
def test_checkpoint(loss: Loss[...], jax_library: Library) -> None:
    """Of a network with the loss at its end: all is computed again for the gradient, and nothing else kept."""
    inputs = arrays(loss, jax_library)

    def through(scale: Any) -> Any:
        return loss(*(scale * array if name in float_arrays(loss) else array
                      for name, array in zip(loss.arrays, inputs, strict=True)))

    got = jax.jit(jax.grad(jax.checkpoint(through)))(jnp.asarray(1.1))
    np.testing.assert_allclose(got, jax.grad(through)(jnp.asarray(1.1)), rtol=1e-10, atol=1e-12)


# XLA must know how many numbers are searched; NumPy how many negatives there are, for their logarithm.
FIXED_BATCH = ("angular_prototypical", "batch_coco", "cosent", "ge2e", "nce", "rank_n_contrast")

# What a batch must not be larger than for one tile to hold it: of N³ numbers.
BOUNDS = {"smooth_ap": 256}


@pytest.mark.representatives(words=True)
@pytest.mark.slow
def test_export_with_any_batch(loss: Loss[...], jax_library: Library) -> None:
    """Exported once, written to bytes, read and called; the size of a batch has a bound, by which tiles are chosen."""
    pytest.importorskip("flatbuffers", reason="flatbuffers is not installed")
    export: Any = import_module("jax.export")
    inputs = arrays(loss, jax_library)
    (batch,) = export.symbolic_shape("batch", constraints=[f"batch <= {BOUNDS.get(loss.name, 1024)}"])
    of = [array.shape if per_class(loss, name) or loss.name in FIXED_BATCH else (batch, *array.shape[1:])
          for name, array in zip(loss.arrays, inputs, strict=True)]
    step = jax.jit(jax.value_and_grad(lambda *a: loss(*a), argnums=tuple(range(len(float_arrays(loss))))))
    shapes = [jax.ShapeDtypeStruct(shape, array.dtype) for shape, array in zip(of, inputs, strict=True)]
    exported = export.deserialize(export.export(step)(*shapes).serialize())
    for copies in (1,) if loss.name in FIXED_BATCH else (1, 2):
        larger = [array if per_class(loss, name) else jnp.concatenate([array] * copies)
                  for name, array in zip(loss.arrays, inputs, strict=True)]
        value, gradients = exported.call(*larger)
        wanted, wanted_gradients = loss.value_and_grad(*larger)
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
        for got, want in zip(gradients, wanted_gradients, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)


@pytest.mark.representatives(words=True)
def test_scanned_tiles_to_second_order(head: Loss[...], jax_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """lax.scan under jit, with a tile that does not divide the classes, against one tile."""
    backend = import_module("anglos.backends.jax").backend
    inputs = arrays(head, jax_library)

    def penalty(embeddings: Any, weights: Any) -> Any:
        gradients = jax.grad(lambda *a: head(*a, inputs[2], **gentle(head)), argnums=(0, 1))(embeddings, weights)
        return sum(jnp.sum(gradient**2) for gradient in gradients)

    results = []
    for width in (CLASSES, 2):
        for name in ("tile_width", "class_tile_width"):
            monkeypatch.setattr(backend, name, lambda *_, width=width: width)
        lowered = jax.jit(jax.grad(lambda *a: penalty(*a), argnums=(0, 1))).lower(*inputs[:2])
        assert ("stablehlo.while" in lowered.as_text()) == (width < CLASSES)
        results.append(lowered.compile()(*inputs[:2]))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


def test_scanned_rows_to_second_order(pair: Loss[...], jax_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = import_module("anglos.backends.jax").backend
    inputs = arrays(pair, jax_library)
    floats = leaves(pair, inputs)

    def penalty(*floats: Any) -> Any:
        gradients = jax.grad(lambda *a: pair(*a, *inputs[len(floats):], **gentle(pair)),
                             argnums=tuple(range(len(floats))))(*floats)
        return sum(jnp.sum(gradient**2) for gradient in gradients)

    results = []
    for width in (6, 4):
        for name in ("tile_width", "class_tile_width"):
            monkeypatch.setattr(backend, name, lambda *_, width=width: width)
        results.append(jax.jit(jax.grad(lambda *a: penalty(*a), argnums=tuple(range(len(floats)))))(*floats))
    for got, want in zip(*results, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


def test_tiles_save_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python loop would not: XLA joins its tiles again."""
    backend = import_module("anglos.backends.jax").backend
    embeddings, weights = jnp.ones((64, 16), "float32"), jnp.ones((8192, 16), "float32")
    labels = jnp.zeros(64, "int32")
    peaks = []
    for width in (8192, 256):
        for name in ("tile_width", "class_tile_width"):
            monkeypatch.setattr(backend, name, lambda *_, width=width: width)
        step = jax.jit(jax.grad(lambda x, w, y: anglos.arcface(x, w, y), argnums=(0, 1)))
        peaks.append(step.lower(embeddings, weights, labels).compile().memory_analysis().temp_size_in_bytes)
    assert peaks[1] < peaks[0] / 3


def test_jit_at_hard_inputs(head: Loss[...], jax_library: Library) -> None:
    """What jax.grad gives there in float32 is finite, and what value_and_grad gives."""
    named = dict(zip(("embeddings", "weights", "labels"), hard_embeddings(), strict=True))
    inputs = [jnp.asarray(array.astype("float32") if array.dtype.kind == "f" else array) for array in made(head, named)]
    _, gradients = head.value_and_grad(*inputs)
    for got, want in zip(jax.jit(jax.grad(head, argnums=(0, 1)))(*inputs), gradients, strict=True):
        assert np.isfinite(got).all()
        if not has_several(head):  # of equal prototypes rounding chooses
            np.testing.assert_allclose(got, want, rtol=0, atol=2e-3 * np.abs(want).max())


def test_values_do_not_retrace(loss: Loss[...], jax_library: Library) -> None:
    traces = []

    @jax.jit
    def step(*inputs: Any) -> Any:
        traces.append(1)
        return loss(*inputs)

    values = [float(step(*arrays(loss, jax_library, seed=seed))) for seed in (0, 1, 2)]
    assert len(traces) == 1
    assert len(set(values)) == 3


@pytest.mark.representatives(words=True)
@pytest.mark.parametrize("x64", [True, False])
def test_x64_on_and_off(loss: Loss[...], jax_library: Library, x64: bool) -> None:
    inputs = [np.asarray(array) for array in arrays(loss, jax_library)]
    wanted, (wanted_gradient, *_) = loss.value_and_grad(*inputs)
    with jax.enable_x64(x64):
        inputs = [jnp.asarray(array) for array in inputs]
        value, gradient = jax.jit(jax.value_and_grad(lambda *a: loss(*a)))(*inputs)
        assert value.dtype == gradient.dtype == inputs[0].dtype == ("float64" if x64 else "float32")
        np.testing.assert_allclose(value, wanted, rtol=1e-12 if x64 else 1e-5)
        np.testing.assert_allclose(gradient, wanted_gradient, rtol=0, atol=1e-11 if x64 else 1e-4)


@pytest.mark.representatives
def test_forward_mode_is_refused_with_a_hint(loss: Loss[...], jax_library: Library) -> None:
    """Through `plain` it works: test_jax_autodiff_of_plain_both_modes."""
    inputs = arrays(loss, jax_library)
    for transformed in (jax.jacfwd(loss), jax.jit(jax.jacfwd(loss))):
        with pytest.raises(TypeError, match="custom_vjp") as refusal:
            transformed(*inputs)
        assert f"Forward mode (jvp, jacfwd) goes through anglos.{loss.name}.plain." in refusal.value.__notes__


@pytest.mark.representatives(words=True)
@pytest.mark.slow
@pytest.mark.parametrize("x64", [True, False])
def test_labels_of_any_integer_type_under_a_trace(loss: Loss[...], jax_library: Library, x64: bool) -> None:
    """With more classes than an int8 can count."""
    if not takes_labels(loss):
        pytest.skip("takes no labels")
    random = np.random.default_rng(0)
    named = {"embeddings": random.normal(size=(6, 4)), "weights": random.normal(size=(300, 4)),
             "logits": random.normal(size=(6, 300)), "labels": np.asarray([0, 3, 0, 127, 127, 3])}
    inputs = made(loss, named)
    with jax.enable_x64(x64):
        floats = [jnp.asarray(array) for array in inputs[:-1]]
        types = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, *([64] if x64 else []))]

        def value(label: Any, kind: str) -> Any:  # of a trace, whose labels cannot be read
            return loss(*floats, label.astype(kind))

        labels = jnp.asarray(inputs[-1])
        values = [float(jax.vmap(lambda label, kind=kind: value(label, kind))(labels[None])[0]) for kind in types]
    np.testing.assert_allclose(values, loss(*inputs), rtol=1e-13 if x64 else 1e-5)


@pytest.mark.representatives(words=True)
@pytest.mark.slow
def test_bfloat16(loss: Loss[...], jax_library: Library) -> None:
    """The loss is float32 and that of the rounded inputs; gradients are rounded once."""
    exact = arrays(loss, jax_library)
    stored = [array.astype("bfloat16") if array.dtype == "float64" else array for array in exact]
    places = tuple(range(len(float_arrays(loss))))
    value, gradients = jax.value_and_grad(lambda *a: loss(*a), argnums=places)(*stored)
    wanted, wanted_gradients = loss.value_and_grad(
        *(array.astype("float64") if array.dtype == "bfloat16" else array for array in stored))
    assert value.dtype == "float32"
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    for got, want in zip(gradients, wanted_gradients, strict=True):
        assert got.dtype == "bfloat16"
        np.testing.assert_allclose(got.astype("float64"), want, rtol=2.0**-8, atol=1e-5 * max(1.0, np.abs(want).max()))


class Wrapped:
    """An array to jax.numpy, and nothing else."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __jax_array__(self) -> Any:
        return self.array


@pytest.mark.representatives(words=True)
@pytest.mark.parametrize("kind", ["Wrapped", "Param", "Variable"])
def test_wrapped_arrays(loss: Loss[...], kind: str, jax_library: Library) -> None:
    """Whatever is an array to jax.numpy is one here, wherever it stands."""
    wrap: Any = Wrapped if kind == "Wrapped" else getattr(
        pytest.importorskip("flax.nnx", reason="flax is not installed"), kind)
    inputs = arrays(loss, jax_library)
    options = {name: jnp.asarray(values[0]) for name, values in array_options(loss).items()}
    wrt = (*float_arrays(loss), *options)
    wanted = loss.value_and_grad(*inputs, wrt=wrt, **options)
    wrapped: Any = {name: wrap(option) for name, option in options.items()}
    value, gradients = loss.value_and_grad(*map(wrap, inputs), wrt=wrt, **wrapped)
    for got, want in zip((value, *gradients), (wanted[0], *wanted[1]), strict=True):
        assert isinstance(got, jax.Array)
        np.testing.assert_array_equal(got, want)
    # Beside NumPy's arrays, of which JAX's alone are wrapped.
    np.testing.assert_array_equal(loss(wrap(inputs[0]), *map(np.asarray, inputs[1:]), **wrapped),
                                  loss(inputs[0], *map(np.asarray, inputs[1:]), **options))
    if kind != "Wrapped":  # a pytree
        gradient = jax.jit(jax.grad(lambda first: loss(first, *inputs[1:], **wrapped)))(wrap(inputs[0]))
        assert type(gradient) is wrap
        np.testing.assert_allclose(gradient[...], gradients[0], rtol=0, atol=1e-11)


def test_wrapped_arrays_of_updates_mining_and_logits(jax_library: Library) -> None:
    x, w, y = arrays(anglos.arcface, jax_library)
    calls = {
        "adacos_update": (jnp.asarray(9.0), x, w, y), "adaface_update": (jnp.asarray(20.0), jnp.asarray(100.0), x),
        "angular_triplet_update": (w, x, y, y > 0), "center_update": (w, x, y),
        "curricularface_update": (jnp.asarray(0.1), x, w, y),
        "dynamic_soft_margin_update": (jnp.ones(11, x.dtype), x, x[::-1])}
    assert set(calls) == {name for name in dir(anglos) if name.endswith("_update")}
    for name, given in calls.items():
        update = getattr(anglos, name)
        for got, want in zip(jax.tree.leaves(update(*map(Wrapped, given))), jax.tree.leaves(update(*given)),
                             strict=True):
            np.testing.assert_array_equal(got, want)
    for mine in (anglos.mining.batch_hard, anglos.mining.semi_hard, anglos.mining.semi_hard_or_easiest):
        for rows, same in zip(mine(Wrapped(x), Wrapped(y)), mine(x, y), strict=True):
            np.testing.assert_array_equal(rows, same)
    logits_of: Any = import_module("anglos.training.heads").logits_of
    np.testing.assert_array_equal(
        logits_of(anglos.arcface, Wrapped(x), Wrapped(w), {"margin": 0.3, "scale": Wrapped(jnp.asarray(3.0))}),
        logits_of(anglos.arcface, x, w, {"margin": 0.3, "scale": 3.0}))


@pytest.mark.parametrize("name", ["arcface", "supcon", "cross_entropy"])
def test_numpy_arrays_are_differentiated_by(name: str, numpy: Library) -> None:
    """Without jit JAX hands them on as arrays of a type of its own."""
    loss = anglos.LOSSES[name]
    inputs = arrays(loss, numpy)
    value, gradient = jax.value_and_grad(loss)(*inputs)
    wanted, (slope, *_) = loss.value_and_grad(*inputs)
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    np.testing.assert_allclose(gradient, slope, rtol=1e-4, atol=1e-6)


def test_traced_numbers(jax_library: Library) -> None:
    """An integer is a number; what must be known while JAX traces is refused by what to do."""
    x, w, y = arrays(anglos.arcface, jax_library)
    assert jax.jit(anglos.arcface)(x, w, y, scale=64) == pytest.approx(float(anglos.arcface(x, w, y, scale=64)))
    assert np.isnan(jax.jit(anglos.arcface)(x, w, y, scale=0))
    for loss, options in ((anglos.inter_topk, {"k": 2}), (anglos.arcface, {"keep_bytes": 0}),
                          (anglos.magface, {"norm_range": (1.0, 2.0)}),
                          (anglos.curricularface, {"ignore_index": 0})):
        with pytest.raises(TypeError, match=r"^\w+: \w+ was .* \(traced by JAX: under .* name it in static_argnames\)"):
            jax.jit(loss)(x, w, y, **options)
        jax.jit(loss, static_argnames=tuple(options))(x, w, y, **options)
    with pytest.raises(ValueError, match=r"^triplet: normalize was .*one of True, False \(traced by JAX: "):
        jax.jit(anglos.triplet)(x, y, normalize=True)


def test_a_short_prototype_counts_where_nothing_is_read(prototype: Loss[...], jax_library: Library) -> None:
    assert_short_prototypes_count(prototype, jax_library, jax.jit(prototype.value_and_grad))
