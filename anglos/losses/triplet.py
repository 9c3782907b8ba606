"""Triplet loss with online selection."""

from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.pairs(formula="ℓ = [d(a, p) − d(a, n) + m]₊", paper="Schroff et al. 2015, arXiv:1503.03832")
def triplet(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    margin: define.TripletMargin = 0.2, soft: bool = False, mining: define.Mining = "batch_hard",
    distance: define.DistanceName = "squared_euclidean", normalize: define.NormalizedDistance = True,
    mean_over: Literal["active", "all"] = "active", **common: Unpack[define.GuidedPairs],
) -> define.PairRow:
    """Triplet loss: a positive shall be nearer to its anchor than a negative, by a margin, in triplets of the batch.

    ℓ = [d(a, p) − d(a, n) + m]₊, or log(1 + exp(d(a, p) − d(a, n) + m)) with soft=True. Distance and margin belong
    together: on unit vectors m on the squared distance is m/2 on the cosine distance. For triplets of your own see
    `triplet_margin`; for their indices `anglos.mining`. Value and derivatives take the same hardest triplets; the
    semi-hard ones are selected again for the gradient, which computes distances again, and may be others where two
    distances are equal to rounding.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector has cosine 0 with all others.
    labels
        ... A weight is a factor of its triplets, also in the mean's divisor; what is selected depends only on
        whether it is 0.
    soft
        Whether the loss is log(1 + exp(d(a, p) − d(a, n) + m)), which never reaches 0, in place of the hinge.
    mining
        batch_hard: for every anchor its farthest positive and nearest negative. batch_all: all triplets, without
        forming them (for a soft loss they are formed, a few anchors at a time: B³ steps). semi_hard: for every pair
        of anchor and positive the nearest negative that is farther than the positive, if it is within the margin
        (FaceNet); for a soft loss at any distance. semi_hard_or_easiest: that negative, margin or not, and if there
        is none the farthest (TensorFlow).
    distance
        d. ...
    mean_over
        Whether the mean is over the triplets with a loss above 0 or over all that were chosen. A soft loss is
        always above 0.
    reduction
        The mean of the triplets that `mean_over` names; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, arXiv:1503.03832; Hermans, Beyer, Leibe, "In Defense of the
    Triplet Loss for Person Re-Identification", 2017, arXiv:1703.07737 (batch_hard, batch_all, soft).

    Examples
    --------
    The first two are one class, at distances 0 and 1 from it, the third another, at 3: 1 − 9 + 10 and 1 − 4 + 10.

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[0.0], [1.0], [3.0]])
    >>> loss = anglos.triplet(embeddings, np.asarray([5, 5, 7]), margin=10.0, normalize=False)
    >>> float(loss), (2 + 7) / 2
    (4.5, 4.5)
    """
    (margin, soft), active = define.hinge_of(margin, soft), mean_over == "active"
    terms: Any = partial(define.chosen_terms, mining=mining, margin=margin, soft=soft, active=active)
    if mining == "batch_all":
        terms = partial(define.all_terms, margin=margin, active=active)
        if soft:
            terms = partial(define.all_soft_terms, margin=margin)
    return define.PairRow(terms, distance=distance, normalize=normalize, triples=mining == "batch_all" and soft,
                          choose=define.batch_hard if mining == "batch_hard" else None)
