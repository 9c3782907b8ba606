"""The libraries that are installed: how arrays get there and back, and how each differentiates by itself."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np


class NumPy:
    """NumPy, which differentiates nothing."""

    name, differentiates, low = "numpy", False, "float16"

    def array(self, array: np.ndarray) -> Any:
        return array.copy()

    def numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array)


class Torch(NumPy):
    """PyTorch."""

    name, differentiates, low = "torch", True, "bfloat16"

    def __init__(self) -> None:
        self.torch: Any = import_module("torch")

    def array(self, array: np.ndarray) -> Any:
        return self.torch.tensor(array)

    def numpy(self, array: Any) -> np.ndarray:
        array = array.detach().cpu()
        return np.asarray(array.float() if array.dtype == self.torch.bfloat16 else array)

    def cast(self, array: np.ndarray, dtype: str) -> Any:
        return self.torch.tensor(array).to(getattr(self.torch, dtype))

    def gradients(self, function: Callable[..., Any], arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Of a scalar function; and the gradients of the sum of their squares."""
        leaves = [array.clone().requires_grad_() for array in arrays]
        first = self.torch.autograd.grad(function(*leaves), leaves, create_graph=True, allow_unused=True)
        first = [self.torch.zeros_like(leaf) if one is None else one for one, leaf in zip(first, leaves, strict=True)]
        penalty = sum((one * one).sum() for one in first)
        if not penalty.requires_grad:
            return first, [self.torch.zeros_like(leaf) for leaf in leaves]
        second = self.torch.autograd.grad(penalty, leaves, allow_unused=True)
        return first, [self.torch.zeros_like(leaf) if one is None else one
                       for one, leaf in zip(second, leaves, strict=True)]


class Jax(NumPy):
    """JAX, with the types that it has at the time."""

    name, differentiates, low = "jax", True, "bfloat16"

    def __init__(self) -> None:
        self.jax: Any = import_module("jax")

    def array(self, array: np.ndarray) -> Any:
        return self.jax.numpy.asarray(array)

    def numpy(self, array: Any) -> np.ndarray:
        return np.asarray(array.astype("float32") if array.dtype == self.jax.numpy.bfloat16 else array)

    def gradients(self, function: Callable[..., Any], arrays: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """Of a scalar function; and the gradients of the sum of their squares."""
        which = tuple(range(len(arrays)))

        def penalty(*arrays: Any) -> tuple[Any, Any]:
            first = self.jax.grad(function, which)(*arrays)
            return sum((one * one).sum() for one in first), first

        second, first = self.jax.jit(self.jax.grad(penalty, which, has_aux=True))(*arrays)
        return list(first), list(second)


def installed() -> list[Any]:
    """NumPy, and of PyTorch and JAX those that are there."""
    return [NumPy(), *(made() for made in (Torch, Jax) if find_spec(made.name) is not None)]
