"""SFace."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="ℓ = −r cos θ_y + Σ_{j≠y} r cos θ_j, r = s σ(±k(θ − a or b))",
                   paper="Zhong et al. 2021, arXiv:2205.12010")
def sface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    scale: define.Scale = 64.0, slope: define.Sharpness = 80.0, inner: define.FixedAngle = 0.8,
    outer: define.FixedAngle = 1.23, **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """SFace: the label's prototype pulls until it is within an angle a, the others push until they are beyond b.

    ℓ = −r_y cos θ_y + Σ_{j≠y} r_j cos θ_j, r_y = s σ(k (θ_y − a)), r_j = s σ(−k (θ_j − b)), σ(v) = 1 / (1 + e⁻ᵛ). The
    factors r are constants to the gradient: ∂ℓ/∂cos θ_y = −r_y, ∂ℓ/∂cos θ_j = r_j, each class by itself.

    Parameters
    ----------
    scale
        s, the largest slope in a cosine. An array is differentiated.
    slope
        k: how sharply the forces end at the angles. ...
    inner
        a. ...
    outer
        b. ...

    Notes
    -----
    The value is no measure of progress: −r cos θ rises to 0 when a sample comes within a. The gradient is that of
    s ∫_0^{θ_y} σ(k(t − a)) sin t dt + s Σ_j ∫_{θ_j}^π σ(k(b − t)) sin t dt, for a large k of the hinges
    s [cos a − cos θ_y]₊ + s Σ_j [cos θ_j − cos b]₊, which fall. The sum grows with the number of classes that are
    nearer than b: in few dimensions, where many are, it outweighs the label. Others use a = 0.87 to 0.9, b = 1.2.

    References
    ----------
    Zhong, Deng, Hu, Zhao, Li, Wen, "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP
    2021, arXiv:2205.12010.

    Examples
    --------
    At 60° to its own prototype and 0° to the other, with k = 0, so that all factors are s/2, and s = 2: −1/2 + 1.

    >>> import anglos, numpy as np
    >>> prototypes, embeddings = np.asarray([[0.5, 0.75**0.5], [1.0, 0.0]]), np.asarray([[3.0, 0.0]])
    >>> round(float(anglos.sface(embeddings, prototypes, np.asarray([0]), scale=2.0, slope=0.0)), 6)
    0.5
    """
    return define.Row(scale, partial(_pull, slope=slope, inner=inner), define.Linear(),
                      rest=partial(_push, slope=slope, outer=outer))


def _pull(backend: define.Backend, cos: Any, length: Any, *, slope: Any, inner: Any) -> define.Curve:
    """φ = σ(k (θ − a)) cos θ, φ′ = σ(k (θ − a))."""
    return _weighted(backend, cos, lambda angle: slope * (angle - inner))


def _push(backend: define.Backend, cos: Any, statistic: Any, *, slope: Any, outer: Any) -> define.Curve:
    """η = σ(k (b − θ)) cos θ, η′ = σ(k (b − θ))."""
    return _weighted(backend, cos, lambda angle: slope * (outer - angle))


def _weighted(backend: define.Backend, cos: Any, exponent: Any) -> define.Curve:
    factor = backend.stop_gradient(define.sigmoid(exponent(define.arccos(cos))))
    return define.Curve(factor * cos, factor)
