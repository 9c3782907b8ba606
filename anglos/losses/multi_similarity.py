"""Multi-similarity loss."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = log(1+Σ_p e^(−α(s_p−λ)))/α + log(1+Σ_n e^(β(s_n−λ)))/β",
              paper="Wang et al. 2019, arXiv:1904.06627")
def multi_similarity(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    alpha: define.PositiveFactor = 2.0, beta: define.PositiveFactor = 50.0, base: define.SharedCosineMargin = 0.5,
    epsilon: define.Slack = 0.1, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Multi-similarity loss, with the mining of its paper.

    ℓ = (1/α) log(1 + Σ_p exp(−α (s_p − λ))) + (1/β) log(1 + Σ_n exp(β (s_n − λ))), s = cos θ; p over the positives
    that are less similar than the most similar negative, n over the negatives that are more similar than the least
    similar positive, both give or take ε. All anchors are in the mean, as in the paper: one without a positive or a
    negative has, mined, the loss 0. The gradient computes similarities again: a pair at equality, to rounding, may be
    mined for the loss and not for its gradient, or the other way round.

    Parameters
    ----------
    labels
        ... A weight is a factor of its exponential.
    alpha
        α, for positives. ...
    beta
        β, for negatives. ...
    base
        λ. ...
    epsilon
        ε of the mining. None takes all pairs. An array is a constant to the gradient: pairs are in or out.

    References
    ----------
    Wang, Han, Huang, Dong, Scott, "Multi-Similarity Loss with General Pair Weighting", CVPR 2019, arXiv:1904.06627.

    Examples
    --------
    α = β = 1, λ = 0, all pairs; for the first two anchors s_p = 1 and s_n = 0: log(1 + 1/e) + log 2; the third has no
    positive: log(1 + e⁰ + e⁰).

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.multi_similarity(embeddings, np.asarray([5, 5, 7]), alpha=1.0, beta=1.0, base=0.0, epsilon=None)
    >>> round(float(loss), 6), round((2 * (math.log(1 + 1 / math.e) + math.log(2)) + math.log(3)) / 3, 6)
    (1.037143, 1.037143)
    """
    return define.PairRow(partial(_terms, alpha=alpha, beta=beta, base=base, epsilon=epsilon))


def _terms(backend: define.Backend, tile: define.PairTile, *, alpha: Any, beta: Any, base: Any, epsilon: Any
           ) -> define.Terms:
    """ℓ = ς(L_p)/α + ς(L_n)/β; ∂ℓ/∂s_p = −σ(L_p) softmax_p, ∂ℓ/∂s_n = σ(L_n) softmax_n, and ∂ℓ/∂λ = −Σ of both.

    ∂ℓ/∂α = (σ(L_p) Σ softmax_p z_p − ς(L_p)) / α², z_p = α (λ − s_p); ∂ℓ/∂β likewise.
    """
    xp, s, positive, negative = backend.xp, tile.values, tile.positive, tile.negative
    if epsilon is not None:
        least = xp.min(xp.where(positive, s, math.inf), axis=1, keepdims=True)
        most = xp.max(xp.where(negative, s, -math.inf), axis=1, keepdims=True)
        # Written so that a NaN stays in.
        positive, negative = positive & ~(s - epsilon >= most), negative & ~(s + epsilon <= least)
        base = base + 0.0 * epsilon  # NaN for one that was out of range
    pulls, pushes = alpha * (base - s), beta * (s - base)
    weighted = tile.weighted_logits(xp, pulls)
    pull, push = define.log_sum_exp(xp, weighted, positive), define.log_sum_exp(xp, pushes, negative)

    def by_logit() -> tuple[Any, Any]:
        return (define.sigmoid(pull) * define.share(xp, weighted, pull, positive),
                define.sigmoid(push) * define.share(xp, pushes, push, negative))

    def slope() -> Any:
        by_pull, by_push = by_logit()
        return by_push - by_pull

    def option_slopes() -> dict[str, Any]:
        by_pull, by_push = by_logit()
        return {"alpha": (xp.sum(by_pull * pulls, axis=1) - define.softplus(pull)[:, 0]) / (alpha * alpha),
                "beta": (xp.sum(by_push * pushes, axis=1) - define.softplus(push)[:, 0]) / (beta * beta),
                "base": xp.sum(by_pull - by_push, axis=1)}

    value = define.softplus(pull) / alpha + define.softplus(push) / beta
    return define.Terms(value[:, 0], xp.ones_like(s[:, 0]), slope, option_slopes)
