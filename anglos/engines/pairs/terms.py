"""Terms that several losses over pairs have in common."""

import math
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, log_sum_exp, share, sigmoid, softplus, sum_where
from anglos.engines.pairs.row import PairTile, Terms


def by_temperature(temperature: Any) -> dict[str, tuple[tuple[str, Any], ...]]:
    """Scale = 1/τ, ∂scale/∂τ = −1/τ²."""
    return {"temperature": (("scale", -1.0 / (temperature * temperature)),)}


def number(xp: Any, tile: PairTile, mask: Array) -> Array:
    """How many pairs of every row are in the mask; a positive counts by its weight."""
    return xp.sum(tile.weighted(xp.astype(mask, tile.values.dtype)), axis=-1)


def one_of_many(backend: Backend, tile: PairTile) -> Terms:
    """Of one positive per row: ℓ = ς(L − z_p), L the log-sum-exp of the negatives.

    ∂ℓ/∂z_p = −σ(L − z_p), ∂ℓ/∂z_n = σ(L − z_p) e^(z_n − L). A row without negatives does not count.
    """
    xp, z = backend.xp, tile.values
    negatives = log_sum_exp(xp, z, tile.negative)
    excess = negatives - sum_where(xp, tile.positive, z)[:, None]

    def slope() -> Array:
        missed = sigmoid(backend, excess)
        return xp.where(tile.positive, -missed, missed * share(xp, z, negatives, tile.negative))

    return Terms(softplus(backend, excess)[:, 0], xp.astype(negatives != -math.inf, z.dtype)[:, 0], slope)


def each_by_itself(backend: Backend, tile: PairTile) -> Terms:
    """ℓ = Σ_p ς(−z_p) + Σ_n ς(z_n); ∂ℓ/∂z_p = −σ(−z_p), ∂ℓ/∂z_n = σ(z_n)."""
    xp, z = backend.xp, tile.values
    signed = xp.where(tile.positive, -z, z)
    pair = tile.positive | tile.negative

    def slope() -> Array:
        missed = xp.where(pair, sigmoid(backend, signed), 0.0)
        return xp.where(tile.positive, -missed, missed)

    return Terms(sum_where(xp, pair, softplus(backend, signed)), xp.ones_like(z[:, 0]), slope)
