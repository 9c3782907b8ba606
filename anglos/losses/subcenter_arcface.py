"""Sub-center ArcFace."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = cos(θ + m), cos θ = max_k x̂·ŵ_k", paper="Deng et al. 2020 (ECCV)")
def subcenter_arcface(
    embeddings: define.Embeddings, weights: define.SubWeights, labels: define.Labels, /, *,
    margin: define.Angle = 0.5, scale: define.Scale = 64.0, past_pi: define.PastPi = "smooth",
    gradient: define.Gradient = "exact", **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """Sub-center ArcFace: ArcFace with K prototypes per class, of which the nearest counts.

    cos θ_j = max_k x̂·ŵ_jk; then as `arcface`. The gradient goes to the nearest prototype alone; of those that are
    equally near, to rounding, to any one. Where the gradient computes the logits again (see `keep_bytes`), first and
    second derivatives may take different ones.

    Parameters
    ----------
    margin
        m. ...
    keep_bytes
        If the B × C × K cosines take no more than this, the gradient reuses them; else they are computed again.

    References
    ----------
    Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace", ECCV 2020.

    Examples
    --------
    Its class has prototypes at 0° and 90°, of which the first counts; the other class has two at 90°. m = 60°, s = 2.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, -1.0]]])
    >>> loss = anglos.subcenter_arcface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=math.pi / 3,
    ...     scale=2)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(define.additive_angular, margin=margin, past_pi=past_pi), merge=_nearest,
                      straight_through=gradient == "straight_through")


def _nearest(backend: define.Backend, cosines: Any) -> define.Curve:
    """S = max_k s_k, ∂S/∂s_k = 1 for the first of the largest."""
    xp, nearest = backend.xp, cosines[:, 0, ...]
    marks = [xp.ones_like(nearest)]
    for k in range(1, cosines.shape[1]):  # few, so that this is less than an argmax across the array's memory
        nearer = cosines[:, k, ...] > nearest
        nearest = xp.where(nearer, cosines[:, k, ...], nearest)
        marks = [*(xp.where(nearer, 0.0, mark) for mark in marks), xp.astype(nearer, nearest.dtype)]
    return define.Curve(xp.max(cosines, axis=1), xp.stack(marks, axis=1))
