"""Generalized lifted structure loss."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = [log Σ_p e^(D_p − m_p) + log Σ_n e^(m − D_n)]₊",
              paper="Hermans et al. 2017, arXiv:1703.07737")
def generalized_lifted(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    margin: define.PairMargin = 1.0, positive_margin: define.PairMargin = 0.0, lonely_rows: bool = False,
    distance: define.DistanceName = "euclidean", normalize: define.NormalizedDistance = True,
    **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Generalized lifted structure loss: the farthest positives against the nearest negatives, softly, of every anchor.

    ℓ = [log Σ_p exp(D_p − m_p) + log Σ_n exp(m − D_n)]₊, p over the other samples of the class, n over those of others:
    a smooth `triplet(mining="batch_hard")`. It is 0, with gradient 0, for anchors whose positives are near enough.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector has cosine 0 with all others.
    labels
        ... A weight is a factor of its exponential.
    positive_margin
        m_p, in units of the distance. Only m − m_p matters, unless `lonely_rows` is True. An array is
        differentiated.
    lonely_rows
        Whether an anchor without a positive, or without a negative, counts, with 0 for the logarithm that it lacks, as
        in pytorch-metric-learning: there is then no positive that would pull back.
    distance
        D. ...
    reduction
        The mean of all anchors that have a positive and a negative, or, with `lonely_rows`, of all; their sum; or the
        sum of each anchor's, (B,).

    References
    ----------
    Hermans, Beyer, Leibe, "In Defense of the Triplet Loss for Person Re-Identification", 2017, arXiv:1703.07737, eq. 4.
    Oh Song, Xiang, Jegelka, Savarese, "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016.

    Examples
    --------
    D = 0 to the positive and 1 to the negative, m = 1.5: 0 + 0.5 for each of the two; the third has no positive.

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    >>> float(anglos.generalized_lifted(embeddings, np.asarray([5, 5, 7]), margin=1.5, normalize=False))
    0.5
    """
    terms = partial(_terms, margin=margin, positive_margin=positive_margin, lonely_rows=lonely_rows)
    return define.PairRow(terms, distance=distance, normalize=normalize)


def _terms(backend: define.Backend, tile: define.PairTile, *, margin: Any, positive_margin: Any, lonely_rows: bool
           ) -> define.Terms:
    """ℓ = [L_p + L_n]₊; where it is above 0, ∂ℓ/∂D_p = softmax_p, ∂ℓ/∂D_n = −softmax_n, ∂ℓ/∂m = 1 = −∂ℓ/∂m_p."""
    xp, distance = backend.xp, tile.values
    pulls, pushes = tile.weighted_logits(xp, distance - positive_margin), margin - distance
    pull, push = define.log_sum_exp(xp, pulls, tile.positive), define.log_sum_exp(xp, pushes, tile.negative)
    pulled, pushed = pull != -math.inf, push != -math.inf
    counted = (pulled == pulled) if lonely_rows else pulled & pushed
    excess = xp.where(pulled, pull, 0.0) + xp.where(pushed, push, 0.0)
    value, active = define.hinge(backend, xp.where(counted, excess, -math.inf), False)

    def slope() -> Any:
        return active * (define.share(xp, pulls, pull, tile.positive) - define.share(xp, pushes, push, tile.negative))

    def option_slopes() -> dict[str, Any]:
        return {"margin": (active * xp.astype(pushed, active.dtype))[:, 0],
                "positive_margin": -(active * xp.astype(pulled, active.dtype))[:, 0]}

    return define.Terms(value[:, 0], xp.astype(counted, distance.dtype)[:, 0], slope, option_slopes)
