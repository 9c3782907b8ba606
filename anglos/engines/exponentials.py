"""Σ e^z over the classes, a tile at a time; what it does with T × B numbers is in `anglos.arrays.softmax`."""

import math
from typing import Any, ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import largest_finite
from anglos.engines.numerics import Array, shortest, smallest_normal


class LogSumExp(NamedTuple):
    """Of the rest so far: a shift near the largest logit, Σ e^(z − shift), and if asked for Σ z; each (B,).

    Between tiles the shift is None where it is the same for all.
    """

    shift: Array
    total: Array
    sum: Array | None = None


class Exponentials:
    """A reduction whose parts are log-sum-exps."""

    name: ClassVar[str] = "log-sum-exp"
    of_exponentials: ClassVar[bool] = True
    keeps_slopes: ClassVar[bool] = True

    def combine(self, xp: Any, a: LogSumExp, b: LogSumExp) -> LogSumExp:
        if a.shift is b.shift:
            shift, total = a.shift, a.total + b.total
        else:
            shift = xp.where(a.shift > b.shift, a.shift, b.shift)
            total = a.total * xp.exp(a.shift - shift) + b.total * xp.exp(b.shift - shift)
        return LogSumExp(shift, total, None if a.sum is None else a.sum + b.sum)

    def by_shift(self, backend: Backend, saved: Any, shift: Array, other: Array) -> Any:
        """What the slopes need, with Σ e^(z − shift) by the shift of the exponentials that are kept.

        It is ∞ where the others' logits are so much larger that those kept are nothing to them.
        """
        return saved._replace(total=saved.total * backend.xp.exp(shift - other))


_SURELY = 22.0
"""Log of 1 / |w| for the shortest rows of weights that can be seen to be in range: `Backend.in_range`."""


def certain_shift(backend: Backend, like: Array, bound: float, classes: int, factor: Array | None) -> Array | None:
    """A shift, (B,), with which e^(z − shift), its sum, and that times the factor, are normal numbers for |z| ≤ bound.

    None if there is none. A factor that cannot be seen raises the shift as far as may be; what is `beyond` that factor
    terms are not to be multiplied by.
    """
    if bound == math.inf:
        return None
    least, highest = _shifts(backend.xp, like, bound, classes)
    shift = max(0.0, least + _SURELY)
    if shift > highest:
        return None
    shifts = backend.xp.full_like(like, shift)
    if factor is None or backend.readable(factor):
        return shifts
    return backend.clip(backend.maximum(shifts, backend.xp.log(backend.xp.max(factor)) + least), None, highest)


def beyond(backend: Backend, factor: Array, bound: float, classes: int) -> Array | None:
    """By what terms by the certain shift still lack a factor with which they would overflow: 1 for nearly all classes.

    None if it is 1 for all.
    """
    if bound == math.inf or backend.readable(factor):
        return None
    xp, (least, highest) = backend.xp, _shifts(backend.xp, factor, bound, classes)
    if max(0.0, least + _SURELY) > highest or highest - least > -math.log(shortest(xp, factor.dtype)):
        return None
    return backend.maximum(factor * xp.exp(xp.full_like(factor, least - highest)), 1.0)


def _shifts(xp: Any, like: Array, bound: float, classes: int) -> tuple[float, float]:
    """The least with which Σ e^(z − shift) is finite, and the highest with which each of these is a normal number."""
    count = math.log(classes + 1) if type(classes) is int else math.log(2.0**63)  # not known in a graph
    return (bound + count + 1.0 - math.log(largest_finite(xp, like.dtype)),
            -bound - 1.0 - math.log(smallest_normal(xp, like.dtype)))


def log_of(backend: Backend, gathered: LogSumExp) -> tuple[Array, Array]:
    """The log-sum-exp, −∞ of nothing; and the total as a divisor, 1 of nothing."""
    xp, total = backend.xp, gathered.total
    if backend.surely_above(total, 0.0):
        return gathered.shift + xp.log(total), total
    nothing = total == 0.0  # and not "> 0": a NaN must stay one
    total = xp.where(nothing, 1.0, total)
    return xp.where(nothing, -math.inf, gathered.shift + xp.log(total)), total
