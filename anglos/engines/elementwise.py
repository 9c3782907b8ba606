"""Functions of a formula, by the names of the array API standard and of NumPy: of arrays of any library, and numbers.

Under the formula of each stands its derivative, which is used where the formula differentiates itself (`dual.py`).
"""

import math
import operator
from collections.abc import Callable
from typing import Any

from anglos.arrays.dispatch import backend_of
from anglos.engines import numerics
from anglos.engines.dual import Dual, array_of, chain, choose
from anglos.engines.numerics import is_number

_EPS = 2.0**-26  # the root of the distance from 1 to the next number


class _Numbers:
    """What a backend is to arrays: to numbers of Python."""

    xp = math

    def sines(self, x: float) -> tuple[float, float]:
        sin = math.sqrt(max((1.0 - x) * (1.0 + x), 0.0))
        return sin, max(sin, _EPS)

    def softplus(self, x: float) -> float:
        return max(x, 0.0) + math.log1p(math.exp(-math.fabs(x)))

    def sigmoid(self, x: float) -> float:
        return 0.5 * (1.0 + math.tanh(0.5 * x))


_NUMBERS: Any = _Numbers()


def sqrt(x: Any) -> Any:
    """The square root."""
    return _of(x, lambda on, u: on.xp.sqrt(u),
               lambda on, u, y: 0.5 / y)


def square(x: Any) -> Any:
    """x²."""
    return x * x


def exp(x: Any) -> Any:
    """eˣ."""
    return _of(x, lambda on, u: on.xp.exp(u),
               lambda on, u, y: y)


def expm1(x: Any) -> Any:
    """eˣ − 1, exact where x is small."""
    return _of(x, lambda on, u: on.xp.expm1(u),
               lambda on, u, y: y + 1.0)


def log(x: Any) -> Any:
    """The natural logarithm."""
    return _of(x, lambda on, u: on.xp.log(u),
               lambda on, u, y: 1.0 / u)


def log1p(x: Any) -> Any:
    """log(1 + x), exact where x is small."""
    return _of(x, lambda on, u: on.xp.log1p(u),
               lambda on, u, y: 1.0 / (1.0 + u))


def sin(x: Any) -> Any:
    """The sine of an angle in radians."""
    return _of(x, lambda on, u: on.xp.sin(u),
               lambda on, u, y: on.xp.cos(u))


def cos(x: Any) -> Any:
    """The cosine of an angle in radians."""
    return _of(x, lambda on, u: on.xp.cos(u),
               lambda on, u, y: -on.xp.sin(u))


def tan(x: Any) -> Any:
    """The tangent of an angle in radians."""
    return _of(x, lambda on, u: on.xp.tan(u),
               lambda on, u, y: 1.0 + y * y)


def arccos(x: Any) -> Any:
    """The angle in radians, from 0 to π, that has this cosine. Its slopes are finite at ±1 too.

    >>> import numpy as np
    >>> from anglos import define
    >>> float(define.arccos(np.asarray(-1.0))) == np.pi
    True
    """
    return _of(x, lambda on, u: on.xp.atan2(_sines(on, u)[0], u),
               lambda on, u, y: -1.0 / _sines(on, u)[1])


def arcsin(x: Any) -> Any:
    """The angle in radians, from −π/2 to π/2, that has this sine. Its slopes are finite at ±1 too."""
    return _of(x, lambda on, u: on.xp.atan2(u, _sines(on, u)[0]),
               lambda on, u, y: 1.0 / _sines(on, u)[1])


def arctan(x: Any) -> Any:
    """The angle in radians, from −π/2 to π/2, that has this tangent."""
    return _of(x, lambda on, u: on.xp.atan(u),
               lambda on, u, y: 1.0 / (1.0 + u * u))


def arctan2(y: Any, x: Any) -> Any:
    """The angle in radians, from −π to π, of the point (x, y)."""
    v, u = array_of(y), array_of(x)
    on = backend_of(v) or backend_of(u) or _NUMBERS
    if on is not _NUMBERS:  # libraries take no number beside an array here
        v, u = v + on.xp.zeros_like(u if is_number(v) else v), u + on.xp.zeros_like(v if is_number(u) else u)
    angle, square = on.xp.atan2(v, u), u * u + v * v
    if not (isinstance(y, Dual) or isinstance(x, Dual)):
        return angle
    return chain(angle, (y, lambda: u / square),
                        (x, lambda: -v / square))


def sinh(x: Any) -> Any:
    """The hyperbolic sine."""
    return _of(x, lambda on, u: on.xp.sinh(u),
               lambda on, u, y: on.xp.cosh(u))


def cosh(x: Any) -> Any:
    """The hyperbolic cosine."""
    return _of(x, lambda on, u: on.xp.cosh(u),
               lambda on, u, y: on.xp.sinh(u))


def tanh(x: Any) -> Any:
    """The hyperbolic tangent."""
    return _of(x, lambda on, u: on.xp.tanh(u),
               lambda on, u, y: 1.0 - y * y)


def absolute(x: Any) -> Any:
    """|x|, with slope 0 at 0."""
    return operator.abs(x)


def sign(x: Any) -> Any:
    """−1, 0 or 1: a constant to the gradient."""
    return where(x > 0.0, 1.0, where(x < 0.0, -1.0, 0.0 * x))


def power(x: Any, exponent: Any) -> Any:
    """A number to a power."""
    return x**exponent


def softplus(x: Any) -> Any:
    """log(1 + eˣ), which neither overflows nor loses digits.

    >>> from anglos import define
    >>> define.softplus(1000.0), define.softplus(-1000.0), round(define.softplus(0.0), 6)
    (1000.0, 0.0, 0.693147)
    """
    return _of(x, lambda on, u: on.softplus(u) if on is _NUMBERS else numerics.softplus(on, u),
               lambda on, u, y: numerics.sigmoid(on, u))


def sigmoid(x: Any) -> Any:
    """1 / (1 + e⁻ˣ), the slope of `softplus`."""
    return _of(x, lambda on, u: on.sigmoid(u) if on is _NUMBERS else numerics.sigmoid(on, u),
               lambda on, u, y: y * numerics.sigmoid(on, -u))


def maximum(a: Any, b: Any) -> Any:
    """The larger of two; where they are equal, the slope is that of the second. NaN stays."""
    return where((a > b) | (a != a), a, b)


def minimum(a: Any, b: Any) -> Any:
    """The smaller of two; where they are equal, the slope is that of the second. NaN stays."""
    return where((a < b) | (a != a), a, b)


def clip(x: Any, low: Any = None, high: Any = None) -> Any:
    """The number within limits; at a limit and beyond it the slope is 0.

    >>> from anglos import define
    >>> define.clip(1.5, -1.0, 1.0)
    1.0
    """
    x = x if low is None else maximum(x, low)
    return x if high is None else minimum(x, high)


def where(condition: Any, a: Any, b: Any) -> Any:
    """The one where the condition holds, the other elsewhere: in place of Python's `if`, of all samples at once.

    Both are computed: what is not chosen must be finite too, or its slopes would be NaN.
    """
    return choose(condition, a, b)


acos, asin, atan, atan2, pow, abs = arccos, arcsin, arctan, arctan2, power, absolute

__all__ = [
    "abs", "absolute", "acos", "arccos", "arcsin", "arctan", "arctan2", "asin", "atan", "atan2", "clip", "cos",
    "cosh", "exp", "expm1", "log", "log1p", "maximum", "minimum", "pow", "power", "sigmoid", "sign", "sin", "sinh",
    "softplus", "sqrt", "square", "tan", "tanh", "where",
]


def _of(x: Any, value: Callable[[Any, Any], Any], slope: Callable[[Any, Any, Any], Any]) -> Any:
    """A function of one argument: (backend, u) -> its value y, and (backend, u, y) -> its derivative."""
    u = array_of(x)
    on = backend_of(u) or _NUMBERS
    y = value(on, u)
    return chain(y, (x, lambda: slope(on, u, y))) if isinstance(x, Dual) else y


def _sines(on: Any, x: Any) -> tuple[Any, Any]:
    """√(1 − x²), and the same for denominators."""
    return on.sines(x) if on is _NUMBERS else numerics.sines(on, x)
