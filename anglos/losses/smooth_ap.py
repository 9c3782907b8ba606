"""Smooth-AP: average precision with soft ranks."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = 1 − mean_p R⁺_p/R_p, R_p = 1 + Σ_j σ((cos θ_j − cos θ_p)/τ)",
              paper="Brown et al. 2020, arXiv:2007.12163")
def smooth_ap(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.01, include_self: bool = False, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Smooth-AP: one minus the average precision with which an anchor finds its class, by soft ranks.

    ℓ = 1 − mean_p R⁺_p / R_p. R_p is the rank of a positive among all others, R_p = 1 + Σ_j σ((cos θ_j − cos θ_p)/τ),
    j ≠ p, σ(v) = 1/(1 + e⁻ᵛ); R⁺_p its rank among the positives. N columns cost N² numbers for every anchor, a few
    anchors at a time.

    Parameters
    ----------
    labels
        ... A weight is a factor of its term in the mean over p, divided by their sum.
    temperature
        τ. An array is differentiated: a learnable temperature.
    include_self
        Whether the anchor itself is found too, as a positive with cosine 1: the authors' code.
    reduction
        The mean of all anchors that have a positive; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Brown, Xie, Kalogeiton, Zisserman, "Smooth-AP: Smoothing the Path Towards Large-Scale Image Retrieval", ECCV 2020,
    arXiv:2007.12163.

    Examples
    --------
    τ = 1, cos θ = 0 to the positive and 1 to the negative of the first anchor, 0 and 0 of the second: ranks of
    1 + σ(1) and 1 + σ(0). The third has no positive.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    >>> loss = anglos.smooth_ap(embeddings, np.asarray([5, 5, 7]), temperature=1.0)
    >>> first, second = 1 + 1 / (1 + 1 / math.e), 1 + 1 / 2
    >>> round(float(loss), 6), round(1 - (1 / first + 1 / second) / 2, 6)
    (0.377826, 0.377826)
    """
    scale = 1.0 / temperature
    return define.PairRow(partial(_terms, own=scale if include_self else None), scale, triples=True,
                          names=define.by_temperature(temperature))


def _terms(backend: define.Backend, tile: define.PairTile, *, own: Any) -> define.Terms:
    """ℓ = 1 − Σ_p w_p R⁺_p / R_p, Σ_p w_p = 1. With h_pj = w_p σ′(z_j − z_p) (1[j positive]/R_p − R⁺_p/R_p²):

    ∂ℓ/∂z_j = Σ_p h_jp − Σ_p h_pj. The anchor itself has z = 1/τ, ∂z/∂τ = −1/τ².
    """
    xp, z, positive, pair = backend.xp, tile.values, tile.positive, tile.positive | tile.negative
    weight, some = tile.weighted(xp.astype(positive, z.dtype)), xp.any(positive, axis=1)
    if own is not None:  # before the others
        z = xp.concat([xp.zeros_like(z[:, :1]) + own, z], axis=1)
        here = xp.astype(some, z.dtype)[:, None]
        positive, pair = (xp.concat([some[:, None], mask], axis=1) for mask in (positive, pair))
        weight = xp.concat([here, weight], axis=1)
    number = xp.sum(weight, axis=1, keepdims=True)
    weight = weight / define.divisor_of(xp, number)
    place = backend.numbers(z.T, xp.astype(z[:0, 0], backend.index_type))
    others = (positive[:, :, None] & pair[:, None, :]) & (place[:, None] != place[None, :])
    excess = z[:, None, :] - z[:, :, None]
    above = xp.where(others, define.sigmoid(excess), 0.0)
    among, everyone = 1.0 + define.sum_where(xp, positive[:, None, :], above), 1.0 + xp.sum(above, axis=2)

    def slopes() -> Any:
        share = xp.astype(positive, z.dtype)[:, None, :] - (among / everyone)[:, :, None]
        rate = (weight / everyone)[:, :, None] * share * above * define.sigmoid(-excess)
        return xp.sum(rate, axis=2) - xp.sum(rate, axis=1)

    def option_slopes() -> dict[str, Any]:
        return {} if own is None else {"temperature": -own * own * slopes()[:, 0]}

    value = xp.where(some, 1.0 - xp.sum(weight * among / everyone, axis=1), 0.0)
    return define.Terms(value, xp.astype(some, z.dtype), lambda: slopes()[:, 0 if own is None else 1:], option_slopes)
