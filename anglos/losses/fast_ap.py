"""FastAP: average precision by histograms of distances."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = 1 − Σ_l h⁺_l H⁺_l/H_l over Σ_l h⁺_l", paper="Cakir et al. 2019 (CVPR)")
def fast_ap(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    bins: define.Count = 10, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """FastAP: one minus the average precision with which an anchor finds its class, by soft histograms of distances.

    ℓ = 1 − Σ_l h⁺_l H⁺_l / H_l / Σ_l h⁺_l. h⁺_l counts the positives at D² = l Δ, H⁺_l those up to there, H_l all pairs
    up to there. D² = |x̂ − r̂|² lies between two of the R + 1 knots from 0 to 4, Δ = 4/R apart, and counts in parts for
    both, the more the nearer. A pair exactly on a knot has gradient 0. The gradient computes distances again: a pair on
    a knot, to rounding, may lie on another side of it there than for the loss.

    Parameters
    ----------
    labels
        ... A weight is how many times a positive counts.
    bins
        R. More are nearer to the average precision, and fewer pairs push each other. ...
    reduction
        The mean of all anchors that have a positive; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Cakir, He, Xia, Kulis, Sclaroff, "Deep Metric Learning to Rank", CVPR 2019.

    Examples
    --------
    R = 2, so that Δ = 2. D² = 2 to the positive; to the negative 0 for the first anchor and 2 for the second: both have
    found two, one of them right, where they find their positive. The third has none.

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0]])
    >>> round(float(anglos.fast_ap(embeddings, np.asarray([5, 5, 7]), bins=2)), 6)
    0.5
    """
    return define.PairRow(partial(_terms, bins=bins), distance="squared_euclidean")


def _terms(backend: define.Backend, tile: define.PairTile, *, bins: int) -> define.Terms:
    """ℓ = 1 − F, F = Σ_l h⁺_l H⁺_l / H_l / |P|.

    |P| ∂F/∂h⁺_m = H⁺_m/H_m + Σ_{l≥m} (h⁺_l/H_l − h⁺_l H⁺_l/H_l²), |P| ∂F/∂h⁻_m = −Σ_{l≥m} h⁺_l H⁺_l/H_l². With m the
    last of the distances below D² = (m + u) Δ, ∂h_m/∂D² = −1/Δ = −∂h_{m+1}/∂D².
    """
    xp, of_pair = backend.xp, define.soft_bins(backend, tile.values * (bins / 4.0), bins)
    above = of_pair.above

    def counted(mask: Any) -> Any:
        return of_pair.count(tile.weighted(xp.astype(mask, above.dtype)))

    def up_to(terms: Any) -> Any:
        return xp.cumulative_sum(terms, axis=1)

    found = counted(tile.positive)
    right, everyone = up_to(found), up_to(found + counted(tile.negative))
    everyone = define.divisor_of(xp, everyone)
    number = define.count_pairs(xp, tile, tile.positive)
    some = number > 0.0
    share = 1.0 / define.divisor_of(xp, number)

    def slope() -> Any:
        precision, rate = right / everyone, found / everyone
        by_others = -xp.flip(up_to(xp.flip(rate * precision, axis=1)), axis=1)
        by_positives = precision + xp.flip(up_to(xp.flip(rate, axis=1)), axis=1) + by_others
        return between(tile.positive, by_positives) + between(tile.negative, by_others)

    def between(mask: Any, by_knot: Any) -> Any:
        step = of_pair.at(by_knot, 1) - of_pair.at(by_knot)
        inside = mask & (above != 0.0) & (above != 1.0)
        return xp.where(inside, tile.weighted(-0.25 * bins * share[:, None] * step), 0.0)

    value = xp.where(some, 1.0 - share * xp.sum(found * right / everyone, axis=1), 0.0)
    return define.Terms(value, xp.astype(some, above.dtype), slope)
