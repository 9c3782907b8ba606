"""Decoupled contrastive loss."""

import math
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ_ip = −x·p/τ + lse_n(x·n/τ)", paper="Yeh et al. 2022, arXiv:2110.06848")
def dcl(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.1, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Decoupled contrastive loss: NT-Xent without the positive in the denominator. Unbounded below.

    ℓ_ip = −cos(x_i, x_p)/τ + log Σ_n exp(cos(x_i, x_n)/τ), p over the samples of the same class, n over those of
    others.

    Parameters
    ----------
    labels
        ... A weight is a factor of its ℓ_ip, also in the mean's divisor.
    reduction
        The mean of all pairs of an anchor with a positive, of anchors that have a negative; their sum; or the sum of
        each anchor's, (B,).

    References
    ----------
    Yeh, Hong, Hsu, Liu, Chen, LeCun, "Decoupled Contrastive Learning", ECCV 2022, arXiv:2110.06848.

    Examples
    --------
    Two views of two images, the views alike and the images at 90°, τ = 1: −1 + log(e⁰ + e⁰).

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.dcl(views, np.asarray([0, 1, 0, 1]), temperature=1.0)
    >>> round(float(loss), 6), round(math.log(2) - 1, 6)
    (-0.306853, -0.306853)
    """
    return define.PairRow(_terms, 1.0 / temperature, excess_over_negatives=True,
                          names=define.by_temperature(temperature))


def _terms(backend: define.Backend, tile: define.PairTile) -> define.Terms:
    """ℓ_p = L − z_p, L the log-sum-exp of the negatives; ∂ℓ_p/∂z_p = −1, ∂ℓ_p/∂z_n = e^(z_n − L)."""
    xp, z = backend.xp, tile.values
    negatives = define.log_sum_exp(xp, z, tile.negative)
    some = negatives != -math.inf
    count = xp.where(some[:, 0], define.count_pairs(xp, tile, tile.positive), 0.0)
    value = count * xp.where(some, negatives, 0.0)[:, 0] - define.sum_where(xp, tile.positive & some, tile.weighted(z))

    def slope() -> Any:
        return count[:, None] * define.share(xp, z, negatives, tile.negative) - tile.weighted(
            xp.astype(tile.positive & some, z.dtype))

    return define.Terms(value, count, slope)
