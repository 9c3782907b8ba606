"""MagFace."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = cos(θ + m(|x|)), + λ(1/|x| + |x|/u²)", paper="Meng et al. 2021, arXiv:2103.06627")
def magface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    norm_range: define.NormRange = (10.0, 110.0), margin_range: define.AngleRange = (0.45, 0.8),
    regularizer: define.Factor = 35.0, scale: define.Scale = 64.0, past_pi: define.PastPi = "smooth",
    **common: Unpack[define.MarginCommon],
) -> define.Row:
    """MagFace: ArcFace with a margin that grows with the length of the embedding, which thereby measures quality.

    φ = cos(θ + m(a)) with a = |x| clipped to [l, u] and m rising linearly from one end of `margin_range` to the
    other; to the loss of each sample comes λ (1/a + a/u²), which rewards length. The margin is differentiated in |x|.

    Parameters
    ----------
    embeddings
        One row per sample. Its length sets its margin.
    norm_range : two positive numbers
        l and u. No arrays: that the first is the smaller is checked before any arithmetic.
    margin_range : two angles in radians from 0 to π
        m(l) and m(u). No arrays, for the same reason.
    regularizer
        λ. The paper's analysis asks for at least s m′ u² l² / (u² − l²), 22.6 with these defaults. ...

    Notes
    -----
    The authors' code has no margin beyond 90° by default (`past_pi="easy"`), and a λ of 20, below its own bound.

    References
    ----------
    Meng, Zhao, Huang, Zhou, "MagFace", CVPR 2021, arXiv:2103.06627.

    Examples
    --------
    |x| = 1 = l, so that m = 60°; aligned with its own prototype and at 90° to the other, s = 2: the logits are 1 and 0,
    and the regulariser is 1 + 1/4.

    >>> import anglos, math, numpy as np
    >>> options = {"norm_range": (1.0, 2.0), "margin_range": (math.pi / 3, math.pi / 2), "regularizer": 1.0,
    ...     "scale": 2.0}
    >>> loss = anglos.magface(np.asarray([[1.0, 0.0]]), np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([0]),
    ...     **options)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e) + 1.25, 6)
    (1.563262, 1.563262)
    """
    return define.Row(scale, partial(_target, norms=norm_range, margins=margin_range, past_pi=past_pi),
                      wants_length=True, regularizer=partial(_regularizer, norms=norm_range, weight=regularizer))


def _target(backend: define.Backend, cos: Any, length: Any, *, norms: tuple[float, float], margins: tuple[float, float],
            past_pi: str) -> define.Curve:
    """φ = cos(θ + m(a)), m′ = (m_u − m_l) / (u − l), ∂φ/∂|x| = ∂φ/∂m · m′ between l and u."""
    (shortest, longest), (least, most) = norms, margins
    rise = (most - least) / (longest - shortest)
    margin = least + rise * (backend.xp.clip(length, shortest, longest) - shortest)
    curve = define.turned_cosine(backend, cos, shift=margin, past_pi=past_pi)
    inside = (length > shortest) & (length < longest)
    return define.Curve(curve.value, curve.slope, length_slope=backend.xp.where(inside, curve.by_shift * rise, 0.0))


def _regularizer(xp: Any, length: Any, *, norms: tuple[float, float], weight: Any) -> define.Curve:
    """λ (1/a + a/u²), its slope λ (1/u² − 1/a²) between l and u, and 1/a + a/u² in λ."""
    shortest, longest = norms
    a = xp.clip(length, shortest, longest)
    inside = (length > shortest) & (length < longest)
    price = 1.0 / a + a / longest**2
    slope = xp.where(inside, weight * (1.0 / longest**2 - 1.0 / a**2), 0.0)
    return define.Curve(weight * price, slope, {"regularizer": price})
