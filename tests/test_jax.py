"""What JAX does to a function, done to a loss."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import CLASSES, arrays, float_arrays, gentle, hard_embeddings, leaves, made, per_class, rowwise

import anglos
from anglos import Loss
from anglos._kinds import ArrayOf

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


def test_vmap_of_grad(single: Loss[...], jax_library: Library) -> None:
    loss, inputs = single, arrays(single, jax_library)
    _, (wanted, *_) = loss.value_and_grad(*inputs, **rowwise(loss), reduction="sum")

    def of_one(first: Any, *rest: Any) -> Any:
        one = (array if per_class(name) else array[None] for name, array in zip(loss.arrays[1:], rest, strict=True))
        return loss(first[None], *one, **rowwise(loss))

    axes = [None if per_class(name) else 0 for name in loss.arrays]
    gradients = jax.jit(jax.vmap(jax.grad(of_one), in_axes=axes))(*inputs)
    np.testing.assert_allclose(gradients, wanted, rtol=0, atol=1e-11)


def test_vmap_of_grad_over_batches(pair: Loss[...], jax_library: Library) -> None:
    batches = [arrays(pair, jax_library, seed=seed) for seed in (0, 1)]
    stacked = [jnp.stack(both) for both in zip(*batches, strict=True)]
    gradients = jax.jit(jax.vmap(jax.grad(lambda *a: pair(*a))))(*stacked)
    for got, inputs in zip(gradients, batches, strict=True):
        np.testing.assert_allclose(got, pair.value_and_grad(*inputs)[1][0], rtol=0, atol=1e-11)


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
        if head.kinds["weights"] != ArrayOf("C K D"):  # of equal prototypes rounding chooses
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


def test_forward_mode_is_refused_with_a_hint(jax_library: Library) -> None:
    embeddings, weights, labels = arrays(anglos.arcface, jax_library)
    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jacfwd(anglos.arcface)(embeddings, weights, labels)


def test_value_and_grad_can_be_differentiated(head: Loss[...], jax_library: Library) -> None:
    inputs = arrays(head, jax_library)

    def penalty(gradient: Any) -> Any:
        return jax.grad(lambda x: jnp.sum(gradient(x) ** 2))(inputs[0])

    explicit = penalty(lambda x: head.value_and_grad(x, *inputs[1:], **gentle(head))[1][0])
    wanted = penalty(jax.grad(lambda x: head.plain(x, *inputs[1:], **gentle(head))))
    np.testing.assert_allclose(explicit, wanted, rtol=0, atol=1e-10)
