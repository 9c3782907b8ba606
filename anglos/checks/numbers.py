"""Whether numbers stay finite, and keep their types."""

from typing import Any

import numpy as np

from anglos.call.kinds import has_gradient
from anglos.checks import samples
from anglos.checks.libraries import Jax, Torch
from anglos.checks.subject import Subject


def hard_inputs(subject: Subject) -> None:
    """Value and gradient are finite for aligned, opposite, zero, tiny and huge vectors."""
    names = tuple(name for name in subject.loss.arrays if has_gradient(subject.loss.kinds[name]))
    for library in subject.libraries:
        for dtype in ("float64", "float32"):
            arrays = [library.array(_typed(array, dtype)) for array in samples.hard_arrays(subject.loss)]
            value, gradients = subject.loss.value_and_grad(*arrays, wrt=names)
            for name, array in zip(("the value", *(f"the gradient in {name}" for name in names)), (value, *gradients),
                                   strict=True):
                found = library.numpy(array)
                if not np.isfinite(found).all():
                    place = [int(one) for one in np.argwhere(~np.isfinite(found))[0]]
                    row = f" of {samples.HARD[place[0]]}" if place and len(found) == len(samples.HARD) else ""
                    subject.fault(library.name, f"{name} in {dtype}{row}", f"{found[tuple(place)]}", "a finite number",
                                  "cos θ = ±1 and vectors of length 0: what is divided by, and roots of 0")


def _typed(array: np.ndarray, dtype: str) -> np.ndarray:
    return array.astype(dtype) if array.dtype.kind == "f" else array


def dtypes(subject: Subject) -> None:
    """What is computed has the type of the inputs, float32 at least; a gradient that of its input."""
    names, arrays, options = subject.inputs()
    for library in subject.libraries:
        for dtype in ("float32", "float64", library.low):
            if dtype == library.low and not isinstance(library, Torch | Jax) and dtype != "float16":
                continue
            given = [_cast(library, array, dtype) for array in arrays]
            learnt = {name: _cast(library, one, dtype) if isinstance(one, np.ndarray) else one
                      for name, one in options.items()}
            value, gradients = subject.loss.value_and_grad(*given, **learnt, wrt=tuple(names))
            wide = "float32" if dtype == library.low else dtype
            for what, array, wanted in (("the value", value, wide), *((f"the gradient in {name}", one, dtype)
                                        for name, one in zip(names, gradients, strict=True))):
                if wanted not in str(array.dtype):
                    subject.fault(library.name, f"{what} of {dtype} arrays", f"of dtype {array.dtype}", wanted,
                                  "numbers of NumPy and arrays that are made in the formula")


def _cast(library: Any, array: np.ndarray, dtype: str) -> Any:
    if array.dtype.kind != "f":
        return library.array(array)
    if isinstance(library, Torch):
        return library.cast(array, dtype)
    return library.array(array).astype(dtype)
