"""NormFace's contrastive loss against class prototypes."""

from typing import Unpack

from anglos import define


@define.prototypes(formula="ℓ = d_y + Σ_{j≠y} [m − d_j]₊", paper="Wang, F. et al. 2017, arXiv:1704.06369")
def c_contrastive(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.SquaredDistance = 1.0, **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """C-contrastive loss: pull the label's prototype, push the others out to a squared distance m.

    ℓ = d_y + Σ_{j≠y} [m − d_j]₊, with d = |x̂ − ŵ|² = 2 − 2 cos θ: the sum over classes, not their mean.

    Parameters
    ----------
    margin
        m: 2 is an angle of 90°. An array is differentiated.

    References
    ----------
    Wang, Xiang, Cheng, Yuille, "NormFace", ACM MM 2017, arXiv:1704.06369.

    Examples
    --------
    Aligned with its own prototype, d = 0, and at 60° to the other, d = 2 − 2 cos 60° = 1; m = 1.5: the loss is 0.5.

    >>> import anglos, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.5, 0.75**0.5]])
    >>> round(float(anglos.c_contrastive(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=1.5)), 6)
    0.5
    """
    return define.Row(reduction=define.ContrastiveHinge(margin), names={"margin": (("margin", 1.0),)})
