"""The combined margin on cosines that the caller computed."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.rowwise(formula="φ = cos(m₁θ + m₂) − m₃ of given cosines", paper="Deng et al. 2019, arXiv:1801.07698, eq. 4")
def margin_cross_entropy(
    cosines: define.Cosines, labels: define.Labels, /, *,
    m1: define.AnyAngleFactor = 1.0, m2: define.Angle = 0.5, m3: define.CosineMargin = 0.0, scale: define.Scale = 64.0,
    past_pi: define.PastPi = "smooth", label_smoothing: define.LabelSmoothing = 0.0,
    class_weight: define.ClassWeight = None, **common: Unpack[define.LabelCommon],
) -> define.Direct:
    """Softmax cross entropy over s cos θ, the label's being s (cos(m₁θ + m₂) − m₃), from a matrix of cosines.

    For those who compute the cosines themselves; `combined_margin` starts from embeddings and weights, and need not
    hold the matrix. It is Paddle's function of this name, with m1, m2, m3 for margin1, margin2, margin3; there the
    cosine rises again past π, as with past_pi="reflect".

    Parameters
    ----------
    cosines
        ... The label's is clipped to −1 to 1; −∞ excludes another class. The slope in a label's cosine of ±1 is
        infinite. It is cut off, in float32 at about 3000 s sin m₂: too much for float16.
    m1
        m₁, a factor of the angle. An array is differentiated, as are those of the other options.
    m2
        m₂, added to the angle.
    m3
        m₃, subtracted from the cosine.
    past_pi
        How the label's logit goes on where m₁θ + m₂ > π, as in `arcface`.

    References
    ----------
    Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019, arXiv:1801.07698, eq. 4.

    Examples
    --------
    60° from its own class and 90° from the other, m₂ = 30°, s = 2: both logits are 0.

    >>> import anglos, math, numpy as np
    >>> loss = anglos.margin_cross_entropy(np.asarray([[0.5, 0.0]]), np.asarray([0]), m2=math.pi / 6, scale=2)
    >>> round(float(loss), 6), round(math.log(2), 6)
    (0.693147, 0.693147)
    """
    parts = partial(_cosines, margin=partial(define.turned_cosine, factor=m1, shift=m2, past_pi=past_pi), m3=m3)
    softmax = define.softmax_of_labels(label_smoothing, class_weight)
    return define.Direct(partial(_value, parts, softmax, scale), partial(_gradients, parts, softmax, scale))


def _cosines(backend: define.Backend, cosines: Any, labels: Any, *, margin: Any, m3: Any
             ) -> tuple[Any, Any, define.Turned]:
    """F = cos θ, the label's cos(m₁θ + m₂) − m₃; which is the label's; and its slopes."""
    xp, is_label = backend.xp, backend.is_label(labels, 0, cosines.T).T
    cos = xp.sum(xp.where(is_label, cosines, 0.0), axis=1)
    turned = margin(backend, xp.where(xp.abs(cos) == math.inf, math.nan, xp.clip(cos, -1.0, 1.0)))
    return xp.where(is_label, (turned.value - m3)[:, None], cosines), is_label, turned


def _value(parts: Any, softmax: define.Direct, scale: Any, backend: define.Backend, cosines: Any, labels: Any,
           *options: Any) -> Any:
    return softmax.value(backend, scale * parts(backend, cosines, labels)[0], labels)


def _gradients(parts: Any, softmax: define.Direct, scale: Any, backend: define.Backend, g: Any, cosines: Any,
               labels: Any, *options: Any) -> dict[str, Any]:
    """∂ℓ/∂F = s ∂ℓ/∂z, ∂ℓ/∂s = Σ_j F_j ∂ℓ/∂z_j, without what is excluded."""
    xp, (values, is_label, turned) = backend.xp, parts(backend, cosines, labels)
    gradients = softmax.gradients(backend, g, scale * values, labels)
    d_logits = gradients.pop("logits")
    if options:
        d_label = scale * xp.sum(xp.where(is_label, d_logits, 0.0), axis=1)
        by_scale = xp.sum(d_logits * xp.where(values == -math.inf, 0.0, values), axis=1)
        gradients |= {"m1": d_label * turned.by_factor, "m2": d_label * turned.by_shift, "m3": -d_label,
                      "scale": by_scale}
    slopes = xp.where(is_label, turned.slope[:, None], xp.ones_like(cosines))
    return {"cosines": scale * d_logits * slopes, **gradients}
