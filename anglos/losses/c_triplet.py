"""NormFace's triplet loss against class prototypes."""

from typing import Unpack

from anglos import define


@define.prototypes(formula="ℓ = Σ_{j≠y} [m + d_y − d_j]₊", paper="Wang, F. et al. 2017, arXiv:1704.06369")
def c_triplet(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.SquaredDistance = 0.8, hardest: bool = False, **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """C-triplet loss: the label's prototype nearer than each of the others, by a squared distance m.

    ℓ = Σ_{j≠y} [m + d_y − d_j]₊, with d = |x̂ − ŵ|² = 2 − 2 cos θ: the sum over classes, not their mean.
    Where the gradient computes the logits again (see `keep_bytes`), a class whose bracket is 0, to rounding, may count
    for the label's prototype and not for its own, or the other way round; with `hardest` it cannot.

    Parameters
    ----------
    margin
        m. ...
    hardest
        Take only the nearest other class (of equals, the first).

    References
    ----------
    Wang, Xiang, Cheng, Yuille, "NormFace", ACM MM 2017, arXiv:1704.06369.

    Examples
    --------
    Aligned with its own prototype, d = 0, and at 60° to the other, d = 2 − 2 cos 60° = 1; m = 1.5: the loss is 0.5.

    >>> import anglos, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.5, 0.75**0.5]])
    >>> round(float(anglos.c_triplet(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=1.5)), 6)
    0.5
    """
    return define.Row(reduction=define.HardestTripletHinge(margin) if hardest else define.TripletHinge(margin),
                      names={"margin": (("margin", 1.0),)})
