"""COCO, the congenerous cosine loss."""

from typing import Unpack

from anglos import define


@define.prototypes(formula="z = s·cos θ", paper="Liu et al. 2017, arXiv:1710.00870")
def coco(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    scale: define.OptionalScale = None, **common: Unpack[define.MarginCommon],
) -> define.Row:
    """COCO: softmax cross entropy over s cos θ, with s from a bound.

    ℓ = −log( exp(s cos θ_y) / Σ_j exp(s cos θ_j) ): `normface`, with a scale that follows from the number of classes.
    This is COCO v2; v1, whose prototypes are the centroids of the batch, is `batch_coco`.

    Parameters
    ----------
    scale
        ... None: the least with which the label's probability can reach 0.9999, `anglos.suggest_scale(C, 0.9999)`,
        and 1 at least.

    References
    ----------
    Liu, Li, Wang, "Learning Deep Features via Congenerous Cosine Loss", 2017, arXiv:1702.06890 (v1) and 1710.00870.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, s = 1: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.coco(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    if scale is None:
        scale = max(1.0, define.suggest_scale(max(weights.shape[0], 2), 0.9999))
    return define.Row(scale)
