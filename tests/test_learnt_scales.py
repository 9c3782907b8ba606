"""Gradients of a learnt scale beside vectors of 16 bits, whose slopes are rounded in the products with vectors.

Vectors have most of their length in common, as CLIP's do. That part of the logits moves nothing, and must cancel.
"""

from typing import Any

import jax
import numpy as np
import pytest
import torch
from libraries import Library
from operations import as_on_cuda
from samples import made, numbers

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of
from anglos.engines.prototypes import engine as prototypes

SCALES = ("scale", "temperature", "log_scale", "concentration")
ROUNDED = ("clip", "dcl", "info_nce", "siglip")
"""Of losses over pairs those that multiply 16 bits as they are, by keys or by the means of classes."""

LEARNT = [(loss, name) for loss in anglos.LOSSES.values() for name in SCALES if name in numbers(loss)
          and (loss.engine is prototypes or loss.name in ROUNDED)]
BOUND = 1e-3
"""Of float32's own sums, a part of whose terms cancels; rounded slopes are off by 1e-2 and more here."""

MANY, DIMENSION = 96, 32


def vectors(loss: Loss[...]) -> list[np.ndarray]:
    """One direction that all have in common, and a tenth of it that they have not."""
    random = np.random.default_rng(0)
    common = random.normal(size=DIMENSION)
    several = {name: common + 0.1 * random.normal(size=(MANY, DIMENSION)) for name in (
        "embeddings", "weights", "others", "more")}
    return made(loss, {**several, "labels": random.integers(0, MANY, MANY)})


def error(loss: Loss[...], name: str, library: Library, **options: Any) -> float:
    """Of the derivative by a float32 scale, against the same numbers in float64."""
    given = [library.array(array) for array in vectors(loss)]
    short = [library.cast(array, "bfloat16") if "float" in str(array.dtype) else array for array in given]
    exact = [library.cast(array, "float64") if "float" in str(array.dtype) else array for array in short]
    value = np.asarray(loss.defaults[name] or 10.0)
    found, wanted = (
        float(loss.value_and_grad(*arrays, **{name: library.array(value.astype(dtype))}, **options, wrt=(name,))[1][0])
        for arrays, dtype in ((short, "float32"), (exact, "float64")))
    again = float(by_framework(loss, name, short, library.array(value.astype("float32")), options))
    return max(abs(one - wanted) / abs(wanted) for one in (found, again))


def by_framework(loss: Loss[...], name: str, arrays: list[Any], scale: Any, options: dict[str, Any]) -> Any:
    """Its own derivative, for which the forward pass has kept what it may."""
    if isinstance(scale, torch.Tensor):
        (slope,) = torch.autograd.grad(loss(*arrays, **{name: scale.requires_grad_()}, **options), scale)
        return slope
    return jax.jit(jax.grad(lambda scale: loss(*arrays, **{name: scale}, **options)))(scale)


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize(("learnt", "name"), LEARNT, ids=[loss.name for loss, _ in LEARNT])
def test_in_pytorch_as_on_cuda(learnt: Loss[...], name: str, kernels: bool, torch_library: Library) -> None:
    with as_on_cuda(kernels=kernels):
        assert error(learnt, name, torch_library) <= BOUND
        if "keep_bytes" in learnt.defaults:
            assert error(learnt, name, torch_library, keep_bytes=0) <= BOUND


@pytest.mark.parametrize(("called", "options"), [(anglos.nt_xent, {}), (anglos.supcon, {}),
                                                 (anglos.supcon, {"form": "in"})], ids=str)
def test_of_partners_by_kernels(called: Loss[...], options: dict[str, Any], torch_library: Library) -> None:
    """Which have no others on CUDA."""
    with as_on_cuda(kernels=True):
        assert error(called, "temperature", torch_library, **options) <= BOUND


def test_of_some_classes_at_a_time(torch_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all slopes are kept logits are made again, and not all at once."""
    widths: list[int] = []
    backend: Any = backend_of(torch_library.array(np.ones(1)))

    def width(like: Any, samples: int, dimension: int, classes: int, keep: bool) -> int:
        widths.append(classes if keep else 7)
        return widths[-1]

    monkeypatch.setattr(backend, "class_tile_width", width)
    with as_on_cuda(kernels=True):
        assert error(anglos.normface, "scale", torch_library) <= BOUND
    assert {7, MANY} <= set(widths)


@pytest.mark.parametrize(("learnt", "name"), LEARNT, ids=[loss.name for loss, _ in LEARNT])
def test_in_jax_as_on_a_gpu(
    learnt: Loss[...], name: str, jax_library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax.lax, "platform_dependent", lambda *given, cpu, default: default(*given))
    assert error(learnt, name, jax_library) <= BOUND
