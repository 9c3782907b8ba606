"""Σ e^z over the classes, a tile at a time; what it does with T × B numbers is in `anglos.arrays.softmax`."""

import math
from typing import Any, ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import largest_finite
from anglos.engines.numerics import Array, smallest_normal


class LogSumExp(NamedTuple):
    """Of the rest so far: a shift near the largest logit, Σ e^(z − shift), and if asked for Σ z; each (B,)."""

    shift: Array
    total: Array
    sum: Array | None = None


class Exponentials:
    """A reduction whose parts are log-sum-exps."""

    name: ClassVar[str] = "log-sum-exp"
    of_exponentials: ClassVar[bool] = True

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


_LONGEST = 22.0
"""Log of 1 / |w|, by which exponentials may be multiplied, of the shortest row that surely leaves them in range."""


def shift_for(xp: Any, dtype: Any, bound: float, classes: int) -> float | None:
    """A shift with which e^(z − shift), its sum, and that over |w|, are normal numbers for all |z| ≤ bound.

    None if there is none.
    """
    if bound == math.inf:
        return None
    count = math.log(classes + 1) if type(classes) is int else math.log(2.0**63)  # a graph may not know how many
    largest, smallest = math.log(largest_finite(xp, dtype)) - 1.0, math.log(smallest_normal(xp, dtype)) + 1.0
    shift = max(0.0, bound + count + _LONGEST - largest)
    return shift if -bound - shift >= smallest else None


def log_of(backend: Backend, gathered: LogSumExp) -> tuple[Array, Array]:
    """The log-sum-exp, −∞ of nothing; and the total as a divisor, 1 of nothing."""
    xp, total = backend.xp, gathered.total
    if backend.surely_above(total, 0.0):
        return gathered.shift + xp.log(total), total
    nothing = total == 0.0  # and not "> 0": a NaN must stay one
    total = xp.where(nothing, 1.0, total)
    return xp.where(nothing, -math.inf, gathered.shift + xp.log(total)), total
