"""Angular loss."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ_ap = log(1 + Σ_n e^(4tan²α (a+p)·n − 2(1+tan²α) a·p))",
              paper="Wang et al. 2017, arXiv:1708.01682")
def angular(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    alpha: define.AngularAngle = 0.7853981633974483, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Angular loss: the angle at the negative, in the triangle with anchor and positive, is pushed below α.

    ℓ_ap = log(1 + Σ_n exp(4 tan²α (a + p)·n − 2 (1 + tan²α) a·p)) of unit vectors, for every anchor a and positive p,
    n over the negatives. Needs the similarities of all columns with each other: memory of N² numbers. The paper adds
    it to `n_pair`.

    Parameters
    ----------
    labels
        ... A weight is a factor of its ℓ_ap, also in the mean's divisor.
    alpha
        α, 45° by default. An array is differentiated. The paper's 36° to 55° are 0.63 to 0.96.
    reduction
        The mean of all pairs of an anchor with a positive, of anchors that have a negative; their sum; or the sum of
        each anchor's, (B,).

    References
    ----------
    Wang, Zhou, Wen, Liu, Lin, "Deep Metric Learning with Angular Loss", ICCV 2017, arXiv:1708.01682, eq. 8.

    Examples
    --------
    α = 45°, a·p = 1, a·n = p·n = 0: log(1 + e⁻⁴) for each of the two pairs; the third anchor has no positive.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.angular(embeddings, np.asarray([5, 5, 7]))
    >>> round(float(loss), 6), round(math.log(1 + math.exp(-4)), 6)
    (0.01815, 0.01815)
    """
    return define.PairRow(partial(_terms, alpha=alpha), wants_between=True)


def _terms(backend: define.Backend, tile: define.PairTile, *, alpha: Any) -> define.Terms:
    """ℓ_p = ς(h_p), h_p = log Σ_n e^(k (s_an + s_pn)) − c s_ap with k = 4 tan²α and c = 2 (1 + tan²α).

    The sum is a product of matrices, of A_an = e^(k s_an) and B_pn = e^(k s_pn). With q_p = σ(h_p) / Σ_n A_an B_pn:
    ∂ℓ/∂s_ap = −c σ(h_p), ∂ℓ/∂s_an = k A_an Σ_p q_p B_pn, ∂ℓ/∂s_pn = k B_pn Σ_a g_a q_ap A_an. In t = tan²α:
    ∂h_p/∂t = 4 Σ_n A_an B_pn (s_an + s_pn) / Σ_n A_an B_pn − 2 s_ap, ∂t/∂α = 2 tan α / cos²α.
    """
    xp, s, between = backend.xp, tile.values, tile.between
    assert between is not None
    cos, sin = define.cos_sin(xp, alpha)
    square = (sin / cos) ** 2
    rate, pull = 4.0 * square, 2.0 * (1.0 + square)
    of_anchor = xp.where(tile.negative, xp.exp(rate * (s - 1.0)), 0.0)
    of_positive = xp.exp(rate * (between - 1.0))
    total = of_anchor @ of_positive.T
    chosen = tile.positive & (total != 0.0)
    safe = xp.where(chosen, total, 1.0)
    h = xp.where(chosen, xp.log(safe) + 2.0 * rate - pull * s, -math.inf)

    def slope() -> Any:
        missed = tile.weighted(xp.where(chosen, define.sigmoid(h), 0.0))
        return rate * of_anchor * ((missed / safe) @ of_positive) - pull * missed

    def between_slope(g: Any) -> Any:
        missed = tile.weighted(xp.where(chosen, define.sigmoid(h), 0.0))
        return rate * of_positive * ((g * missed / safe).T @ of_anchor)

    def option_slopes() -> dict[str, Any]:
        missed = tile.weighted(xp.where(chosen, define.sigmoid(h), 0.0))
        sums = (of_anchor * s) @ of_positive.T + of_anchor @ (of_positive * between).T
        by_square = xp.sum(missed * (4.0 * sums / safe - 2.0 * s), axis=1)
        return {"alpha": by_square * 2.0 * sin / cos**3}

    value = define.sum_where(xp, chosen, tile.weighted(define.softplus(h)))
    return define.Terms(value, define.count_pairs(xp, tile, chosen), slope, option_slopes, between_slope)
