"""SphereFace-R."""

from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.prototypes(formula="φ = ψ_m(θ), cos(min(mθ, π)) or cos θ with η = cos(θ/m)",
                   paper="Liu et al. 2021, arXiv:2109.05565")
def sphereface_r(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    variant: Literal["v0", "v1", "v2"] = "v1", margin: define.AngleFactor = 1.5, scale: define.OptionalScale = 30.0,
    gradient: define.Gradient = "exact", **common: Unpack[define.MarginCommon],
) -> define.Row:
    """SphereFace-R: SphereFace revived, softmax cross entropy over s φ(θ_y) and s η(θ_j).

    v0: φ = ψ_m(θ) as in `sphereface`, η = cos θ.  v1: φ = cos(min(mθ, π)), η = cos θ.  v2: φ = cos θ, η = cos(θ/m),
    the margin moved to the other classes.

    Parameters
    ----------
    embeddings
        One row per sample. Its length does not matter, unless `scale` is None.
    variant
        Which φ and η. In v1 a label beyond θ = π/m gets no gradient.
    margin : factor of the angle from 1 to 10; a number, or an array () (v0 and v1: or (B,))
        m. An array is differentiated.
    scale
        s. None: the length of the embedding, |x| (no feature normalisation).

    References
    ----------
    Liu, Wen, Raj, Singh, Weller, "SphereFace Revived", 2021, arXiv:2109.05565.

    Examples
    --------
    At 60° to its own prototype and 30° to the other, m = 2, s = 1: the logits are cos 120° = −1/2 and cos 30°.

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[0.5, math.sqrt(0.75)]])
    >>> loss = anglos.sphereface_r(embeddings, prototypes, np.asarray([0]), variant="v1", margin=2, scale=1)
    >>> round(float(loss), 6), round(math.log(1 + math.exp(math.sqrt(0.75) + 0.5)), 6)
    (1.593256, 1.593256)
    """
    curves: dict[str, tuple[Any, Any]] = {
        "v0": (partial(_multiplied, margin=margin, past_pi="smooth"), None),
        "v1": (partial(_multiplied, margin=margin, past_pi="clamp"), None),
        "v2": (define.unchanged, partial(_divided, margin=margin)),
    }
    target, rest = curves[variant]
    return define.Row(1.0 if scale is None else scale, target, rest=rest, normalize_embeddings=scale is not None,
                      straight_through=gradient == "straight_through")


def _multiplied(backend: define.Backend, cos: Any, length: Any, *, margin: Any, past_pi: str) -> define.Curve:
    """φ = cos mθ, φ′ = m sin mθ / sin θ, ∂φ/∂m = −θ sin mθ, and beyond π what `past_pi` says."""
    curve = define.turned_cosine(backend, cos, factor=margin, past_pi=past_pi)
    return define.Curve(curve.value, curve.slope, {"margin": curve.by_factor})


def _divided(backend: define.Backend, cos: Any, statistic: Any, *, margin: Any) -> define.Curve:
    """η = cos(θ/m), η′ = sin(θ/m) / (m sin θ), ∂η/∂m = θ sin(θ/m) / m²."""
    curve = define.turned_cosine(backend, cos, factor=1.0 / margin)
    return define.Curve(curve.value, curve.slope, {"margin": -curve.by_factor / margin**2})
