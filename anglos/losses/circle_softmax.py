"""Circle loss against class prototypes."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = [1 + m − cos θ]₊ (cos θ − 1 + m), η = [cos θ + m]₊ (cos θ − m)",
                   paper="Sun et al. 2020, arXiv:2002.10857")
def circle_softmax(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.CosineMargin = 0.25, scale: define.Scale = 256.0, **common: Unpack[define.MarginCommon],
) -> define.Row:
    """Circle loss with one prototype per class: softmax cross entropy with weights that grow with the error.

    z_y = s α (cos θ_y − 1 + m), α = [1 + m − cos θ_y]₊;  z_j = s β (cos θ_j − m), β = [cos θ_j + m]₊. The
    weights α and β are constants to the gradient, as in the paper.

    Parameters
    ----------
    margin
        m. One for all samples, or one for each; an array is differentiated, except in the brackets.

    References
    ----------
    Sun, Cheng, Zhang, Zhang, Zheng, Wang, Wei, "Circle Loss", CVPR 2020, arXiv:2002.10857, class-level labels.

    Examples
    --------
    At 60° to its own prototype and 90° to the other, m = 0.5, s = 1: 1 · (1/2 − 1/2) = 0 and 0.5 · (0 − 0.5) = −1/4.

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[0.5, math.sqrt(0.75)], [0.0, 1.0]]), np.asarray([[1.0, 0.0]])
    >>> loss = anglos.circle_softmax(embeddings, prototypes, np.asarray([0]), margin=0.5, scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + math.exp(-0.25)), 6)
    (0.575939, 0.575939)
    """
    return define.Row(scale, partial(_target, margin=margin), rest=partial(_rest, margin=margin))


def _target(backend: define.Backend, cos: Any, length: Any, *, margin: Any) -> define.Curve:
    """φ = α (cos θ − 1 + m), φ′ = α, ∂φ/∂m = α."""
    weight = _weight(backend, 1.0 + margin - cos)
    return define.Curve(weight * (cos - 1.0 + margin), weight, {"margin": weight})


def _rest(backend: define.Backend, cos: Any, statistic: Any, *, margin: Any) -> define.Curve:
    """η = β (cos θ − m), η′ = β, ∂η/∂m = −β."""
    weight = _weight(backend, cos + margin)
    return define.Curve(weight * (cos - margin), weight, {"margin": -weight})


def _weight(backend: define.Backend, error: Any) -> Any:
    return backend.stop_gradient(define.positive_part(backend.xp, error))
