"""Whether numbers stay finite, and keep their types."""

from typing import Any

import numpy as np

from anglos.call.kinds import has_gradient
from anglos.checks import samples
from anglos.checks.libraries import Jax, Torch
from anglos.checks.subject import Subject


def hard_inputs(subject: Subject) -> None:
    """Value and gradient are finite for aligned, opposite, zero, tiny and huge vectors."""
    arrays = samples.hard_arrays(subject.loss)
    for library in subject.libraries:
        for dtype in ("float64", "float32"):
            found = _not_finite(subject, library, arrays, dtype)
            if found is not None:
                gentle = [array if array.dtype.kind != "f" else
                          np.where(np.abs(array) > _HUGE, array / samples.LONGEST, array) for array in arrays]
                look = _OVERFLOW if _not_finite(subject, library, gentle, dtype) is None else _DIVISION
                subject.fault(library.name, *found, "a finite number", look)


_HUGE = 1e9
_OVERFLOW = ("what overflows: with numbers below 1e9 all is finite. Take exponentials by define.log_sum_exp or "
             "define.softplus, and divide by the largest number, or by the length, before squares and powers")
_DIVISION = "cos θ = ±1 and vectors of length 0: what is divided by, and roots of 0"


def _not_finite(subject: Subject, library: Any, arrays: list[np.ndarray], dtype: str) -> tuple[str, str] | None:
    """What is not, of value and gradients, and the number."""
    names = tuple(name for name in subject.loss.arrays if has_gradient(subject.loss.kinds[name]))
    with subject.calls(library.name):
        value, gradients = subject.loss.value_and_grad(
            *(library.array(_typed(array, dtype)) for array in arrays), wrt=names)
    for name, array in zip(("the value", *(f"the gradient in {name}" for name in names)), (value, *gradients),
                           strict=True):
        found = library.numpy(array)
        if not np.isfinite(found).all():
            place = [int(one) for one in np.argwhere(~np.isfinite(found))[0]]
            row = f" of {samples.HARD[place[0]]}" if place and len(found) == len(samples.HARD) else ""
            return f"{name} in {dtype}{row}", f"{found[tuple(place)]}"
    return None


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
            with subject.calls(library.name):
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
