"""The array libraries under test: how to make an array in each, and how to read one back."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import array_api_compat
import numpy as np
import pytest

Array = Any


@dataclass(frozen=True)
class Library:
    name: str
    array: Callable[[np.ndarray], Array]
    numpy: Callable[[Array], np.ndarray]
    low_precision: dict[str, Any]
    """Storage types below float32."""

    def cast(self, array: Array, dtype: str) -> Array:
        kind = self.low_precision.get(dtype) or getattr(import_module(self._namespace), dtype)
        if self.name == "torch":
            return array.to(kind)
        return array_api_compat.array_namespace(array).astype(array, kind)

    @property
    def _namespace(self) -> str:
        return {"jax": "jax.numpy", "strict": "array_api_strict"}.get(self.name, self.name)


def _numpy() -> Library:
    def read_only(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flags.writeable = False
        return array

    return Library("numpy", read_only, np.asarray, {"float16": np.float16})


def _strict() -> Library:
    strict = import_module("array_api_strict")
    # Not the default device: an array made without device= is found out.
    device = strict.Device("device1")
    host = strict.Device("CPU_DEVICE")
    return Library("strict", lambda array: strict.asarray(array, device=device),
                   lambda array: np.asarray(array.to_device(host)), {})


def _torch() -> Library:
    torch = import_module("torch")
    return Library("torch", lambda array: torch.tensor(array),
                   lambda array: (array.float() if array.dtype == torch.bfloat16 else array).detach().numpy(),
                   {"float16": torch.float16, "bfloat16": torch.bfloat16})


def _jax() -> Library:
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return Library("jax", jax.numpy.asarray, lambda array: np.asarray(array.astype("float64"))
                   if array.dtype == jax.numpy.bfloat16 else np.asarray(array),
                   {"float16": jax.numpy.float16, "bfloat16": jax.numpy.bfloat16})


def _cupy() -> Library:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    return Library("cupy", cupy.asarray, cupy.asnumpy, {"float16": cupy.float16})


LIBRARIES = {"numpy": _numpy, "strict": _strict, "torch": _torch, "jax": _jax, "cupy": _cupy}
