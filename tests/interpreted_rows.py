"""The kernels of rows of the batch, and of its cosines, in Triton's interpreter: `test_triton.py` runs this."""

import importlib
import math
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from operations import Traffic, as_on_cuda, counted_already, watched
from test_torch_traffic import moved

import anglos
from anglos.arrays.dispatch import backend_of
from anglos.engines import angles
from anglos.engines.numerics import shortest

labels: Any = importlib.import_module("anglos.backends.torch.triton.labels")
lengths: Any = importlib.import_module("anglos.backends.torch.triton.lengths_of_rows")
pullback: Any = importlib.import_module("anglos.backends.torch.triton.weights_pullback")
turned: Any = importlib.import_module("anglos.backends.torch.triton.turned")
BACKEND: Any = backend_of(torch.zeros(1))
LEAST = shortest(torch, torch.float32)

types = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """So that there are several of them, and of columns too. A GPU does not warn, as NumPy does."""
    for module in (labels, lengths, pullback):
        monkeypatch.setattr(module, "rows_of_pass", lambda _: (4, 16))
    monkeypatch.setattr(turned, "_BLOCK", 16)
    with np.errstate(all="ignore"):
        yield


def rows(count: int, dtype: torch.dtype) -> torch.Tensor:
    """Of many lengths, with one of zeros, in a tensor whose rows lie apart."""
    found = torch.randn(count, 50).mul(torch.logspace(-20, 15, count)[:, None]).to(dtype)
    found[1] = 0.0
    return found[:, :43]


@types
def test_unit_rows(dtype: torch.dtype) -> None:
    x = rows(7, dtype)
    unit, inverse = lengths.units(x, LEAST)
    wanted = x.double().norm(dim=1, keepdim=True).reciprocal().nan_to_num(posinf=0.0)
    torch.testing.assert_close(inverse.double(), wanted, rtol=3e-7, atol=0.0)
    torch.testing.assert_close(unit.double(), x.double() * wanted, rtol=3e-7, atol=1e-37)


def test_rows_scaled_by_powers_of_2() -> None:
    """To a length from ½ to 1, without an error; a row of zeros stays."""
    x = rows(9, torch.bfloat16)
    inverse = lengths.inverses(x, LEAST)
    scaled, found = lengths.scaled(x, inverse)
    power = inverse / found
    assert torch.equal(scaled[[0, *range(2, 9)]].double(), (x.double() * power)[[0, *range(2, 9)]])
    norm = scaled.double().norm(dim=1)
    assert norm[1] == found[1] == 0.0
    assert all(0.49 < one < 1.01 for one in norm[[0, *range(2, 9)]])
    of_backend = BACKEND.scaled_rows(x, inverse)
    torch.testing.assert_close(of_backend[0].double() * of_backend[1], scaled.double() * found, rtol=3e-7, atol=0.0)


@types
@pytest.mark.parametrize("are_unit", [False, True])
@pytest.mark.parametrize("with_lengths", [False, True])
def test_directions_of_labels(dtype: torch.dtype, are_unit: bool, with_lengths: bool) -> None:
    if not (are_unit or with_lengths):
        return
    w, unit = rows(9, dtype), torch.nn.functional.normalize(torch.randn(6, 43))
    w = torch.nn.functional.normalize(w) if are_unit else w
    inverse = lengths.inverses(w, LEAST) if with_lengths else None
    given = torch.tensor([8, 0, 1, 3, 3, 5]), w, inverse, unit, are_unit
    found, wanted = labels.label_directions(*given), BACKEND.label_directions(*given)
    assert (found[1] is None) == (wanted[1] is None) == (not with_lengths)
    for one, want in zip(found, wanted, strict=True):
        if one is not None:
            torch.testing.assert_close(one, want, rtol=1e-6, atol=1e-6 * float(want.abs().amax()))


@types
@pytest.mark.parametrize("factors", [False, True])
def test_the_way_back_through_a_direction(dtype: torch.dtype, factors: bool) -> None:
    vectors, w = torch.randn(7, 43), torch.nn.functional.normalize(torch.randn(7, 43)).to(dtype)
    factor, after = (torch.rand(7, 1), torch.rand(7, 1)) if factors else (None, None)
    wanted = BACKEND.unit_pullback(w.float(), vectors.clone(), factor, after)
    found = pullback.unit_pullback(w, vectors, factor, after)
    torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-6)
    assert found.data_ptr() == vectors.data_ptr()


@pytest.mark.parametrize("past_pi", angles.PAST_PI)
@pytest.mark.parametrize("shift", [0.5, 0.0, -0.3, 3.0])
def test_turned_cosines(shift: float, past_pi: str) -> None:
    """On both sides of where they reach π, at both ends, and of what is no number."""
    near = -math.cos(shift)
    cos = torch.tensor([-1.0, 1.0, 0.0, -0.0, 1e-30, near - 1e-6, near + 1e-6, math.nan, *torch.linspace(-1, 1, 50)])
    wanted = angles.turned_cosine(BACKEND, cos, shift=shift, past_pi=past_pi)
    found = turned.turned(cos, *angles._by_numbers(torch, cos.dtype, shift, past_pi))
    for one, want in zip(found, wanted[:2], strict=True):
        want = torch.as_tensor(want).expand_as(cos)
        torch.testing.assert_close(one, want, rtol=1e-6, atol=1e-6, equal_nan=True)


@types
@pytest.mark.parametrize("path", ["kept", "recomputed"])
@pytest.mark.parametrize("name", ["arcface", "cosface", "linear_cross_entropy"])
def test_what_is_counted_is_what_is_launched(name: str, path: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
                                             ) -> None:
    """The numbers of `test_torch_traffic.py`, whose kernels are stand-ins, with these: launches and all else."""
    launched: list[str] = []
    interpreter: Any = importlib.import_module("triton.runtime.interpreter")
    run = interpreter.InterpretedFunction.run

    def watching(self: Any, *given: Any, **named: Any) -> Any:
        launched.append(self.fn.__name__)
        with counted_already():
            return run(self, *given, **named)

    monkeypatch.setattr(interpreter.InterpretedFunction, "run", watching)
    for module in ("choice.capability_of", "rest.torch.cuda.get_device_capability"):
        monkeypatch.setattr(f"anglos.backends.torch.triton.{module}", lambda _: (9, 0))
    monkeypatch.setattr(pullback, "processors", lambda _: 1)
    loss: Any = partial(anglos.LOSSES[name], keep_bytes={"kept": 2**40, "recomputed": 0}[path])
    x, w = (torch.randn(count, 32).to(dtype).requires_grad_() for count in (16, 64))
    target = torch.randint(0, 64, (16,))
    with as_on_cuda():
        monkeypatch.setenv("ANGLOS_TRITON", "1")
        torch.autograd.grad(loss(x, w, target), (x, w))
        launched.clear()
        with watched(Traffic(16, 32, 64)) as traffic:
            torch.autograd.grad(loss(x, w, target), (x, w))
    wanted = moved(name, path, "B < D", str(dtype).removeprefix("torch."), kernels=True)
    assert traffic.operations.total() + len(launched) == wanted.operations, (sorted(launched), traffic.operations)
