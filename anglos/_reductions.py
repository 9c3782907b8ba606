"""How the logit of the label's class and those of the others become the loss of a row.

Each reduction is a monoid over tiles of classes (`gather` one, `combine` two), then the `value` of all with what the
slopes need, and the slopes of the loss in the label's logit (`own_slope`) and in the others of a tile (`rest_slope`).
A tile has `logits` of shape (T, B), the marks `own` of the label's among them, and the numbers of its `classes`, (T,).
"""

import math
from typing import Any, NamedTuple

from anglos._numerics import Array, minus_abs, sigmoid, softplus


class Tile(NamedTuple):
    """T classes against B rows."""

    logits: Array
    own: Array
    classes: Array


def tile_of(backend: Any, logits: Array, labels: Array, first: Any = 0) -> Tile:
    """The tile whose first class has this number."""
    classes = backend.arange(logits.shape[0], labels) + first
    return Tile(logits, classes[:, None] == labels[None, :], classes)


class LogSumExp(NamedTuple):
    """Of the rest so far: the largest logit, Σ e^(z − largest), and where it is asked for Σ z; each (B,)."""

    largest: Array
    total: Array
    sum: Array | None = None


class CrossEntropy(NamedTuple):
    """ℓ = lse_j z_j − z_y + ε (z_y − mean_j z_j): softmax cross entropy, with label smoothing ε.

    Written ς(L − z_y), L the log-sum-exp of the rest, it keeps every digit of a small loss.
    """

    label_smoothing: float = 0.0

    def gather(self, xp: Any, tile: Tile, own_logit: Array) -> LogSumExp:
        gathered = _gather(xp, tile)
        if not self.label_smoothing:
            return gathered
        return gathered._replace(sum=sum_of_rest(xp, tile, tile.logits))

    def combine(self, xp: Any, a: LogSumExp, b: LogSumExp) -> LogSumExp:
        return _combine(xp, a, b)

    def value(self, xp: Any, gathered: LogSumExp, own_logit: Array, classes: int) -> tuple[Array, tuple[Array, Array]]:
        """ℓ; −log p_y = ς(L − z_y), and the log-sum-exp of all."""
        rest = _finish(xp, gathered)
        excess = rest - own_logit
        smaller = xp.log1p(xp.exp(minus_abs(xp, excess)))
        surprise = xp.where(excess > 0.0, excess, 0.0) + smaller
        everything = xp.where(excess > 0.0, rest, own_logit) + smaller
        loss = surprise
        if self.label_smoothing:
            loss = surprise + self.label_smoothing * (own_logit - (gathered.sum + own_logit) / classes)
        return loss, (surprise, everything)

    def own_slope(self, xp: Any, residuals: tuple[Array, Array], classes: int) -> Array:
        """∂ℓ/∂z_y = −(1 − p_y) + ε (1 − 1/C)."""
        surprise, _ = residuals
        return xp.expm1(-surprise) + self.label_smoothing * (1.0 - 1.0 / classes)

    def rest_slope(self, xp: Any, residuals: tuple[Array, Array], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = p_j − ε/C."""
        _, everything = residuals
        p = _probability(xp, tile.logits - everything)
        return p - self.label_smoothing / classes if self.label_smoothing else p


class ExcludedPositive(NamedTuple):
    """ℓ = L − z_y: cross entropy whose denominator leaves the label's class out. Unbounded below."""

    def gather(self, xp: Any, tile: Tile, own_logit: Array) -> LogSumExp:
        return _gather(xp, tile)

    def combine(self, xp: Any, a: LogSumExp, b: LogSumExp) -> LogSumExp:
        return _combine(xp, a, b)

    def value(self, xp: Any, gathered: LogSumExp, own_logit: Array, classes: int) -> tuple[Array, tuple[Array, Array]]:
        """ℓ, which is 0 where there is no other class; L, and whether there is one."""
        rest = _finish(xp, gathered)
        some = rest != -math.inf
        rest = xp.where(some, rest, 0.0)
        return xp.where(some, rest - own_logit, 0.0), (rest, some)

    def own_slope(self, xp: Any, residuals: tuple[Array, Array], classes: int) -> Array:
        """∂ℓ/∂z_y = −1."""
        rest, some = residuals
        return -xp.astype(some, rest.dtype)

    def rest_slope(self, xp: Any, residuals: tuple[Array, Array], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = e^(z_j − L)."""
        return _probability(xp, tile.logits - residuals[0])


class Binary(NamedTuple):
    """ℓ = λ₊ ς(−z_y) + λ₋ Σ_{j≠y} ς(z_j): of every class by itself, whether it is this one."""

    positive: float = 1.0
    negative: float = 1.0

    def gather(self, xp: Any, tile: Tile, own_logit: Array) -> Array:
        return sum_of_rest(xp, tile, softplus(xp, tile.logits))

    def combine(self, xp: Any, a: Array, b: Array) -> Array:
        return a + b

    def value(self, xp: Any, gathered: Array, own_logit: Array, classes: int) -> tuple[Array, tuple[Array]]:
        return self.positive * softplus(xp, -own_logit) + self.negative * gathered, (own_logit,)

    def own_slope(self, xp: Any, residuals: tuple[Array], classes: int) -> Array:
        """∂ℓ/∂z_y = −λ₊ σ(−z_y)."""
        (own_logit,) = residuals
        return -self.positive * sigmoid(xp, -own_logit)

    def rest_slope(self, xp: Any, residuals: tuple[Array], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = λ₋ σ(z_j)."""
        return self.negative * sigmoid(xp, tile.logits)


class Squares(NamedTuple):
    """ℓ = ½ (z_y − 1)² + ½ Σ_{j≠y} z_j²."""

    def gather(self, xp: Any, tile: Tile, own_logit: Array) -> Array:
        return sum_of_rest(xp, tile, 0.5 * tile.logits * tile.logits)

    def combine(self, xp: Any, a: Array, b: Array) -> Array:
        return a + b

    def value(self, xp: Any, gathered: Array, own_logit: Array, classes: int) -> tuple[Array, tuple[Array]]:
        return 0.5 * (own_logit - 1.0) ** 2 + gathered, (own_logit,)

    def own_slope(self, xp: Any, residuals: tuple[Array], classes: int) -> Array:
        """∂ℓ/∂z_y = z_y − 1."""
        return residuals[0] - 1.0

    def rest_slope(self, xp: Any, residuals: tuple[Array], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = z_j."""
        return tile.logits


def _gather(xp: Any, tile: Tile) -> LogSumExp:
    rest = xp.where(tile.own, -math.inf, tile.logits)
    # At least the lowest finite number: a tile of nothing but the label's class must not give ∞ − ∞.
    largest = xp.max(rest, axis=0)
    largest = xp.where(largest == -math.inf, float(xp.finfo(largest.dtype).min), largest)
    return LogSumExp(largest, xp.sum(xp.exp(rest - largest), axis=0))


def _combine(xp: Any, a: LogSumExp, b: LogSumExp) -> LogSumExp:
    largest = xp.where(a.largest > b.largest, a.largest, b.largest)
    total = a.total * xp.exp(a.largest - largest) + b.total * xp.exp(b.largest - largest)
    return LogSumExp(largest, total, None if a.sum is None else a.sum + b.sum)


def _finish(xp: Any, gathered: LogSumExp) -> Array:
    """The log-sum-exp; −∞ of nothing."""
    nothing = gathered.total == 0.0  # and not "> 0": a NaN must stay one
    return xp.where(nothing, -math.inf, gathered.largest + xp.log(xp.where(nothing, 1.0, gathered.total)))


def sum_of_rest(xp: Any, tile: Tile, terms: Array) -> Array:
    """Σ_{j≠y} of the tile's classes."""
    return xp.sum(xp.where(tile.own, 0.0, terms), axis=0)


def _probability(xp: Any, log_p: Array) -> Array:
    """At most 1: logits of 1e30, recomputed, may exceed their sum by more than exp can bear."""
    return xp.exp(xp.where(log_p > 0.0, 0.0, log_p))
