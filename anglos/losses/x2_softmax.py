"""X2-Softmax."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = a(θ − h)² + k", paper="Xu et al. 2023, arXiv:2312.05281")
def x2_softmax(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    a: define.Curvature = -0.9, h: define.Angle = 0.0, k: define.Height = 0.65, scale: define.Scale = 64.0,
    gradient: define.Gradient = "exact", **common: Unpack[define.MarginCommon],
) -> define.Row:
    """X2-Softmax: softmax cross entropy over s cos θ, whose label has a parabola in the angle in place of the cosine.

    φ = a (θ − h)² + k. With a = −0.9 and h = 0 it falls over all of [0, π], and its margin, cos θ − φ, grows with θ:
    0.35 at 0°, 1.57 at 90°. At 180° the label's logit is −8.2 s, so that a loss of hundreds is usual at the start.

    Parameters
    ----------
    a
        The parabola opens downwards where it is below 0. ...
    h
        The angle at which the label's logit is largest. Above 0 it pushes embeddings that are nearer away. ...
    k
        φ at h; 1 − k is the margin at 0 if h is 0. ...
    gradient
        As in `arcface`; the authors' code is "straight_through".

    Notes
    -----
    Value and gradient are finite everywhere. At θ = 0 and θ = π the direction is undefined: gradient 0.

    References
    ----------
    Xu, Liu, Zhang, Zheng, Wang, "X2-Softmax: Margin Adaptive Loss Function for Face Recognition", 2023,
    arXiv:2312.05281; a, h, k and s as in the authors' training script.

    Examples
    --------
    At 90° to its own prototype and aligned with the other, a = −4/π², h = 0, k = 1, s = 2: φ = 0, the logits are 0 and
    2.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[0.0, 1.0], [1.0, 0.0]])
    >>> loss = anglos.x2_softmax(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), a=-4 / math.pi**2, k=1.0,
    ...     scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + math.e**2), 6)
    (2.126928, 2.126928)
    """
    return define.Row(scale, partial(_target, a=a, h=h, k=k), straight_through=gradient == "straight_through")


def _target(backend: define.Backend, cos: Any, length: Any, *, a: Any, h: Any, k: Any) -> define.Curve:
    """φ = a (θ − h)² + k, φ′ = −2a (θ − h) / sin θ, ∂φ/∂a = (θ − h)², ∂φ/∂h = −2a (θ − h), ∂φ/∂k = 1."""
    sin, divisor = define.sines(backend, cos)
    beyond = backend.xp.atan2(sin, cos) - h
    by_h = -2.0 * a * beyond
    return define.Curve(a * beyond * beyond + k, by_h / divisor, {"a": beyond * beyond, "h": by_h, "k": 1.0})
