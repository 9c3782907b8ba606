"""The combined margin of SphereFace, ArcFace and CosFace."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = cos(m₁θ + m₂) − m₃", paper="Deng et al. 2019, arXiv:1801.07698, eq. 4")
def combined_margin(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    m1: define.AnyAngleFactor = 1.0, m2: define.Angle = 0.3, m3: define.CosineMargin = 0.2, scale: define.Scale = 64.0,
    past_pi: define.PastPi = "smooth", gradient: define.Gradient = "exact", **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """Combined margin: softmax cross entropy over s cos θ, the label's being s (cos(m₁θ + m₂) − m₃).

    (1, m, 0) is ArcFace, (1, 0, m) is CosFace, and (m, 0, 0) is SphereFace with normalised embeddings.

    Parameters
    ----------
    m1
        m₁; an integer needs no arccos. ...
    m2
        m₂, added to the angle. ...
    m3
        m₃, subtracted from the cosine. ...
    past_pi
        As in `arcface`, where t = m₁θ + m₂ > π. "smooth" is (−1)ᵏ cos t − 2k for t from kπ to (k + 1)π.

    References
    ----------
    Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019, arXiv:1801.07698, eq. 4.

    Examples
    --------
    At 30° to its own prototype and 60° to the other: 2 (cos(2 · 30° + 30°) − 0) = 0 and 2 cos 60° = 1.

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[math.sqrt(3), 1.0]])
    >>> loss = anglos.combined_margin(embeddings, prototypes, np.asarray([0]), m1=2, m2=math.pi / 6, m3=0, scale=2)
    >>> round(float(loss), 6), round(math.log(1 + math.e), 6)
    (1.313262, 1.313262)
    """
    return define.Row(scale, partial(_target, m1=m1, m2=m2, m3=m3, past_pi=past_pi),
                      straight_through=gradient == "straight_through")


def _target(backend: define.Backend, cos: Any, length: Any, *, m1: Any, m2: Any, m3: Any, past_pi: str) -> define.Curve:
    """φ = cos t − m₃ with t = m₁θ + m₂; φ′ = m₁ sin t / sin θ; ∂φ/∂m₁ = −θ sin t, ∂φ/∂m₂ = −sin t, ∂φ/∂m₃ = −1."""
    curve = define.turned_cosine(backend, cos, factor=m1, shift=m2, past_pi=past_pi)
    return define.Curve(curve.value - m3, curve.slope, {"m1": curve.by_factor, "m2": curve.by_shift, "m3": -1.0})
