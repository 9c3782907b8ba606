"""MV-Softmax, the mis-classified vector guided loss."""

from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.prototypes(formula="φ = cos θ − m or cos(θ + m), η = (t + 1) cos θ + t if hard",
                   paper="Wang, X. et al. 2019, arXiv:1912.00833")
def mv_softmax(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    kind: Literal["am", "arc"] = "am", margin: define.Angle = 0.35, t: define.Annealing = 0.2,
    scale: define.Scale = 32.0, past_pi: define.ArcPastPi = "smooth", **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """MV-Softmax: softmax cross entropy with a margin, in which hard other classes count for more.

    φ = cos θ − m (am) or cos(θ + m) (arc). A class j is hard where cos θ_j > φ(θ_y): there η = (t + 1) cos θ_j + t,
    else cos θ_j. Which classes are hard is a constant to the gradient. Where the gradient computes the logits again
    (see `keep_bytes`), a class whose cosine is the threshold, to rounding, may be hard for the loss and not for its
    gradient, or the other way round.

    Parameters
    ----------
    kind
        Whether the margin is on the cosine or on the angle.
    margin : angle in radians (arc) or cosine (am), from 0 to π; a number, or an array () or (B,)
        m. ...
    t
        How much more hard classes count; 0 is AM-Softmax or ArcFace.

    References
    ----------
    Wang, Zhang, Wang, Fu, Shi, Mei, "Mis-classified Vector Guided Softmax Loss", AAAI 2020, arXiv:1912.00833.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, which is not hard, m = 0.5, s = 2: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.mv_softmax(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=0.5, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    target: Any = partial(define.additive_cosine, margin=margin)
    if kind == "arc":
        target = partial(define.additive_angular, margin=margin, past_pi=past_pi)
    return define.Row(scale, target, rest=partial(_rest, t=t),
                      statistic=lambda backend, cos: target(backend, cos, None).value)


def _rest(backend: define.Backend, cos: Any, threshold: Any, *, t: Any) -> define.Curve:
    """η = (t + 1) cos θ + t, η′ = t + 1, ∂η/∂t = cos θ + 1 where hard; cos θ, 1, 0 elsewhere."""
    xp, hard = backend.xp, cos > threshold
    return define.Curve(xp.where(hard, (t + 1.0) * cos + t, cos), xp.where(hard, xp.ones_like(cos) * (t + 1.0), 1.0),
                        {"t": xp.where(hard, cos + 1.0, 0.0)})
