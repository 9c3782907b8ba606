"""Small functions that are exact and finite everywhere, each beside its derivative."""

import math
import sys
from typing import Any

from anglos.arrays.backend import Backend

Array = Any


def is_number(option: Any) -> bool:
    """Whether an option is a number, which has no gradient; otherwise it is an array, which may be traced."""
    return type(option) in (int, float)  # and not NumPy's float64, which 1 / margin makes of an array


def is_one(option: Any) -> bool:
    """Whether an option is the number 1, and a multiplication by it can be left out."""
    return is_number(option) and bool(option == 1.0)


def is_array(option: Any) -> bool:
    """Whether an option is an array; a number that torch.compile takes for a variable has no attributes."""
    return type(option) not in (int, float, bool, str) and hasattr(option, "dtype")


def float_type(xp: Any, *arrays: Array) -> Any:
    """The type in which the arithmetic is done: that of the arrays together, and float32 at least."""
    dtype = arrays[0].dtype  # not cached: torch.compile would guard what is not there yet
    for array in arrays[1:]:
        if array.dtype != dtype:
            dtype = xp.result_type(dtype, array.dtype)
    if dtype == xp.float32 or dtype == xp.float64:
        return dtype
    return xp.float32 if xp.finfo(dtype).bits < 32 else dtype


def smallest_normal(xp: Any, dtype: Any) -> float:
    """Of the type, or of Python's numbers where the type has a wider range, as NumPy's longdouble has."""
    return max(float(xp.finfo(dtype).smallest_normal), sys.float_info.min)


def shortest(xp: Any, dtype: Any) -> float:
    """The length below which a vector counts as 0, since a gradient of 1e8 / |x| would overflow."""
    return 1e8 * smallest_normal(xp, dtype)


def unit_rows(backend: Backend, x: Array) -> tuple[Array, Array]:
    """x̂ = x / |x| along the last axis, and 1 / |x|, shape (..., 1); both are 0 where |x| is 0."""
    if backend.at_once and (at_once := backend.unit_rows(x)) is not None:
        return at_once
    near, largest, inverse = near_rows(backend, x)
    return near * inverse, inverse if largest is None else inverse / largest


def near_rows(backend: Backend, x: Array) -> tuple[Array, Array | None, Array]:
    """Rows divided by a number, so that squares neither overflow nor vanish; the number, None for 1; 1 / their length.

    The number is the largest entry, unless all squares are seen to be in range. A length is "0" where it is below 1e-30
    in float32, 1e-300 in float64.
    """
    xp, readable = backend.xp, backend.readable(x)
    if not readable and (inverse := backend.inverse_lengths(x)) is not None:
        return x, None, inverse
    if backend.multiplies_as_is(x, x):
        x = xp.astype(x, float_type(xp, x))
    if readable and backend.in_range(square := backend.dot(x, x)):
        return x, None, (1.0 / xp.sqrt(square))[..., None]
    largest = xp.max(xp.abs(x), axis=-1, keepdims=True)
    usable = largest > shortest(xp, x.dtype)
    largest = xp.where(usable, largest, 1.0)
    near = x / largest
    # A where inside the root: the derivative of √0 would be infinite, and 0·∞ is NaN under autodiff.
    length = xp.sqrt(xp.where(usable, xp.sum(near * near, axis=-1, keepdims=True), 1.0))
    return near, largest, xp.where(usable, 1.0 / length, 0.0)


def unit_rows_pullback(backend: Backend, unit: Array, inverse: Array, d_unit: Array) -> Array:
    """∂L/∂x = (∂L/∂x̂ − x̂ (x̂·∂L/∂x̂)) / |x|; ∂L/∂x̂ may hold it."""
    return backend.unit_pullback(unit, d_unit, after=inverse)


def sines(backend: Backend, cos: Array) -> tuple[Array, Array]:
    """Sin θ = √((1 − cos θ)(1 + cos θ)) for θ in [0, π]; and the same for denominators.

    There it is at least the `least_sine`.
    """
    xp, square, least = backend.xp, (1.0 - cos) * (1.0 + cos), least_sine(backend.xp, cos.dtype)
    if backend.surely_above(square, least * least):
        sin = xp.sqrt(square)
        return sin, sin
    if backend.changes_arrays():  # nothing differentiates √0
        sin = xp.sqrt(backend.maximum(square, 0.0))
        return sin, backend.maximum(sin, least)
    positive = square > 0.0
    sin = xp.where(positive, xp.sqrt(xp.where(positive, square, 1.0)), 0.0)
    return sin, floored(xp, sin)


def floored(xp: Any, sin: Array) -> Array:
    """Sin θ for denominators."""
    least = least_sine(xp, sin.dtype)
    return xp.where(sin > least, sin, least)


def least_sine(xp: Any, dtype: Any) -> float:
    """√eps, below which 1 − cos θ is rounding noise."""
    return math.sqrt(float(xp.finfo(dtype).eps))


def least_square(xp: Any, dtype: Any) -> float:
    """8 eps, the part of |x|² + |r|² below which |x|² + |r|² − 2 x·r is rounding noise."""
    return 8.0 * float(xp.finfo(dtype).eps)


def log_sum_exp(xp: Any, z: Array, mask: Array) -> Array:
    """Log Σ eᶻ over the pairs in the mask, along the last axis, which is kept; −∞ of none."""
    z = xp.where(mask, z, -math.inf)
    largest = xp.max(z, axis=-1, keepdims=True)
    largest = xp.where(largest == -math.inf, 0.0, largest)
    total = xp.sum(xp.exp(z - largest), axis=-1, keepdims=True)
    nothing = total == 0.0  # and not "> 0": a NaN must stay one
    return xp.where(nothing, -math.inf, largest + xp.log(xp.where(nothing, 1.0, total)))


def share(xp: Any, z: Array, total: Array, mask: Array) -> Array:
    """e^(z − total) over the pairs in the mask, the derivative of log_sum_exp; at most 1, and 0 elsewhere."""
    log_share = xp.where(mask, z - total, -math.inf)
    return xp.exp(xp.where(log_share > 0.0, 0.0, log_share))


def divisor_of(xp: Any, count: Array) -> Array:
    """A count to divide a sum by: 1 in place of 0, whose sum is 0."""
    return xp.where(count == 0.0, 1.0, count)


def sum_where(xp: Any, mask: Array, terms: Array) -> Array:
    """Σ of the terms in the mask, along the last axis."""
    return xp.sum(xp.where(mask, terms, 0.0), axis=-1)


def hinge_of(margin: Any, soft: bool) -> tuple[Any, bool]:
    """The margin as a number or an array, and whether the hinge is soft; "soft" is a soft one with margin 0."""
    return (0.0, True) if isinstance(margin, str) else (margin, soft)


def hinge(backend: Backend, excess: Array, soft: bool) -> tuple[Array, Array]:
    """[v]₊ with slope 1[v > 0]; or the soft one, ς(v) with slope σ(v)."""
    if soft:
        return softplus(backend, excess), sigmoid(backend, excess)
    xp = backend.xp
    return positive_part(xp, excess), xp.astype(excess > 0.0, excess.dtype)


def positive_part(xp: Any, v: Array) -> Array:
    """[v]₊, with slope 0 at 0 under autodiff, where that of a library's maximum is ½; and a NaN stays one."""
    return xp.where(v <= 0.0, 0.0, v)


def softplus(backend: Backend, x: Array) -> Array:
    """ς(x) = log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)."""
    if backend.at_once and (at_once := backend.softplus(x)) is not None:
        return at_once
    return backend.maximum(x, 0.0) + _beyond_larger(backend, x)


def log_add_exp(backend: Backend, a: Array, b: Array) -> Array:
    """Log(eᵃ + eᵇ) = max(a, b) + log(1 + e^−|a − b|), of numbers one of which is finite."""
    if backend.at_once and (at_once := backend.log_add_exp(a, b)) is not None:
        return at_once
    return backend.maximum(a, b) + _beyond_larger(backend, a - b)


def _beyond_larger(backend: Backend, difference: Array) -> Array:
    return backend.xp.log1p(_small(backend, difference))


def sigmoid(backend: Backend, x: Array) -> Array:
    """σ(x) = 1 / (1 + e^−x), the derivative of softplus."""
    if backend.at_once and (at_once := backend.sigmoid(x)) is not None:
        return at_once
    small = _small(backend, x)
    return backend.xp.where(x > 0.0, 1.0, small) / (1.0 + small)


def _small(backend: Backend, x: Array) -> Array:
    """e^−|x|, for functions that are smooth at 0: there automatic differentiation would take a slope of 0 for |x|."""
    return backend.xp.exp(backend.minimum(-x, x))
