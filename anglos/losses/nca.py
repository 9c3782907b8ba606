"""Neighbourhood components analysis."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = −log(Σ_p e^(−s d_p) / Σ_j e^(−s d_j))", paper="Goldberger et al. 2004 (NIPS)")
def nca(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    scale: define.Scale = 1.0, distance: define.DistanceName = "squared_euclidean",
    normalize: define.NormalizedDistance = False, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Neighbourhood components analysis: a sample that picks a neighbour at random shall pick one of its class.

    ℓ = −log(Σ_p exp(−s d_p) / Σ_j exp(−s d_j)), p over the other samples of the class, j over all others. It is the
    paper's second objective, a mean of logarithms. With `normalize=True` it is `supcon` with form="in" and the
    temperature 1/(2s), without that loss's logarithm of how many positives there are. `proxy_nca` compares with
    prototypes.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector has cosine 0 with all others.
    labels
        ... A weight is a factor of its exponential, in both sums.
    distance
        d. ...
    reduction
        The mean of all anchors that have a positive; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Goldberger, Roweis, Hinton, Salakhutdinov, "Neighbourhood Components Analysis", NIPS 2004.

    Examples
    --------
    d = 0 to the positive and 1 to the negative: log(1 + 1/e) for each of the two anchors; the third has no positive.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    >>> loss = anglos.nca(embeddings, np.asarray([5, 5, 7]))
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.PairRow(partial(_terms, scale=scale), distance=distance, normalize=normalize)


def _terms(backend: define.Backend, tile: define.PairTile, *, scale: Any) -> define.Terms:
    """ℓ = ς(u), u = L_n − L_p of z = −s d, q = σ(u); ∂ℓ/∂z_p = −q softmax_p, ∂ℓ/∂z_n = q softmax_n.

    ∂ℓ/∂d = −s ∂ℓ/∂z, ∂ℓ/∂s = −Σ d ∂ℓ/∂z.
    """
    xp, distance = backend.xp, tile.values
    z = -scale * distance
    weighted = tile.weighted_logits(xp, z)
    positives, negatives = define.log_sum_exp(xp, weighted, tile.positive), define.log_sum_exp(xp, z, tile.negative)
    some = positives != -math.inf
    excess = xp.where(some, negatives - xp.where(some, positives, 0.0), -math.inf)

    def by_logit() -> Any:
        return define.sigmoid(excess) * (define.share(xp, z, negatives, tile.negative)
                                         - define.share(xp, weighted, positives, tile.positive))

    return define.Terms(define.softplus(excess)[:, 0], xp.astype(some, z.dtype)[:, 0], lambda: -scale * by_logit(),
                        lambda: {"scale": -xp.sum(distance * by_logit(), axis=1)})
