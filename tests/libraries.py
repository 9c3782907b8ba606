"""The array libraries under test: how to make an array in each, and how to read one back.

Three are on a GPU, and left out where there is none. ANGLOS_GPU_TESTS_ON=cpu rehearses them on a processor, nothing of
which may be looked at: the same tests and the same branches, but for the numbers of another arithmetic; CuPy as
`host_cupy` has it.
"""

import os
from collections.abc import Callable
from ctypes import CDLL
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import array_api_compat
import numpy as np
import pytest

from anglos.arrays.dispatch import backend_of

Array = Any

REHEARSED = os.environ.get("ANGLOS_GPU_TESTS_ON", "cuda") == "cpu"


@dataclass(frozen=True)
class Library:
    name: str
    """Of the library, wherever its arrays are."""
    array: Callable[[np.ndarray], Array]
    numpy: Callable[[Array], np.ndarray]
    low_precision: dict[str, Any]
    """Storage types below float32."""
    readable: bool = True
    """Whether losses look at values, as they do where that costs nothing."""

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
                   lambda array: np.asarray(array.to_device(host)), {}, readable=False)


def _torch(device: str = "cpu", readable: bool = True) -> Library:
    torch = import_module("torch")
    return Library("torch", lambda array: torch.tensor(array, device=device), lambda array: (
        array.float() if array.dtype == torch.bfloat16 else array).detach().cpu().numpy(),
        {"float16": torch.float16, "bfloat16": torch.bfloat16}, readable)


def _torch_cuda() -> Library:
    if not REHEARSED and not import_module("torch").cuda.is_available():
        pytest.skip("no CUDA device")
    return _torch("cpu" if REHEARSED else "cuda", readable=False)


def _jax() -> Library:
    return _jax_on(import_module("jax").devices("cpu")[0])


def _jax_on(device: Any, committed: bool = False) -> Library:
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    if jax.default_backend() != "cpu":  # a GPU's machine: what is on no device in particular is on the processor
        jax.config.update("jax_default_device", jax.devices("cpu")[0])
    return Library("jax", (lambda array: jax.device_put(array, device)) if committed else jax.numpy.asarray,
                   lambda array: np.asarray(array.astype("float64"))
                   if array.dtype == jax.numpy.bfloat16 else np.asarray(array),
                   {"float16": jax.numpy.float16, "bfloat16": jax.numpy.bfloat16}, not committed)


def _jax_gpu() -> Library:
    jax = import_module("jax")
    if REHEARSED:
        return _jax_on(jax.devices("cpu")[1], committed=True)
    try:
        return _jax_on(jax.devices("gpu")[0], committed=True)
    except RuntimeError:
        pytest.skip("no GPU that JAX knows")


def _cupy() -> Library:
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed")
    if not cupy.cuda.is_available():
        pytest.skip("no CUDA device")
    return Library("cupy", cupy.asarray, cupy.asnumpy, {"float16": cupy.float16}, readable=False)


LIBRARIES = {"numpy": _numpy, "strict": _strict, "torch": _torch, "jax": _jax, "cupy": _cupy,
             "torch-cuda": _torch_cuda, "jax-gpu": _jax_gpu}

ON_A_GPU = ("cupy", "torch-cuda", "jax-gpu")


def _has_driver() -> bool:
    """Whether there may be a GPU; asked of the system, since to ask a library it must be imported."""
    try:
        CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return False
    return True


HAS_GPU = REHEARSED or _has_driver()


def parameters(*names: str) -> list[Any]:
    """For a fixture: those on a GPU are marked, and make no thousands of tests to skip where there is none."""
    return [pytest.param(name, marks=pytest.mark.gpu) if name in ON_A_GPU else name for name in names
            if HAS_GPU or name not in ON_A_GPU]


def library_of(name: str, monkeypatch: pytest.MonkeyPatch) -> Library:
    """A library; one that is rehearsed goes the way of a GPU, and looks at nothing, while the test runs."""
    library = LIBRARIES[name]()
    if REHEARSED and name in ON_A_GPU:
        as_on_a_gpu(library, monkeypatch)
    return library


def as_on_a_gpu(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its arrays, on a processor, are computed with as if they were not."""
    backend: Any = backend_of(library.array(np.zeros(1)))
    if library.name != "torch":
        monkeypatch.setattr(backend, "readable", lambda array: False)
        return
    # Without kernels, for which there is Triton's interpreter; and a CPU has no product with sums in float32.
    monkeypatch.setenv("ANGLOS_TRITON", "0")
    monkeypatch.setattr(backend, "on_processor", lambda array: False)
    monkeypatch.setattr(backend, "on_cuda", lambda array: True)
    monkeypatch.setattr(backend, "unrounded", lambda a, b, out: import_module("torch").mm(
        a.float(), b.float(), out=out))
