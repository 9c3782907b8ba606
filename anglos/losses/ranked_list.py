"""Ranked list loss."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = mean_p [D−(α−m)]₊ + Σ_n w_n [α−D]₊, w ∝ e^(T(α−D))",
              paper="Wang et al. 2019, arXiv:1903.03238")
def ranked_list(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    alpha: define.PositiveFactor = 1.2, margin: define.PairMargin = 0.4, temperature: define.Sharpness = 10.0,
    **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Ranked list loss: positives within a ball, negatives outside a larger one, the nearest of them first.

    ℓ = mean_p [D_p − (α − m)]₊ + Σ_n w_n [α − D_n]₊: p over the positives further away than α − m, n over the
    negatives nearer than α, w_n = softmax(T (α − D_n)) over those, constants to the gradient. D = |x̂ − r̂|.
    All anchors are in the mean; one without a positive only pushes. The gradient computes distances again: a pair at
    α or α − m, to rounding, may count for the loss and not for its gradient, or the other way round.

    Parameters
    ----------
    labels
        ... A weight is a factor of its term in the mean over p, divided by their sum.
    alpha
        α: negatives belong beyond this distance. ...
    margin
        m: positives belong within α − m. An array is differentiated.
    temperature
        T: how much more the nearest negatives weigh. An array is a constant to the gradient, as the weights are.

    References
    ----------
    Wang, Hua, Kodirov, Hu, Garnier, Robertson, "Ranked List Loss for Deep Metric Learning", CVPR 2019,
    arXiv:1903.03238.

    Examples
    --------
    D = 0 to the positive, within α − m; D = √2 to the negative, α = 2: 2 − √2 for each of the two anchors, and for the
    third, which has two such negatives of weight ½.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.ranked_list(embeddings, np.asarray([5, 5, 7]), alpha=2.0)
    >>> round(float(loss), 6), round(2 - math.sqrt(2), 6)
    (0.585786, 0.585786)
    """
    return define.PairRow(partial(_terms, alpha=alpha, margin=margin, temperature=temperature), distance="euclidean")


def _terms(backend: define.Backend, tile: define.PairTile, *, alpha: Any, margin: Any, temperature: Any
           ) -> define.Terms:
    """ℓ = Σ_p (D_p − α + m) / |P| + Σ_n w_n (α − D_n); ∂ℓ/∂D_p = 1/|P|, ∂ℓ/∂D_n = −w_n; ∂ℓ/∂α is less their sum."""
    xp, distance = backend.xp, tile.values
    # Written so that a NaN stays in.
    positive = tile.positive & ~(distance <= alpha - margin)
    negative = tile.negative & ~(distance >= alpha)
    logits = temperature * (alpha - distance)
    weight = backend.stop_gradient(define.share(xp, logits, define.log_sum_exp(xp, logits, negative), negative))
    count = define.count_pairs(xp, tile, positive)
    each = tile.weighted(xp.astype(positive, distance.dtype)) / define.divisor_of(xp, count)[:, None]
    value = xp.sum(each * (distance - alpha + margin) + weight * (alpha - distance), axis=1)
    return define.Terms(value, xp.ones_like(value), lambda: each - weight,
                        lambda: {"alpha": xp.sum(weight - each, axis=1), "margin": xp.sum(each, axis=1)})
