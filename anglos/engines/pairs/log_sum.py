"""The log-sum-exp of every row's negatives, without its positive: as terms of a tile, and as a reduction."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from anglos.arrays.backend import Backend
from anglos.engines.exponentials import LogSumExp
from anglos.engines.numerics import Array, log_sum_exp, share
from anglos.engines.pairs.row import PairTile, Terms
from anglos.engines.reductions import ExcludedPositive


def log_sum_of_negatives(backend: Backend, tile: PairTile) -> Terms:
    """R = lse of the negatives; ∂R/∂z_n = e^(z_n − R)."""
    xp, z = backend.xp, tile.values
    total = log_sum_exp(xp, z, tile.negative)
    some = total != -math.inf
    return Terms(xp.where(some, total, 0.0)[:, 0], xp.astype(some, z.dtype)[:, 0],
                 lambda: share(xp, z, total, tile.negative))


@dataclass(frozen=True)
class LogSumOfRest(ExcludedPositive):
    """ℓ = L, whatever the label's logit is."""

    balanced: ClassVar[bool] = False

    def value(self, backend: Backend, gathered: LogSumExp, label_logit: Array, classes: int
              ) -> tuple[Array, Any]:
        """ℓ, 0 where there is no other class."""
        return super().value(backend, gathered, backend.xp.zeros_like(label_logit), classes)

    def label_slope(self, backend: Backend, saved: Any, classes: int) -> Array:
        """∂ℓ/∂z_y = 0."""
        return backend.xp.zeros_like(saved.rest)

    def sample_factor(self, saved: Any, label_slope: Array) -> Array:
        return saved.some / saved.total
