"""Export to ONNX through ndonnx, with a batch of any size; onnxruntime against NumPy."""

from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import arrays, float_arrays, per_class

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of

ndx: Any = pytest.importorskip("ndonnx", reason="ndonnx is not installed")
runtime: Any = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

pytestmark = pytest.mark.slow

NOT_FOR_ANY_BATCH = dict.fromkeys(("angular_prototypical", "batch_coco", "dynamic_soft_margin", "ge2e", "koleo",
                                   "rank_n_contrast"), "the number of rows was unknown; wanted a fixed one")
"""They have as many classes as the batch may have, or sums by its rows."""


def is_fixed(loss: Loss[...], name: str) -> bool:
    """Whether an axis does not grow with the batch: classes, and the noise of `nce`, whose number enters the value."""
    return per_class(loss, name) or loss.kinds[name].shape == "M D"


def arguments(loss: Loss[...], given: dict[str, np.ndarray], batch: str | None) -> dict[str, Any]:
    """The arrays of a graph; None leaves the batch as it is."""
    return {name: ndx.argument(
        shape=array.shape if batch is None or is_fixed(loss, name) else (batch, *array.shape[1:]),
        dtype=getattr(ndx, str(array.dtype))) for name, array in given.items()}


def assert_same(graph: Any, loss: Loss[...], given: dict[str, np.ndarray], batches: tuple[int, ...],
                tolerance: float, **options: Any) -> None:
    """What the graph gives for the first rows of the arrays, and what NumPy gives."""
    session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    for batch in batches:
        feed = {name: array if is_fixed(loss, name) else array[:batch] for name, array in given.items()}
        value, gradients = loss.value_and_grad(*feed.values(), **options)
        found = session.run(None, feed)
        for got, want in zip(found, [value, *gradients][: len(found)], strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance * max(1.0, np.abs(want).max()))


def named(loss: Loss[...], numpy: Library, dtype: str = "float64") -> dict[str, np.ndarray]:
    return dict(zip(loss.arrays, arrays(loss, numpy, dtype=dtype), strict=True))


@pytest.mark.representatives(words=True)
@pytest.mark.usefixtures("known_constants")
def test_export_of_value_and_gradient(loss: Loss[...], numpy: Library) -> None:
    """With a batch of any size, in float64."""
    given = named(loss, numpy)
    inputs = arguments(loss, given, None if loss.name in NOT_FOR_ANY_BATCH else "B")
    value, gradients = loss.value_and_grad(*inputs.values())
    names = (f"d_{name}" for name in float_arrays(loss))
    graph = ndx.build(inputs, {"loss": value, **dict(zip(names, gradients, strict=True))})
    assert_same(graph, loss, given, (6,) if loss.name in NOT_FOR_ANY_BATCH else (6, 4), 1e-12)


@pytest.mark.parametrize("name", NOT_FOR_ANY_BATCH)
def test_what_cannot_be_exported_for_any_batch_says_why(name: str, numpy: Library) -> None:
    loss: Any = anglos.LOSSES[name]
    with pytest.raises(ValueError, match=NOT_FOR_ANY_BATCH[name]):
        loss.value_and_grad(*arguments(loss, named(loss, numpy), "B").values())


@pytest.mark.parametrize("name", ["entropy", "arcface", "supcon"])
def test_export_of_the_loss_in_float32(name: str, numpy: Library) -> None:
    """One of every engine, as a user calls it; the scale of 64 multiplies the rounding of a cosine."""
    loss: Any = anglos.LOSSES[name]
    given = named(loss, numpy, "float32")
    inputs = arguments(loss, given, "B")
    graph = ndx.build(inputs, {"loss": loss(*inputs.values())})
    assert graph.graph.output[0].type.tensor_type.elem_type == 1
    assert_same(graph, loss, given, (6, 4), 64.0 * float(np.finfo("float32").eps))


CALLS: list[tuple[str, dict[str, Any]]] = [
    ("combined_margin", {"m1": 1.2}), ("arcface", {"margin": 1.5}), ("margin_cross_entropy", {"m1": 1.3}),
    ("contrastive", {"distance": "angle"}),
    *(("triplet", {"mining": mining}) for mining in ("batch_all", "semi_hard", "semi_hard_or_easiest"))]


@pytest.mark.usefixtures("known_constants")
@pytest.mark.parametrize(("name", "options"), CALLS, ids=str)
def test_options_that_take_another_way(name: str, options: dict[str, Any], numpy: Library) -> None:
    """By arctangents, which onnxruntime has in float32 only, and by ranks."""
    loss: Any = anglos.LOSSES[name]
    given = named(loss, numpy)
    inputs = arguments(loss, given, "B")
    value, gradients = loss.value_and_grad(*inputs.values(), **options)
    graph = ndx.build(inputs, {"loss": value, **{f"d{place}": one for place, one in enumerate(gradients)}})
    assert_same(graph, loss, given, (6, 4), 1e-12, **options)


def test_an_arctangent_in_every_quarter() -> None:
    angles = np.linspace(0.0, np.pi, 181)
    x, y = (ndx.argument(shape=("N",), dtype=ndx.float64) for _ in range(2))
    backend: Any = backend_of(x)
    graph = ndx.build({"x": x, "y": y}, {"angle": backend.xp.atan2(y, x)})
    session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": 3.0 * np.cos(angles), "y": 3.0 * np.sin(angles)})
    np.testing.assert_allclose(got, angles, rtol=0, atol=4.0 * np.finfo("float64").eps)


def test_labels_out_of_range_are_nan(numpy: Library) -> None:
    given = named(anglos.arcface, numpy)
    inputs = arguments(anglos.arcface, given, "B")
    graph = ndx.build(inputs, {"loss": anglos.arcface(*inputs.values(), reduction="none")})
    session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    labels = given["labels"].copy()
    labels[2] = 99
    (rows,) = session.run(None, {**given, "labels": labels})
    assert np.flatnonzero(np.isnan(rows)).tolist() == [2]
