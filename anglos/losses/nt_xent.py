"""NT-Xent."""

import math
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ_ip = −log(e^(x·p/τ) / (e^(x·p/τ) + Σ_n e^(x·n/τ)))",
              paper="Chen et al. 2020, arXiv:2002.05709")
def nt_xent(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.5, **common: Unpack[define.GuidedPairs],
) -> define.PairRow:
    """NT-Xent: for every pair of one class, softmax cross entropy of its similarity against those of all negatives.

    ℓ_ip = −log( exp(cos(x_i, x_p)/τ) / (exp(cos(x_i, x_p)/τ) + Σ_n exp(cos(x_i, x_n)/τ)) ), p over the samples of the
    same class, n over those of others. SimCLR's loss for two views of B images is this with labels 0 … B − 1, twice.
    Where a class has more than two samples, the other positives are left out of the sum, as pytorch-metric-learning
    and optax do it; `supcon` keeps them in.

    Parameters
    ----------
    labels
        ... A weight is a factor of its ℓ_ip, also in the mean's divisor.
    reduction
        The mean of all pairs of an anchor with a positive, of anchors that have a negative; their sum; or the sum of
        each anchor's, (B,).

    References
    ----------
    Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML
    2020, arXiv:2002.05709.

    Examples
    --------
    Two views of two images, the views alike and the images at 90°, τ = 1: logits 1 for the pair and 0, 0 for the
    negatives.

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.nt_xent(views, np.asarray([0, 1, 0, 1]), temperature=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 2 / math.e), 6)
    (0.551445, 0.551445)
    """
    return define.PairRow(_terms, 1.0 / temperature, partners="each", names=define.by_temperature(temperature))


def _terms(backend: define.Backend, tile: define.PairTile) -> define.Terms:
    """ℓ_p = ς(L − z_p), L the log-sum-exp of the negatives; ∂ℓ_p/∂z_p = −q, ∂ℓ_p/∂z_n = q softmax_n, q = σ(L − z_p)."""
    xp, z = backend.xp, tile.values
    negatives = define.log_sum_exp(xp, z, tile.negative)
    excess = xp.where(tile.positive, negatives - z, -math.inf)
    count = xp.where(negatives[:, 0] == -math.inf, 0.0, define.count_pairs(xp, tile, tile.positive))

    def slope() -> Any:
        missed = tile.weighted(xp.where(tile.positive, define.sigmoid(excess), 0.0))
        return xp.sum(missed, axis=1, keepdims=True) * define.share(xp, z, negatives, tile.negative) - missed

    return define.Terms(define.sum_where(xp, tile.positive, tile.weighted(define.softplus(excess))), count,
                        slope)
