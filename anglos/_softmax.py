"""Softmax cross entropy, from the log-sum-exp of the classes other than the label's ("the rest").

ℓ = lse_j z_j − z_y = ς(L − z_y), with ς(v) = log(1 + eᵛ) = max(v, 0) + log(1 + e^−|v|) and L the log-sum-exp of
the rest. Unlike lse − z_y this keeps every digit of a
small loss, and its gradient needs no p_y − 1. The rest is gathered tile by tile; logits have shape (T, B).
"""

import math
from typing import Any, NamedTuple

from anglos._numerics import Array


class Gathered(NamedTuple):
    """What is known of the rest so far: largest logit, Σ e^(z − largest), and Σ z, each (B,)."""

    largest: Array
    total: Array
    sum: Array | None


class CrossEntropy(NamedTuple):
    """ℓ = ς(L − z_y) + ε (z_y − mean_j z_j); ε spreads the mass ε evenly over all C classes."""

    label_smoothing: float = 0.0

    def gather(self, xp: Any, logits: Array, own: Array) -> Gathered:
        """A tile of classes; `own` marks the label's."""
        rest = xp.where(own, -math.inf, logits)
        # At least the lowest finite number: a tile of nothing but the label's class must not give ∞ − ∞.
        largest = xp.max(rest, axis=0)
        largest = xp.where(largest == -math.inf, float(xp.finfo(logits.dtype).min), largest)
        total = xp.sum(xp.exp(rest - largest), axis=0)
        return Gathered(largest, total, xp.sum(xp.where(own, 0.0, logits), axis=0) if self.label_smoothing else None)

    def combine(self, xp: Any, a: Gathered, b: Gathered) -> Gathered:
        """Two sets of tiles together."""
        largest = xp.where(a.largest > b.largest, a.largest, b.largest)
        total = a.total * xp.exp(a.largest - largest) + b.total * xp.exp(b.largest - largest)
        return Gathered(largest, total, None if a.sum is None else a.sum + b.sum)

    def value(self, xp: Any, gathered: Gathered, own_logit: Array, classes: int) -> tuple[Array, tuple[Array, Array]]:
        """ℓ, and what its slopes need: −log p_y = ς(L − z_y), and the log-sum-exp of all."""
        some = gathered.total > 0.0
        rest = xp.where(some, gathered.largest + xp.log(xp.where(some, gathered.total, 1.0)), -math.inf)
        excess = rest - own_logit
        smaller = xp.log1p(xp.exp(-xp.abs(excess)))
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

    def rest_slope(self, xp: Any, residuals: tuple[Array, Array], logits: Array, classes: int) -> Array:
        """∂ℓ/∂z_j = p_j − ε/C."""
        _, everything = residuals
        log_p = logits - everything
        # At most 1: logits of 1e30, recomputed, may differ by more than exp can bear.
        p = xp.exp(xp.where(log_p < 0.0, log_p, 0.0))
        return p - self.label_smoothing / classes if self.label_smoothing else p
