"""CurricularFace."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = cos(θ + m), η = cos θ·(t + cos θ) if hard", paper="Huang et al. 2020, arXiv:2004.00288")
def curricularface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.Angle = 0.5, scale: define.Scale = 64.0, t: define.CosineState = 0.0,
    past_pi: define.PastPi = "smooth", **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """CurricularFace: ArcFace in which hard other classes count for more as training goes on.

    A class j is hard where cos θ_j > cos(θ_y + m): there η = cos θ_j (t + cos θ_j), else cos θ_j. t follows the
    mean of cos θ_y, from 0: `t = anglos.curricularface_update(t, embeddings, weights, labels)` before each step.
    Where the logits are computed again, for the gradient (see `keep_bytes`) or for second derivatives, a class whose
    cosine is the threshold, to rounding, may be hard for the loss and not for these, or the other way round.

    Parameters
    ----------
    margin
        m. ...
    t
        State: the running mean of cos θ_y. It is a constant to the gradient.

    References
    ----------
    Huang, Wang, Tai, Liu, Shen, Li, Li, Huang, "CurricularFace", CVPR 2020, arXiv:2004.00288.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, which is not hard, m = 60°, s = 2: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.curricularface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=math.pi / 3,
    ...     scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(define.additive_angular, margin=margin, past_pi=past_pi), rest=partial(_rest, t=t),
                      known=("above a threshold", t), statistic=partial(_threshold, margin=margin))


def _threshold(backend: define.Backend, cos: Any, *, margin: Any) -> Any:
    """cos(θ_y + m), without its continuation past π."""
    return define.turned_cosine(backend, cos, shift=margin, past_pi="reflect").value


def _rest(backend: define.Backend, cos: Any, threshold: Any, *, t: Any) -> define.Curve:
    """η = cos θ (t + cos θ), η′ = t + 2 cos θ where hard; cos θ, 1 elsewhere."""
    hard = cos > threshold
    return define.Curve(backend.xp.where(hard, cos * (t + cos), cos), backend.xp.where(hard, t + 2.0 * cos, 1.0))


@define.update(curricularface)
def curricularface_update(batch: define.Batch, t: Any, embeddings: Any, weights: Any, labels: Any, *,
                          momentum: float = 0.99) -> Any:
    """The running mean of the label's cosine, t ← momentum · t + (1 − momentum) · mean cos θ_y.

    To be called before each step; −100 is no label, and without any other t stays.

    >>> import numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> float(curricularface_update(0.0, np.asarray([[2.0, 0.0]]), prototypes, np.asarray([0]), momentum=0.75))
    0.25
    """
    backend, xp = batch.backend, batch.backend.xp
    unit, _ = define.unit_rows(backend, embeddings)
    of_label, _ = define.unit_rows(backend, backend.of_label(weights, labels))
    cos = backend.stop_gradient(backend.total(xp.sum(unit * of_label, axis=-1)))
    moved = momentum * t + (1.0 - momentum) * batch.mean(cos)
    return xp.where(xp.any(batch.counted(cos)), moved, t)
