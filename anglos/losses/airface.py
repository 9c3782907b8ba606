"""Li-ArcFace, the loss of AirFace."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = 1 − 2(θ + m)/π, η = 1 − 2θ/π", paper="Li et al. 2019, arXiv:1907.12256")
def airface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.Angle = 0.45, scale: define.Scale = 64.0, **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """Li-ArcFace: softmax cross entropy over logits that are linear in the angle.

    φ = 1 − 2 (θ + m) / π for the label, η = 1 − 2θ/π for the others, times s. It falls over all of [0, π].

    Parameters
    ----------
    margin
        m. ...

    References
    ----------
    Li, Wang, Hu, Yin, "AirFace", ICCV workshops 2019, arXiv:1907.12256.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, m = π/4, s = 2: the logits are 2 (1 − 1/2) = 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.airface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=math.pi / 4, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(_line, margin=margin), rest=_other)


def _line(backend: define.Backend, cos: Any, length: Any, *, margin: Any) -> define.Curve:
    """φ = 1 − 2 (θ + m) / π, φ′ = 2 / (π sin θ), ∂φ/∂m = −2/π."""
    sin, divisor = define.sines(backend, cos)
    theta = backend.xp.atan2(sin, cos)
    return define.Curve(1.0 - 2.0 * (theta + margin) / math.pi, 2.0 / (math.pi * divisor), {"margin": -2.0 / math.pi})


def _other(backend: define.Backend, cos: Any, statistic: Any) -> define.Curve:
    """η = φ without the margin."""
    return _line(backend, cos, None, margin=0.0)._replace(option_slopes={})
