"""Σ e^z over the classes, a tile at a time; what it does with T × B numbers is in `anglos.arrays.softmax`."""

import math
from typing import Any, ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import largest_finite
from anglos.engines.numerics import Array, smallest_normal


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
    balanced: ClassVar[bool] = True
    """Whether all slopes of a sample add up to 0, with that of the label's class."""
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


def certain_shift(backend: Backend, like: Array, bound: float, classes: int | None) -> Array | None:
    """A shift, (B,): e^(z − shift), and its sum times the `largest_factor`, are normal numbers for |z| ≤ bound.

    None if there is none.
    """
    if bound == math.inf:
        return None
    xp, count = backend.xp, math.log(classes + 1) if type(classes) is int else math.log(2.0**63)  # not known in a graph
    largest = math.log(largest_finite(xp, like.dtype))  # and the smallest normal number is 4 e^−largest
    shift = max(0.0, bound + count + 1.0 + _SURELY - largest)
    vanishes = bound + shift > largest - math.log(4.0) - 1.0
    return None if vanishes else xp.full_like(like, shift)


def largest_factor(bound: float) -> float:
    """By which exponentials with a certain shift can be multiplied; ∞ where there is none, and they are at most 1."""
    return math.inf if bound == math.inf else math.exp(_SURELY)


def log_of(backend: Backend, gathered: LogSumExp) -> tuple[Array, Array]:
    """The log-sum-exp, −∞ of nothing; and the total as a divisor, above 0."""
    xp, total = backend.xp, gathered.total
    if backend.surely_above(total, 0.0):
        return gathered.shift + xp.log(total), total
    if backend.changes_arrays():  # nothing differentiates log 0
        return gathered.shift + xp.log(total), backend.clip(total, smallest_normal(xp, total.dtype))
    nothing = total == 0.0  # and not "> 0": a NaN must stay one
    total = xp.where(nothing, 1.0, total)
    return xp.where(nothing, -math.inf, gathered.shift + xp.log(total)), total
