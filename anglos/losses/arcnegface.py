"""ArcNegFace."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ = cos(θ + m), η = t(cos θ + 1) − 1, t = α e^(−(cos θ − φ)²/σ)",
                   paper="Liu, Y. et al. 2019, arXiv:1909.00632")
def arcnegface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.Angle = 0.5, scale: define.Scale = 64.0, alpha: define.Sharpness = 1.2, sigma: define.Width = 2.0,
    past_pi: define.PastPi = "smooth", **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """ArcNegFace: ArcFace in which other classes count for more, the nearer they are to the label's φ.

    z_y = s φ, φ = cos(θ_y + m);  z_j = s (t_j (cos θ_j + 1) − 1), t_j = α exp(−(cos θ_j − φ)² / σ): the distance of
    cos θ_j from −1 is stretched where |cos θ_j − φ| < √(σ log α), 0.6 for the defaults, and shrunk elsewhere. The
    factors t_j are constants to the gradient, as in the authors' code.

    Parameters
    ----------
    margin
        m. ...
    alpha
        α, the largest factor. ...
    sigma
        σ, how wide the range of classes is that count for more; the paper's 2σ, with μ = 0. ...
    past_pi
        As in `arcface`; "linear" is the authors'.

    References
    ----------
    Liu, Ren, Li, Zhang, Wang, "Towards Flops-constrained Face Recognition", ICCV workshops 2019, arXiv:1909.00632.

    Examples
    --------
    At 60° to its own prototype and to the other, m = 0: t = α = 2, the logits are s/2 and s (2 · 3/2 − 1) = 2s; s = 1.

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[1.0, 0.0], [1.0, 0.0]]), np.asarray([[0.5, 0.75**0.5]])
    >>> loss = anglos.arcnegface(embeddings, prototypes, np.asarray([0]), margin=0.0, alpha=2.0, scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + math.exp(1.5)), 6)
    (1.701413, 1.701413)
    """
    target = partial(define.additive_angular, margin=margin, past_pi=past_pi)
    return define.Row(scale, target, rest=partial(_rest, alpha=alpha, sigma=sigma),
                      statistic=lambda backend, cos: target(backend, cos, None).value)


def _rest(backend: define.Backend, cos: Any, phi: Any, *, alpha: Any, sigma: Any) -> define.Curve:
    """η = t (cos θ + 1) − 1, η′ = t."""
    factor = backend.stop_gradient(alpha * backend.xp.exp(-((cos - phi) ** 2) / sigma))
    return define.Curve(factor * (cos + 1.0) - 1.0, factor)
