"""ArcFace."""

from functools import partial
from typing import Unpack

from anglos import define


@define.prototypes(formula="φ = cos(θ + m)", paper="Deng et al. 2019, arXiv:1801.07698, eq. 3")
def arcface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.Angle = 0.5, scale: define.Scale = 64.0, past_pi: define.PastPi = "smooth",
    gradient: define.Gradient = "exact", bias: define.Bias = None, **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """ArcFace: softmax cross entropy over s cos θ, with an angle m added to the label's.

    ℓ = −log( exp(s cos(θ_y + m)) / (exp(s cos(θ_y + m)) + Σ_{j≠y} exp(s cos θ_j)) ), where θ_j is the angle
    between the embedding and prototype j.

    Parameters
    ----------
    margin
        m; ElasticFace has one per sample. ...
    past_pi
        φ where θ + m > π: −2 − cos(θ + m); cos θ − m sin m; cos θ − 1 + cos m; cos(θ + m) as it is; −1; or no
        margin beyond 90°. "linear" is classic insightface, "reflect" today's.
    bias
        b, added to the logits: a learnt one, or `anglos.classes.log_prior(counts)` for classes that are rare. It is
        differentiated.

    Notes
    -----
    Value and gradient are finite everywhere. At θ = 0 and θ = π the direction is undefined: gradient 0.

    Trained by SGD, a network without a batch norm before the head can end up opposite its prototypes, at θ ≈ 160°,
    where "reflect" has a loss near 0 and classifies nothing: `anglos.diagnose` tells, and says what to change.

    References
    ----------
    Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019, arXiv:1801.07698, eq. 3.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, m = 60°, s = 2: the logits are 2 cos 60° = 1 and 0,
    so that the loss is log(1 + 1/e).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.arcface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=math.pi / 3, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(define.additive_angular, margin=margin, past_pi=past_pi), bias=bias,
                      straight_through=gradient == "straight_through")
