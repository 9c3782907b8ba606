"""How the logit of the label's class and those of the others become the loss of a sample.

A reduction is a monoid over tiles of classes (`gather` one, `combine` two), then the `value` of all with what the
slopes need, in a record of its type `saved`, and the slopes of the loss in the label's logit (`label_slope`) and in the
others of a tile (`rest_slope`, 0 at the label's). One whose fields may be arrays has the slopes of the loss in them:
`field_slopes`. One that `keeps_slopes` can keep these in place of the logits, but for a factor: `kept_slope` is still
to be multiplied by the `sample_factor` of every sample, unless that is None. Those `of_exponentials` keep these. With a
factor all slopes of a sample then add up to 0: the others' are to the label's as e_j is to −Σ e.
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Tile, sum_of_rest
from anglos.engines.exponentials import Exponentials, LogSumExp, log_of
from anglos.engines.numerics import Array, is_number, log_add_exp, softplus


class _OfCrossEntropy(NamedTuple):
    """−log p_y = ς(L − z_y), L, z_y, Σ e^(z − shift) of the rest as a divisor, and if ε smooths mean_j (z_y − z_j)."""

    surprise: Array
    rest: Array
    label_logit: Array
    total: Array
    above_mean: Array | None = None


@dataclass(frozen=True)
class CrossEntropy(Exponentials):
    """ℓ = lse_j z_j − z_y + ε (z_y − mean_j z_j): softmax cross entropy, with label smoothing ε.

    Written ς(L − z_y), L the log-sum-exp of the rest, it keeps every digit of a small loss.

    Attributes
    ----------
    label_smoothing
        ε, from 0 to 1; a number, or an array.
    """

    label_smoothing: Any = 0.0

    saved: ClassVar = _OfCrossEntropy

    @property
    def smooths(self) -> bool:
        """Whether labels may be smoothed: an array is not looked at."""
        return not (is_number(self.label_smoothing) and self.label_smoothing == 0.0)

    def gather(self, backend: Backend, tile: Tile, label_logit: Array, shift: Array | None = None) -> LogSumExp:
        total = self._sum(backend, tile) if self.smooths else None
        return LogSumExp(*backend.rest_terms(tile, shift), total)

    def value(self, backend: Backend, gathered: LogSumExp, label_logit: Array, classes: int
              ) -> tuple[Array, _OfCrossEntropy]:
        rest, total = log_of(backend, gathered)
        surprise = softplus(backend, rest - label_logit)
        if gathered.sum is None:
            return surprise, _OfCrossEntropy(surprise, rest, label_logit, total)
        above_mean = self._others(classes) * label_logit - gathered.sum / classes
        smoothed = self.label_smoothing * above_mean
        if not is_number(self.label_smoothing):  # 0 times what a bias of −∞ excludes
            smoothed = backend.xp.where((above_mean == math.inf) & (self.label_smoothing == 0.0), 0.0, smoothed)
        return self._times_mass(surprise) + smoothed, _OfCrossEntropy(surprise, rest, label_logit, total, above_mean)

    def field_slopes(self, backend: Backend, saved: _OfCrossEntropy) -> dict[str, Array]:
        """∂ℓ/∂ε = z_y − mean_j z_j."""
        return {"label_smoothing": saved.above_mean}

    def label_slope(self, backend: Backend, saved: _OfCrossEntropy, classes: int) -> Array:
        """∂ℓ/∂z_y = −(1 − p_y) + ε (1 − 1/C)."""
        slope = backend.xp.expm1(-saved.surprise)
        if saved.above_mean is None:
            return slope
        return self._times_mass(slope) + self.label_smoothing * self._others(classes)

    def total(self, backend: Backend, saved: _OfCrossEntropy) -> Array:
        """lse_j z_j."""
        return log_add_exp(backend, saved.rest, saved.label_logit)

    def rest_slope(self, backend: Backend, saved: _OfCrossEntropy, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = p_j − ε/C."""
        shares = backend.rest_shares(tile, self.total(backend, saved))
        return shares if saved.above_mean is None else self._smoothed(backend, shares, tile, classes)

    def kept_slope(self, backend: Backend, saved: _OfCrossEntropy, tile: Tile, classes: int) -> Array:
        """The same, with p_j = (1 − p_y) e_j / Σ e."""
        if saved.above_mean is None:
            return tile.logits
        share = -backend.xp.expm1(-saved.surprise) / saved.total
        return self._smoothed(backend, tile.logits * share, tile, classes)

    def sample_factor(self, saved: _OfCrossEntropy, label_slope: Array) -> Array | None:
        """By what the kept slopes of every sample are still to be multiplied; None for 1."""
        return -label_slope / saved.total if saved.above_mean is None else None

    # What class weights change: see `weighted.py`.

    def _sum(self, backend: Backend, tile: Tile) -> Array:
        """Σ_{j≠y} z_j of a tile."""
        return sum_of_rest(backend.xp, tile, tile.logits)

    def _others(self, classes: int) -> Any:
        """Σ_{j≠y} 1 / C."""
        return 1.0 - 1.0 / classes

    def _times_mass(self, a: Array) -> Array:
        return a

    def _smoothed(self, backend: Backend, p: Array, tile: Tile, classes: int) -> Array:
        """p_j − ε/C of the others."""
        return tile.with_label(p - self.label_smoothing / classes, 0.0)


class _OfExcludedPositive(NamedTuple):
    """L, 0 where there is no other class; whether there is one; and Σ e^(z − shift) as a divisor."""

    rest: Array
    some: Array
    total: Array


@dataclass(frozen=True)
class ExcludedPositive(Exponentials):
    """ℓ = L − z_y: cross entropy whose denominator leaves the label's class out. Unbounded below."""

    saved: ClassVar[Any] = _OfExcludedPositive
    smooths: ClassVar[bool] = False

    def gather(self, backend: Backend, tile: Tile, label_logit: Array, shift: Array | None = None) -> LogSumExp:
        return LogSumExp(*backend.rest_terms(tile, shift))

    def value(self, backend: Backend, gathered: LogSumExp, label_logit: Array, classes: int
              ) -> tuple[Array, _OfExcludedPositive]:
        """ℓ, 0 where there is no other class."""
        xp, (rest, total) = backend.xp, log_of(backend, gathered)
        some = rest != -math.inf
        rest = xp.where(some, rest, 0.0)
        return xp.where(some, rest - label_logit, 0.0), _OfExcludedPositive(rest, some, total)

    def label_slope(self, backend: Backend, saved: _OfExcludedPositive, classes: int) -> Array:
        """∂ℓ/∂z_y = −1."""
        return -backend.xp.astype(saved.some, saved.rest.dtype)

    def rest_slope(self, backend: Backend, saved: _OfExcludedPositive, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = e^(z_j − L)."""
        return backend.rest_shares(tile, saved.rest)

    def kept_slope(self, backend: Backend, saved: _OfExcludedPositive, tile: Tile, classes: int) -> Array:
        """The same as e_j / Σ e."""
        return tile.logits

    def sample_factor(self, saved: _OfExcludedPositive, label_slope: Array) -> Array:
        """By what the kept slopes of every sample are still to be multiplied."""
        return -label_slope / saved.total
