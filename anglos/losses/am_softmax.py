"""AM-Softmax: CosFace under its other name, with its own defaults."""

from functools import partial
from typing import Unpack

from anglos import define


@define.prototypes(formula="φ = cos θ − m", paper="Wang, F. et al. 2018, arXiv:1801.05599")
def am_softmax(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.CosineMargin = 0.35, scale: define.Scale = 30.0, gradient: define.Gradient = "exact",
    **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """AM-Softmax: softmax cross entropy over s cos θ, with m subtracted from the label's cosine.

    ℓ = −log( exp(s (cos θ_y − m)) / (exp(s (cos θ_y − m)) + Σ_{j≠y} exp(s cos θ_j)) ): `cosface` with the
    defaults of its own paper. The margin is always subtracted; the authors' Caffe layer leaves it out while
    cos θ_y ≤ m.

    Parameters
    ----------
    margin
        m. ...
    gradient
        As in `arcface`; both are the same here, since φ′ is 1.

    References
    ----------
    Wang, Liu, Liu, Cheng, "Additive Margin Softmax for Face Verification", 2018, arXiv:1801.05599.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, m = 0.5, s = 2: the logits are 2 (1 − 0.5) = 1 and 0,
    so that the loss is log(1 + 1/e).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.am_softmax(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=0.5, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(define.additive_cosine, margin=margin),
                      straight_through=gradient == "straight_through")
