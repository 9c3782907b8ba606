"""Circle loss over pairs."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = ς(lse_n γ[s_n+m]₊(s_n−m) + lse_p γ[1+m−s_p]₊(1−m−s_p))",
              paper="Sun et al. 2020, arXiv:2002.10857")
def circle(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    margin: define.CircleMargin = 0.25, scale: define.Scale = 64.0, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Circle loss over pairs: the further a similarity is from its optimum, the harder it is pulled.

    ℓ = ς( log Σ_n exp(γ [s_n + m]₊ (s_n − m)) + log Σ_p exp(−γ [1 + m − s_p]₊ (s_p − 1 + m)) ) for every anchor, with
    s = cos θ and ς(v) = log(1 + eᵛ). The weights in brackets are constants to the gradient. `circle_softmax` is the
    same against class prototypes.

    Parameters
    ----------
    labels
        ... A weight is a factor of its exponential.
    margin
        m. An array is differentiated, except in the brackets.
    scale
        γ. An array is differentiated. The paper has 256 for faces, 64 to 128 for re-identification, and 80, with
        m = 0.4, for retrieval.
    reduction
        The mean of all anchors that have a positive and a negative; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020, arXiv:2002.10857,
    eq. 7.

    Examples
    --------
    m = 0, γ = 1; for the first two anchors, s_p = 1 and s_n = 0 give ς(0 + 0); the third has no positive.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.circle(embeddings, np.asarray([5, 5, 7]), margin=0.0, scale=1.0)
    >>> round(float(loss), 6), round(math.log(2), 6)
    (0.693147, 0.693147)
    """
    return define.PairRow(partial(_terms, margin=margin, scale=scale))


def _terms(backend: define.Backend, tile: define.PairTile, *, margin: Any, scale: Any) -> define.Terms:
    """ℓ = ς(L_n + L_p), q = σ(L_n + L_p), w = γ [..]₊; ∂ℓ/∂s_n = q w softmax_n, ∂ℓ/∂s_p = −q w softmax_p.

    ∂ℓ/∂m = −q Σ w softmax, ∂ℓ/∂γ = q Σ logit/γ softmax, the sums over both.
    """
    xp, s = backend.xp, tile.values
    error = xp.where(tile.positive, 1.0 + margin - s, s + margin)
    weight = scale * backend.stop_gradient(define.positive_part(xp, error))
    logits = weight * xp.where(tile.positive, 1.0 - margin - s, s - margin)
    weighted = tile.weighted_logits(xp, logits)
    positives, negatives = (define.log_sum_exp(xp, weighted, mask) for mask in (tile.positive, tile.negative))
    some = (positives != -math.inf) & (negatives != -math.inf)
    total = xp.where(some, xp.where(some, positives, 0.0) + xp.where(some, negatives, 0.0), -math.inf)

    def shares() -> tuple[Any, Any]:
        return (define.share(xp, weighted, negatives, tile.negative),
                define.share(xp, weighted, positives, tile.positive))

    def slope() -> Any:
        of_negatives, of_positives = shares()
        return define.sigmoid(total) * weight * (of_negatives - of_positives)

    def option_slopes() -> dict[str, Any]:
        by_logit = define.sigmoid(total) * sum(shares())
        return {"margin": -xp.sum(by_logit * weight, axis=1), "scale": xp.sum(by_logit * logits, axis=1) / scale}

    return define.Terms(define.softplus(total)[:, 0], xp.astype(some, s.dtype)[:, 0], slope, option_slopes)
