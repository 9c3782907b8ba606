"""MLX: through `value_and_grad`, and by its own automatic differentiation."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
import test_properties
from libraries import Library
from samples import BATCH, array_options, arrays, float_arrays, gentle, leaves

import anglos
from anglos import Loss

mx: Any = pytest.importorskip("mlx.core", reason="MLX is not installed")

pytestmark = pytest.mark.slow

TOLERANCE = 64.0 * float(np.finfo("float32").eps)

# Cosines, rounded to some eps, count in bins of a width of 1/50.
OF_BINS = {"histogram": 256.0 * float(np.finfo("float32").eps)}
"""Cosines are rounded, and multiplied by a scale of 64. MLX makes float32 of NumPy's float64."""


@pytest.fixture
def library() -> Library:
    mx.set_default_device(mx.cpu)
    return Library("mlx.core", mx.array, lambda array: np.asarray(
        array.astype(mx.float32) if array.dtype == mx.bfloat16 else array),
        {"float16": mx.float16, "bfloat16": mx.bfloat16})


def in_numpy(inputs: list[Any]) -> list[np.ndarray]:
    """The same numbers in float64."""
    numbers = [np.asarray(array) for array in inputs]
    return [array.astype("float64") if array.dtype.kind == "f" else array for array in numbers]


def assert_same(got: Any, want: Any, tolerance: float = TOLERANCE) -> None:
    np.testing.assert_allclose(np.asarray(got), want, rtol=0, atol=tolerance * max(1.0, np.abs(want).max()))


def many(found: Any) -> tuple[Any, ...]:
    """Of one argument MLX gives the gradient itself."""
    return tuple(found) if isinstance(found, (tuple, list)) else (found,)


def places(count: int) -> Any:
    return tuple(range(count)) if count > 1 else 0


def test_value_and_grad_is_that_of_numpy(loss: Loss[...], library: Library) -> None:
    """Of the arrays, and of every option that may be one."""
    for options in ({}, {name: values[-1].astype("float32") if isinstance(values[-1], np.ndarray) else
                         np.asarray(values[-1], "float32") for name, values in array_options(loss).items()}):
        inputs = arrays(loss, library, dtype="float32")
        wrt = (*float_arrays(loss), *options)
        wanted, wanted_gradients = loss.value_and_grad(
            *in_numpy(inputs), **{name: value.astype("float64") for name, value in options.items()}, wrt=wrt)
        value, gradients = loss.value_and_grad(
            *inputs, **{name: mx.array(value) for name, value in options.items()}, wrt=wrt)
        assert value.dtype == mx.float32
        assert_same(value, wanted)
        for got, want in zip(gradients, wanted_gradients, strict=True):
            assert got.dtype == mx.float32
            assert_same(got, want, OF_BINS.get(loss.name, TOLERANCE))


def test_mx_grad(loss: Loss[...], library: Library) -> None:
    """Through the loss, by its vjp, and through `plain`, by MLX alone."""
    inputs = arrays(loss, library, dtype="float32")
    wanted, gradients = loss.value_and_grad(*in_numpy(inputs))
    for function in (loss, loss.plain):
        value, found = mx.value_and_grad(lambda *a, f=function: f(*a), places(len(gradients)))(*inputs)
        assert_same(value, wanted)
        for got, want in zip(many(found), gradients, strict=True):
            assert_same(got, want, OF_BINS.get(loss.name, TOLERANCE))


def test_mx_grad_of_options_and_rows(head: Loss[...], library: Library) -> None:
    """What the loss reduces by, and what it takes as an option, is differentiated too."""
    options = {name: mx.array(np.asarray(values[0], "float32")) for name, values in array_options(head).items()}
    inputs = arrays(head, library, dtype="float32")
    _, wanted = head.value_and_grad(*inputs, **options, wrt=tuple(options))
    found = mx.grad(lambda options: head(*inputs, **options))(options)
    for name, want in zip(options, wanted, strict=True):
        assert_same(found[name], np.asarray(want))


def test_second_order(loss: Loss[...], library: Library) -> None:
    """A gradient penalty, against automatic differentiation of `plain` alone."""
    inputs = arrays(loss, library, dtype="float32")
    count = len(leaves(loss, inputs))
    penalties = []
    for function in (loss, loss.plain):
        def penalty(*floats: Any, function: Any = function) -> Any:
            gradients = mx.grad(lambda *a: function(*a, *inputs[count:], **gentle(loss)), places(count))(*floats)
            return sum(mx.sum(gradient * gradient) for gradient in many(gradients))

        penalties.append(many(mx.grad(penalty, places(count))(*inputs[:count])))
    for got, want in zip(*penalties, strict=True):
        assert_same(got, np.asarray(want))


@pytest.mark.parametrize("name", ["normface", "supcon"])
def test_mx_compile(name: str, library: Library) -> None:
    """One of each engine with tiles: on a CPU MLX compiles by way of C++, for half a minute each."""
    loss: Any = anglos.LOSSES[name]
    inputs = arrays(loss, library, dtype="float32")
    step = mx.compile(mx.value_and_grad(lambda *a: loss(*a)))
    for seed in (0, 1):
        inputs = arrays(loss, library, seed=seed, dtype="float32")
        wanted, (want, *_) = loss.value_and_grad(*in_numpy(inputs))
        value, got = step(*inputs)
        assert_same(value, wanted)
        assert_same(got, want)


def test_tiles(tiled: Loss[...], library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = import_module("anglos.backends.mlx").backend
    inputs = arrays(tiled, library, dtype="float32")
    _, wanted = tiled.value_and_grad(*in_numpy(inputs))
    for name in ("tile_width", "class_tile_width"):
        monkeypatch.setattr(backend, name, lambda *_: 2)
    for got, want in zip(many(mx.grad(lambda *a: tiled(*a), places(len(wanted)))(*inputs)), wanted, strict=True):
        assert_same(got, want)


def test_a_label_out_of_range_is_nan(head: Loss[...], library: Library) -> None:
    """Arrays are lazy, and looking at a label would make MLX wait for it."""
    inputs = in_numpy(arrays(head, library))
    inputs[-1][2] = 99
    rows = np.asarray(head(*map(mx.array, inputs), reduction="none"))
    assert np.isnan(rows[2])
    assert np.isfinite(np.delete(rows, 2)).all() or head.name == "adacos"  # whose scale is taken from the batch


def test_mining_gives_the_rows_that_numpy_gives(library: Library) -> None:
    embeddings, labels = arrays(anglos.triplet, library, dtype="float32")
    for got, want in zip(anglos.mining.batch_hard(embeddings, labels),
                         anglos.mining.batch_hard(*in_numpy([embeddings, labels])), strict=True):
        np.testing.assert_array_equal(np.asarray(got), want)


def test_arrays_of_two_libraries_are_refused() -> None:
    with pytest.raises(TypeError, match="weights was a numpy array; wanted a mlx array, as embeddings is one"):
        anglos.arcface(mx.zeros((BATCH, 4)), np.zeros((5, 4)), mx.zeros(BATCH, mx.int32))


def test_hard_inputs_are_finite(loss: Loss[...], library: Library) -> None:
    test_properties.test_hard_inputs_are_finite(loss, library)


def test_low_precision_is_computed_in_float32(head: Loss[...], library: Library) -> None:
    test_properties.test_low_precision_is_computed_in_float32(head, library)


def test_ignored_rows_may_hold_anything(loss: Loss[...], library: Library) -> None:
    test_properties.test_ignored_rows_may_hold_anything(loss, library)


def test_nothing_to_count_gives_zero(loss: Loss[...], library: Library) -> None:
    test_properties.test_nothing_to_count_gives_zero(loss, library)


def test_nan_and_infinity_are_never_a_number(loss: Loss[...], library: Library) -> None:
    for bad in (np.nan, np.inf):
        test_properties.test_nan_and_infinity_are_never_a_number(loss, library, bad)
