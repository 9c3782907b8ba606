"""Losses that ask for the logit of every positive: they are partners, gathered in the order of the labels.

With L as the log-sum-exp of the negatives and L_P that of the positives, ℓ_i = Σ_p ς(L − z_p), or ς(L − L_P) + log |P|,
or ς(L − L_P) + L_P − mean_p z_p. Of the mean of the partners, by the slopes that they have, all follows as of one
positive for every row.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.partners import Partners
from anglos.arrays.tile import Term
from anglos.engines.exponentials import LogSumExp, log_of
from anglos.engines.numerics import Array
from anglos.engines.pairs.key_tiles import Tiles
from anglos.engines.pairs.positives import Groups, OwnKeys, runs_of
from anglos.engines.pairs.step import Step, label_logit
from anglos.engines.reductions import CrossEntropy, ExcludedPositive
from anglos.engines.sums import Binary


class _OfEachPositive(NamedTuple):
    """As of `ExcludedPositive`; and Σ_p σ(L − z_p)."""

    rest: Array
    some: Array
    total: Array
    missed: Array


@dataclass(frozen=True)
class EachPositive(ExcludedPositive):
    """ℓ = Σ_p ς(L − z_p): ∂ℓ/∂z_p = −q, ∂ℓ/∂z_n = Σ q e^(z_n − L), q = σ(L − z_p)."""

    saved: ClassVar[Any] = _OfEachPositive
    term: ClassVar = Binary.term

    def of_partners(self, backend: Backend, gathered: LogSumExp, partners: Partners, number: Array, _: Any
                    ) -> tuple[Array, Array, _OfEachPositive]:
        """The loss, how many terms it is, and what its slopes need."""
        xp, (rest, total) = backend.xp, log_of(backend, gathered)
        some = rest != -math.inf
        rest = xp.where(some, rest, 0.0)
        value, missed = (xp.where(some, one, 0.0) for one in backend.partner_sums(partners, self.term, rest))
        return value, xp.where(some, number, 0.0), _OfEachPositive(rest, some, total, missed)

    def of_slopes(self, backend: Backend, saved: _OfEachPositive, number: Array) -> tuple[Array, Array, None]:
        """What is above the partners' logits; the sum of their slopes by that; and what each lacks."""
        return saved.rest, saved.missed, None


@dataclass(frozen=True)
class ShareOfPositives(CrossEntropy):
    """ℓ = ς(L − L_P) + log |P|: cross entropy with the positives as one class. ∂ℓ/∂z_p = −(1 − p) e^(z_p − L_P)."""

    term: ClassVar = Term("exponential", lambda backend, v: -backend.xp.exp(-v),
                          lambda backend, v: backend.xp.exp(-backend.xp.where(v < 0.0, 0.0, v)))

    def of_partners(self, backend: Backend, gathered: LogSumExp, partners: Partners, number: Array,
                    mean_logit: Callable[[], Array]) -> tuple[Array, Array, Any]:
        """The loss, how many terms it is, and what its slopes need."""
        xp, some = backend.xp, number > 0.0
        right, _ = log_of(backend, LogSumExp(*backend.partner_terms(partners)))
        value, saved = self.value(backend, gathered, xp.where(some, right, 0.0), 1)
        value = xp.where(some, value + xp.log(xp.where(some, number, 1.0)), 0.0)
        return value, xp.astype(some, value.dtype), saved

    def of_slopes(self, backend: Backend, saved: Any, number: Array) -> tuple[Array, Array, None]:
        """What is above the partners' logits; the sum of their slopes by that; and what each lacks."""
        return saved.label_logit, backend.xp.astype(number > 0.0, number.dtype), None


@dataclass(frozen=True)
class MeanOfPositives(ShareOfPositives):
    """ℓ = ς(L − L_P) + L_P − mean_p z_p: ∂ℓ/∂z_p = e^(z_p − L′) − 1/|P|, L′ the log-sum-exp of all.

    Each difference is made by itself: of two sums nothing would be left near a minimum but their rounding.
    """

    balanced: ClassVar[bool] = False

    def of_partners(self, backend: Backend, gathered: LogSumExp, partners: Partners, number: Array,
                    mean_logit: Callable[[], Array]) -> tuple[Array, Array, Any]:
        """The loss, how many terms it is, and what its slopes need."""
        xp, some = backend.xp, number > 0.0
        value, count, saved = super().of_partners(backend, gathered, partners, number, mean_logit)
        above_mean = saved.label_logit - xp.log(xp.where(some, number, 1.0)) - mean_logit()
        return value + xp.where(some, above_mean, 0.0), count, saved

    def label_slope(self, backend: Backend, saved: Any, classes: int) -> Array:
        """1, since `of_slopes` has the positives' own."""
        return backend.xp.ones_like(saved.rest)

    def of_slopes(self, backend: Backend, saved: Any, number: Array) -> tuple[Array, Array, Any]:
        """What is above the partners' logits; 1 where there are any; and 1/|P|."""
        some = number > 0.0
        return (self.total(backend, saved), backend.xp.astype(some, number.dtype),
                1.0 / backend.xp.where(some, number, 1.0))


BY_PARTNERS: dict[str, Any] = {"each": EachPositive(), "share": ShareOfPositives(), "mean": MeanOfPositives()}
"""By what a row says of its partners."""


class OneByOne(OwnKeys):
    """The other samples of the row's class."""

    weight: Array

    def __init__(self, step: Step, tiles: Tiles, chosen: tuple[Array, ...]) -> None:
        self.step, backend, x = step, step.backend, step.sides.rows.points
        labels, of_columns, own = step.swept.labels, step.columns.labels, step.first_row if step.one_set else None
        runs = runs_of(backend.xp, labels, of_columns, step.row.ignore_index, own)
        (vectors, factor, *_), columns = tiles.rows, step.columns
        self.partners = Partners(vectors, factor, columns.points, columns.factor, step.row.scale, runs)
        number = backend.xp.astype(runs.number, x.dtype)
        self.number = number if own is None else number - backend.xp.astype(number > 0.0, x.dtype)
        if chosen:
            self.above, self.weight, self.less = step.reduction.of_slopes(
                backend, step.reduction.saved(*chosen), self.number)
            self.divisor = backend.xp.where(self.weight > 0.0, self.weight, 1.0)
            pulled = backend.partner_pull(self.partners, step.reduction.term, self.above, None, self.less)
            self.points = pulled / self.divisor[:, None]

    def value(self, state: Any) -> tuple[Array, Array, Any]:
        found: tuple[Array, Array, Any] = self.step.reduction.of_partners(
            self.step.backend, state, self.partners, self.number, self._mean_logit)
        return found

    def _mean_logit(self) -> Array:
        """Of the partners: below ∞ nothing is left of their slopes but what they lack."""
        step, number, xp = self.step, self.number, self.step.backend.xp
        less = -1.0 / xp.where(number > 0.0, number, 1.0)
        endless = xp.full_like(number, math.inf)
        return label_logit(step, step.backend.partner_pull(
            self.partners, step.reduction.term, endless, None, less))

    def pull(self, sums: dict[str, Array], by_logit: Array) -> None:
        """Σ_i by_logit_i q_ip / Σ q x_i of the rows to which a column is positive, in the sums."""
        step, runs, factor = self.step, self.partners.runs, self.step.columns.factor
        labels, of_columns = step.swept.labels, step.columns.labels
        if labels is not of_columns:
            back = None if runs.own is None else -runs.own
            runs = runs_of(step.backend.xp, of_columns, labels, step.row.ignore_index, back)
        pulled = step.backend.partner_pull(
            self.partners.turned(runs), step.reduction.term, self.above, by_logit / self.divisor, self.less)
        sums["points"] = sums["points"] + (pulled if factor is None else pulled * factor)


def positives_of(step: Step, tiles: Tiles, chosen: tuple[Array, ...] = ()) -> OwnKeys:
    """Those of all rows; on the way back with what these chose on the way there."""
    if step.row.partners is not None:
        return OneByOne(step, tiles, chosen)
    return Groups(step) if step.row.excess_over_negatives else OwnKeys(step)
