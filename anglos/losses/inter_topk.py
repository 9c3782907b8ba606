"""ArcFace with an inter-top-k penalty."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = cos(θ + m), η = cos(θ − m′) for the k nearest",
                   paper="Zhao et al. 2021, arXiv:2110.05042")
def inter_topk(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    k: define.Count = 5, penalty: define.Angle = 0.06, margin: define.Angle = 0.2, scale: define.Scale = 32.0,
    past_pi: define.PastPi = "smooth", **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """Inter-top-k penalty: ArcFace in which the k nearest other classes are brought nearer by an angle m′.

    η = cos(max(θ_j − m′, 0)) for the k other classes of largest cosine, else cos θ_j. Which they are is a constant
    to the gradient; of classes that are equally near, to rounding, any may be among the k.

    Parameters
    ----------
    margin
        m. ...
    k
        How many classes; more than C − 1 are all. ...
    penalty
        m′. ...

    References
    ----------
    Zhao et al., "Multi-query multi-head attention pooling and Inter-topK penalty for speaker verification", 2021,
    arXiv:2110.05042.

    Examples
    --------
    At 60° to its own prototype, m = 30°, and 90° to the other, m′ = 30°, s = 2: 2 cos 90° = 0 and 2 cos 60° = 1.

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[0.5, math.sqrt(0.75)], [0.0, 1.0]]), np.asarray([[1.0, 0.0]])
    >>> angle = math.pi / 6
    >>> loss = anglos.inter_topk(embeddings, prototypes, np.asarray([0]), k=1, penalty=angle, margin=angle, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + math.e), 6)
    (1.313262, 1.313262)
    """
    return define.Row(scale, partial(define.additive_angular, margin=margin, past_pi=past_pi),
                      rest=partial(_rest, penalty=penalty), nearest=k)


def _rest(backend: define.Backend, cos: Any, near: Any, *, penalty: Any) -> define.Curve:
    """η = cos(θ − m′), η′ = sin(θ − m′) / sin θ, ∂η/∂m′ = sin(θ − m′) for the nearest, and 1, 0, 0 where θ < m′."""
    xp, (sin, divisor) = backend.xp, define.sines(backend, cos)
    cos_penalty, sin_penalty = define.cos_sin(xp, penalty)
    beyond = cos > cos_penalty
    turned = xp.where(beyond, 1.0, cos * cos_penalty + sin * sin_penalty)
    slope = xp.where(beyond, 0.0, cos_penalty - cos * sin_penalty / divisor)
    by_penalty = xp.where(beyond, 0.0, sin * cos_penalty - cos * sin_penalty)
    return define.Curve(xp.where(near, turned, cos), xp.where(near, slope, 1.0),
                        {"penalty": xp.where(near, by_penalty, 0.0)})
