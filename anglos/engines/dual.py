"""Arrays that carry their slopes: the arithmetic of a formula gives its value and its derivatives at once.

Forward-mode differentiation, written once for every library. A slope is an array of the library too, so that what the
library differentiates again is right to second order.
"""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from anglos.arrays.dispatch import backend_of
from anglos.engines.numerics import Array, is_array

Slope = Array | float | None
"""None is 1, which needs no product."""


class Formula:
    """What a formula may not be asked: its numbers, which are not there yet, or are many."""

    __array_ufunc__ = None  # NumPy's operators leave it to ours, and its functions refuse

    def __bool__(self) -> NoReturn:
        raise TypeError("a condition was asked whether it is true, which is so for some samples and not for others: "
                        "define.where(condition, a, b), maximum and minimum choose for each")

    def __float__(self) -> NoReturn:
        raise TypeError("an array was asked for a number")

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a function of NumPy was used")


class Condition(Formula):
    """What a comparison of duals gives: for `define.where`."""

    def __init__(self, array: Array, like: Array) -> None:
        self.array, self.like = _whole(array), like

    def __and__(self, other: Any) -> "Condition":
        return Condition(self.array & array_of(other), self.like)

    def __or__(self, other: Any) -> "Condition":
        return Condition(self.array | array_of(other), self.like)

    __rand__, __ror__ = __and__, __or__

    def __invert__(self) -> "Condition":
        return Condition(~self.array, self.like)


class Dual(Formula):
    """A value, and its slope in everything that it depends on."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, value: Array, slopes: Mapping[str, Slope]) -> None:
        self.value, self.slopes = _whole(value), slopes

    @property
    def shape(self) -> Any:
        return self.value.shape

    @property
    def dtype(self) -> Any:
        return self.value.dtype

    def __add__(self, other: Any) -> "Dual":
        return chain(self.value + array_of(other), (self, None), (other, None))

    __radd__ = __add__

    def __neg__(self) -> "Dual":
        return chain(-self.value, (self, -1.0))

    def __pos__(self) -> "Dual":
        return self

    def __sub__(self, other: Any) -> "Dual":
        return chain(self.value - array_of(other), (self, None), (other, -1.0))

    def __rsub__(self, other: Any) -> "Dual":
        return chain(other - self.value, (self, -1.0))

    def __mul__(self, other: Any) -> "Dual":
        return chain(self.value * array_of(other), (self, array_of(other)), (other, self.value))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> "Dual":
        return _ratio(self, other)

    def __rtruediv__(self, other: Any) -> "Dual":
        return _ratio(other, self)

    def __pow__(self, other: Any) -> "Dual":
        return _power(self, other)

    def __rpow__(self, other: Any) -> "Dual":
        return _power(other, self)

    def __abs__(self) -> "Dual":
        xp = xp_of(self.value)
        return chain(xp.abs(self.value), (self, lambda: xp.sign(self.value)))

    def __lt__(self, other: Any) -> Condition:
        return Condition(self.value < array_of(other), self.value)

    def __le__(self, other: Any) -> Condition:
        return Condition(self.value <= array_of(other), self.value)

    def __gt__(self, other: Any) -> Condition:
        return Condition(self.value > array_of(other), self.value)

    def __ge__(self, other: Any) -> Condition:
        return Condition(self.value >= array_of(other), self.value)

    def __eq__(self, other: Any) -> Any:
        return Condition(self.value == array_of(other), self.value)

    def __ne__(self, other: Any) -> Any:
        return Condition(self.value != array_of(other), self.value)


def _whole(array: Any) -> Array:
    """The array, also where NumPy made a scalar of one without axes."""
    return array[...] if backend_of(array) is None and is_array(array) else array


def _ratio(a: Any, b: Any) -> Dual:
    """The ratio a / b, its slopes 1 / b and −(a / b) / b."""
    bottom = array_of(b)
    ratio = array_of(a) / bottom
    return chain(ratio, (a, lambda: 1.0 / bottom), (b, lambda: -ratio / bottom))


def _power(a: Any, b: Any) -> Dual:
    """The power aᵇ, its slopes b aᵇ⁻¹ and aᵇ log a, 0 where a is 0."""
    base, exponent = array_of(a), array_of(b)
    power = _whole(base**exponent)

    def log_base() -> Array:
        xp = xp_of(power)
        near = base + xp.zeros_like(power)
        return xp.log(xp.where(near > 0.0, near, 1.0))

    constant = isinstance(exponent, (int, float)) and exponent == 0.0
    return chain(power, (a, lambda: 0.0 if constant else exponent * base ** (exponent - 1)),
                        (b, lambda: power * log_base()))


def array_of(x: Any) -> Any:
    """The array in a dual or a condition; anything else as it is."""
    return x.value if isinstance(x, Dual) else x.array if isinstance(x, Condition) else x


def xp_of(array: Array) -> Any:
    """The namespace of its library."""
    backend = backend_of(array)
    assert backend is not None
    return backend.xp


def chain(value: Array, *parts: tuple[Any, Slope | Callable[[], Slope]]) -> Dual:
    """The chain rule: of what the value depends on, with its slope in each; only those of duals are computed."""
    slopes: dict[str, Slope] = {}
    for part, slope in parts:
        if isinstance(part, Dual) and part.slopes:
            outer = slope() if callable(slope) else slope
            for name, inner in part.slopes.items():
                product = inner if outer is None else outer if inner is None else outer * inner
                slopes[name] = plus(slopes[name], product) if name in slopes else product
    return Dual(value, slopes)


def plus(a: Slope, b: Slope) -> Slope:
    """The sum of two slopes."""
    return (1.0 if a is None else a) + (1.0 if b is None else b)


def choose(condition: Any, a: Any, b: Any) -> Any:
    """The one where the condition holds, the other elsewhere; so for the slopes."""
    where = array_of(condition)
    value = _pick(where, array_of(a), array_of(b), condition)
    if not (isinstance(a, Dual) or isinstance(b, Dual)):
        return Dual(value, {}) if isinstance(condition, Condition) else value
    slopes_a, slopes_b = slopes_of(a), slopes_of(b)
    return Dual(value, {name: _pick(where, slopes_a.get(name, 0.0), slopes_b.get(name, 0.0), value)
                        for name in {**slopes_a, **slopes_b}})


def slopes_of(x: Any) -> dict[str, Any]:
    """The slopes of a dual as arrays and numbers; none of anything else."""
    return {name: 1.0 if slope is None else slope for name, slope in x.slopes.items()} if isinstance(x, Dual) else {}


def _pick(where: Any, a: Any, b: Any, like: Any) -> Any:
    """Of two numbers in the type of an array that is like the result."""
    if isinstance(where, bool):
        return a if where else b
    xp = xp_of(where)
    if is_array(a) or is_array(b):
        return xp.where(where, a, b)
    if like is where:  # every library would take a type of its own
        raise TypeError("define.where: both choices were numbers, of no type; wanted an array for one of them, as in "
                        "0.0 * x")
    like = like.like if isinstance(like, Condition) else like
    return xp.where(where, a + xp.zeros_like(like), b)
