"""ArcNegFace whose factors are no constants to the gradient, which the library leaves to those who want it.

A loss that its user writes with `define.rowwise`: all cosines, and both gradients. Options are numbers.
"""

from typing import Any

from anglos import define


@define.rowwise(formula="φ = cos(θ + m), η = t(cos θ + 1) − 1, t = α e^(−(cos θ − φ)²/σ), differentiated throughout")
def exact_arcnegface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *, margin: define.Angle = 0.5,
    scale: define.Scale = 64.0, alpha: define.Sharpness = 1.2, sigma: define.Width = 2.0,
    past_pi: define.PastPi = "smooth",
) -> define.Direct:
    """dη/d cos θ = t (1 − 2 (cos θ + 1)(cos θ − φ)/σ), ∂η/∂φ = 2 t (cos θ + 1)(cos θ − φ)/σ."""

    def parts(backend: define.Backend, x: Any, w: Any, labels: Any, *_: Any) -> tuple[Any, ...]:
        xp = backend.xp
        own = labels[:, None] == backend.arange(w.shape[0], labels)[None, :]
        (x, of_x), (w, of_w) = define.unit_rows(backend, x), define.unit_rows(backend, w)
        cos = x @ w.T
        phi = define.additive_angular(backend, define.sum_where(xp, own, cos), None, margin=margin, past_pi=past_pi)
        phi = phi._replace(value=phi.value[:, None], slope=phi.slope[:, None])
        factor = alpha * xp.exp(-((cos - phi.value) ** 2) / sigma)
        bend = 2.0 * factor * (cos + 1.0) * (cos - phi.value) / sigma
        logits = scale * xp.where(own, phi.value, factor * (cos + 1.0) - 1.0)
        total = define.log_sum_exp(xp, logits, xp.ones_like(own))
        slopes = scale * (xp.exp(logits - total) - xp.astype(own, logits.dtype))
        label_slope = phi.slope * xp.sum(xp.where(own, slopes, slopes * bend), axis=1)[:, None]
        slopes = xp.where(own, label_slope, slopes * (factor - bend))
        return total[:, 0] - define.sum_where(xp, own, logits), slopes, x, of_x, w, of_w

    def gradients(backend: define.Backend, g: Any, slopes: Any, x: Any, of_x: Any, w: Any, of_w: Any) -> dict[str, Any]:
        slopes = g[:, None] * slopes
        return {"embeddings": define.unit_rows_pullback(backend, x, of_x, slopes @ w),
                "weights": define.unit_rows_pullback(backend, w, of_w, slopes.T @ x)}

    return define.of_parts(parts, gradients)
