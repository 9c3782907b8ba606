"""Contrastive loss."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = ½ D² of positives, ½ [m − D]₊² of negatives",
              paper="Hadsell et al. 2006 (CVPR), doi:10.1109/CVPR.2006.100")
def contrastive(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    margin: define.PairMargin = 1.0, squared: bool = True, distance: define.DistanceName = "euclidean",
    normalize: define.NormalizedDistance = True, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Contrastive loss: positives are drawn together, negatives are pushed to a distance of the margin.

    ½ D² for a pair of one class, ½ [m − D]₊² for a pair of two; D and [m − D]₊ with `squared=False`.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector has cosine 0 with all others.
    labels
        ... A weight is a factor of its term, also in the mean's divisor.
    squared
        Whether distance and shortfall are squared.
    distance
        D. "squared_euclidean" is |x − r|², "cosine" 1 − cos θ, "angle" θ in radians.
    reduction
        The mean of all pairs; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006.

    Examples
    --------
    D = 0 and 1 for the pair of one class and of two, m = 2: two pairs of ½ · 0² and four of ½ · 1².

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[0.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    >>> loss = anglos.contrastive(embeddings, np.asarray([5, 5, 7]), margin=2.0, normalize=False)
    >>> round(float(loss), 6), round(4 * 0.5 / 6, 6)
    (0.333333, 0.333333)
    """
    return define.PairRow(partial(_terms, margin=margin, squared=squared), distance=distance, normalize=normalize)


def _terms(backend: define.Backend, tile: define.PairTile, *, margin: Any, squared: bool) -> define.Terms:
    """½ D² and ½ [m − D]₊², slopes D and −[m − D]₊; or D and [m − D]₊, slopes 1 and −1 where m > D. ∂/∂m = −∂/∂D_n."""
    xp, distance = backend.xp, tile.values
    error = xp.where(tile.positive, distance, margin - distance)
    error = xp.where(tile.positive | tile.negative, define.positive_part(xp, error), 0.0)
    value = xp.sum(tile.weighted(0.5 * error * error if squared else error), axis=1)

    def size() -> Any:
        return tile.weighted(error if squared else xp.astype(error > 0.0, error.dtype))

    return define.Terms(value, define.count_pairs(xp, tile, tile.positive | tile.negative),
                        lambda: xp.where(tile.positive, size(), -size()),
                        lambda: {"margin": xp.sum(xp.where(tile.positive, 0.0, size()), axis=1)})
