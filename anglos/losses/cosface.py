"""CosFace."""

from functools import partial
from typing import Unpack

from anglos import define


@define.prototypes(formula="φ = cos θ − m", paper="Wang, H. et al. 2018, arXiv:1801.09414, eq. 4")
def cosface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.CosineMargin = 0.35, scale: define.Scale = 64.0, gradient: define.Gradient = "exact",
    bias: define.Bias = None, **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """CosFace: softmax cross entropy over s cos θ, with m subtracted from the label's cosine.

    ℓ = −log( exp(s (cos θ_y − m)) / (exp(s (cos θ_y − m)) + Σ_{j≠y} exp(s cos θ_j)) ), where θ_j is the angle
    between the embedding and prototype j.

    Parameters
    ----------
    margin
        m; ElasticFace has one per sample, and one below 0 helps few-shot transfer. ...
    gradient
        As in `arcface`; both are the same here, since φ′ is 1.
    bias
        b, added to the logits: a learnt one, or `anglos.classes.log_prior(counts)` for classes that are rare. It is
        differentiated.

    References
    ----------
    Wang, Wang, Zhou, Ji, Gong, Zhou, Li, Liu, "CosFace", CVPR 2018, arXiv:1801.09414, eq. 4.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, m = 0.5, s = 2: the logits are 2 (1 − 0.5) = 1 and 0,
    so that the loss is log(1 + 1/e).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.cosface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=0.5, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(define.additive_cosine, margin=margin), bias=bias,
                      straight_through=gradient == "straight_through")
