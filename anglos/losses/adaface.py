"""AdaFace."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = cos(θ − m ẑ) − m ẑ − m, ẑ = [h (|x| − μ)/σ] in [−1, 1]",
                   paper="Kim et al. 2022, arXiv:2204.00964")
def adaface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.Angle = 0.4, h: define.Factor = 0.333, scale: define.Scale = 64.0,
    norm_mean: define.NormState = None, norm_std: define.NormState = None, **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """AdaFace: softmax cross entropy with a margin that adapts to the quality of a sample, read off its length.

    φ = cos(θ − m ẑ) − (m ẑ + m), with ẑ = clip(h (|x| − μ) / (σ + 0.001), −1, 1) and the angle kept within [0, π].
    Lengths are clipped to [0.001, 100] and, like μ and σ, are constants to the gradient.

    Parameters
    ----------
    embeddings
        One row per sample. Its length sets its margin.
    margin
        m, an angle and a cosine at once. ...
    h
        How much the length matters; 0 is CosFace. ...
    norm_mean
        State: the running mean μ of lengths, from `anglos.adaface_update`. None: the mean of the batch.
    norm_std
        State: their running standard deviation σ. None: that of the batch (unbiased; 0 for one sample).

    Notes
    -----
    The authors' head takes normalised embeddings and lengths apart; here both come from `embeddings`.

    References
    ----------
    Kim, Jain, Liu, "AdaFace", CVPR 2022, arXiv:2204.00964.

    Examples
    --------
    A single sample has the mean length: ẑ = 0. Aligned with its own prototype and at 90° to the other, m = 0.5, s = 2:
    the logits are 2 (1 − 0.5) = 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.adaface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=0.5, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(_target, margin=margin, h=h, mean=norm_mean, std=norm_std), wants_length=True)


@define.update(adaface)
def adaface_update(batch: define.Batch, norm_mean: Any, norm_std: Any, embeddings: Any, *, t_alpha: float = 0.01
                   ) -> tuple[Any, Any]:
    """The running mean and standard deviation of the lengths, moved by the share t_alpha towards those of a batch.

    The authors start from 20 and 100.

    >>> import numpy as np
    >>> mean, std = adaface_update(20.0, 100.0, np.asarray([[3.0, 4.0], [0.0, 7.0]]), t_alpha=0.5)
    >>> float(mean), round(float(std), 4)
    (13.0, 50.7071)
    """
    xp = batch.backend.xp
    if batch.sizes["B"] == 0:
        return norm_mean, norm_std
    mean, std = _statistics(xp, xp.sqrt(xp.sum(embeddings * embeddings, axis=-1)))
    return t_alpha * mean + (1.0 - t_alpha) * norm_mean, t_alpha * std + (1.0 - t_alpha) * norm_std


def _statistics(xp: Any, length: Any) -> tuple[Any, Any]:
    """Mean and unbiased standard deviation of the lengths that are not 0: those of ignored samples are."""
    counted = xp.astype(length > 0.0, length.dtype)
    count, length = xp.sum(counted), xp.clip(length, 0.001, 100.0)
    mean = xp.sum(counted * length) / xp.where(count > 0.0, count, 1.0)
    variance = xp.sum(counted * (length - mean) ** 2) / xp.where(count > 1.0, count - 1.0, 1.0)
    return mean, xp.sqrt(xp.where(variance > 0.0, variance, 0.0))


def _target(backend: define.Backend, cos: Any, length: Any, *, margin: Any, h: Any, mean: Any, std: Any
            ) -> define.Curve:
    """φ = cos(θ − m ẑ) − m ẑ − m, φ′ = sin(θ − m ẑ) / sin θ, ∂φ/∂m = ẑ sin(θ − m ẑ) − ẑ − 1.

    ∂φ/∂h = m (sin(θ − m ẑ) − 1) ∂ẑ/∂h, with ∂ẑ/∂h = (|x| − μ)/σ between −1 and 1.
    """
    xp, length = backend.xp, backend.stop_gradient(length)
    batch_mean, batch_std = _statistics(xp, length)
    mean, std = batch_mean if mean is None else mean, batch_std if std is None else std
    quality = (xp.clip(length, 0.001, 100.0) - mean) / (std + 0.001)
    z = xp.clip(h * quality, -1.0, 1.0)
    sin, divisor = define.sines(backend, cos)
    angle = xp.atan2(sin, cos) - margin * z
    inside = (angle > 0.0) & (angle < math.pi)
    sin_angle = xp.where(inside, xp.sin(angle), 0.0)
    option_slopes = {"margin": z * sin_angle - z - 1.0}
    if not define.is_number(h):
        option_slopes["h"] = margin * (sin_angle - 1.0) * xp.where(xp.abs(h * quality) < 1.0, quality, 0.0)
    return define.Curve(xp.cos(xp.clip(angle, 0.0, math.pi)) - margin * (z + 1.0), sin_angle / divisor, option_slopes)
