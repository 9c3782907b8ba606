"""Backends of users: `anglos.backends.register`."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import anglos
from anglos.backends import numpy, register
from anglos.backends import torch as pytorch


class Counting(numpy.NumPy):  # type: ignore[misc]  # which mypy finds by another name
    """Counts its exponentials."""

    calls = 0

    def exponential(self, logits: Any, shift: Any) -> Any:
        self.calls += 1
        return super().exponential(logits, shift)


class CountingTorch(pytorch.PyTorch):  # type: ignore[misc]  # likewise
    """Counts its exponentials."""

    calls = 0

    def exponential(self, logits: Any, shift: Any) -> Any:
        self.calls += 1
        return super().exponential(logits, shift)


class Array(np.ndarray):
    """A subclass, which has its base's backend."""


@pytest.fixture
def counting() -> Iterator[Counting]:
    backend = Counting("numpy", numpy.backend.xp)
    yield backend
    register(np.ndarray, None)
    register(Array, None)


def value() -> Any:
    return anglos.normface(np.eye(3), np.eye(3), np.arange(3))


def test_hooks_of_a_registered_backend_are_used(counting: Counting) -> None:
    """Also by a call that was made before, with arrays of the same types and shapes; and no longer than wanted."""
    expected = value()
    register(np.ndarray, counting)
    assert value() == expected
    assert counting.calls == 1
    anglos.normface(np.eye(3).view(Array), np.eye(3), np.arange(3))
    assert counting.calls == 2
    register(np.ndarray, None)
    value()
    assert counting.calls == 2


def test_a_subclass_of_pytorchs_adapter_computes_small_calls_itself() -> None:
    counting = CountingTorch("torch", pytorch.backend.xp)
    weights = torch.nn.Parameter(torch.eye(3))
    expected = anglos.normface(torch.eye(3), weights, torch.arange(3))
    register(torch.Tensor, counting)
    try:
        loss = anglos.normface(torch.eye(3), weights, torch.arange(3))
    finally:
        register(torch.Tensor, None)
    loss.backward()  # type: ignore[no-untyped-call]
    assert counting.calls > 0
    assert weights.grad is not None
    assert torch.isclose(loss, expected)


def test_of_several_types_the_one_registered_last_counts(counting: Counting) -> None:
    register(Array, counting)
    value()
    assert counting.calls == 0
    arrays = np.eye(3).view(Array), np.eye(3).view(Array), np.arange(3).view(Array)
    anglos.normface(*arrays)
    assert counting.calls == 1
    register(np.ndarray, numpy.backend)
    anglos.normface(*arrays)
    assert counting.calls == 1


@pytest.mark.parametrize(("array_type", "backend", "message"), [
    ("numpy", numpy.backend, "register: array_type was 'numpy'; wanted a class of arrays, such as numpy.ndarray"),
    (float, numpy.backend,
     "register: array_type was <class 'float'>; wanted a class of arrays, such as numpy.ndarray"),
    (np.ndarray, Counting, "register: backend was <class 'test_register.Counting'>; wanted an instance of a subclass "
                           "of anglos.backends.Backend, or None"),
])
def test_refusals(array_type: Any, backend: Any, message: str) -> None:
    with pytest.raises(TypeError) as refused:
        register(array_type, backend)
    assert str(refused.value) == message


def test_import_touches_no_framework() -> None:
    code = "import sys, anglos.backends; print({'torch', 'jax', 'numpy', 'cupy'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "set()"
