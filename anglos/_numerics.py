"""Small functions that are exact and finite everywhere, each beside its derivative."""

import math
from typing import Any

Array = Any


def float_type(xp: Any, *arrays: Array) -> Any:
    """The type in which the arithmetic is done: that of the arrays together, and float32 at least."""
    dtype = xp.result_type(*arrays)
    return xp.float32 if xp.finfo(dtype).bits < 32 else dtype


def unit_rows(xp: Any, x: Array) -> tuple[Array, Array]:
    """x̂ = x / |x| along the last axis, and 1 / |x|, shape (..., 1); both are 0 where |x| is 0.

    Rows are first divided by their largest entry, so that squares neither overflow nor vanish. "0" means so
    small that a gradient of 1e8 / |x| would overflow: 1e-30 in float32, 1e-300 in float64.
    """
    largest = xp.max(xp.abs(x), axis=-1, keepdims=True)
    usable = largest > 1e8 * float(xp.finfo(x.dtype).smallest_normal)
    largest = xp.where(usable, largest, 1.0)
    scaled = x / largest
    # A where inside the root: the derivative of √0 would be infinite, and 0·∞ is NaN under autodiff.
    length = xp.sqrt(xp.where(usable, xp.sum(scaled * scaled, axis=-1, keepdims=True), 1.0))
    inverse = xp.where(usable, 1.0 / length, 0.0)
    return scaled * inverse, inverse / largest


def unit_rows_pullback(xp: Any, unit: Array, inverse: Array, d_unit: Array) -> Array:
    """∂L/∂x = (∂L/∂x̂ − x̂ (x̂·∂L/∂x̂)) / |x|."""
    return (d_unit - unit * xp.sum(unit * d_unit, axis=-1, keepdims=True)) * inverse


def sine(xp: Any, cos: Array) -> Array:
    """Sin θ = √((1 − cos θ)(1 + cos θ)) for θ in [0, π]."""
    square = (1.0 - cos) * (1.0 + cos)
    positive = square > 0.0
    return xp.where(positive, xp.sqrt(xp.where(positive, square, 1.0)), 0.0)


def floored_sine(xp: Any, sin: Array) -> Array:
    """Sin θ for denominators: at least √eps, below which 1 − cos θ is rounding noise."""
    floor = math.sqrt(float(xp.finfo(sin.dtype).eps))
    return xp.where(sin > floor, sin, floor)


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


def sum_where(xp: Any, mask: Array, terms: Array) -> Array:
    """Σ of the terms in the mask, along the last axis."""
    return xp.sum(xp.where(mask, terms, 0.0), axis=-1)


def hinge(xp: Any, difference: Array, margin: float | None) -> tuple[Array, Array]:
    """[d + m]₊ with slope 1[d + m > 0]; without a margin the soft one, ς(d) with slope σ(d)."""
    if margin is None:
        return softplus(xp, difference), sigmoid(xp, difference)
    excess = difference + margin
    return xp.where(excess <= 0.0, 0.0, excess), xp.astype(excess > 0.0, excess.dtype)


def softplus(xp: Any, x: Array) -> Array:
    """ς(x) = log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)."""
    return xp.where(x > 0.0, x, 0.0) + xp.log1p(xp.exp(minus_abs(xp, x)))


def sigmoid(xp: Any, x: Array) -> Array:
    """σ(x) = 1 / (1 + e^−x), the derivative of softplus."""
    small = xp.exp(minus_abs(xp, x))
    return xp.where(x > 0.0, 1.0, small) / (1.0 + small)


def minus_abs(xp: Any, x: Array) -> Array:
    """−|x|, for functions that are smooth at 0: there automatic differentiation would take a slope of 0 for |x|."""
    return xp.where(x > 0.0, -x, x)
