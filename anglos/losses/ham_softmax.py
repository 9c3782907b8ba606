"""HAM-Softmax."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.rowwise(formula="z = −s·d, −s·(d + m) of the label, d = acosh(1 + 2|p − q|²/((1 − |p|²)(1 − |q|²)))",
                paper="Fang & He 2026, arXiv:2601.19709")
def ham_softmax(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.GivenPairMargin = 0.2, scale: define.Scale = 30.0, curvature: define.BallCurvature = 3.0,
    label_smoothing: define.LabelSmoothing = 0.0, class_weight: define.ClassWeight = None,
    **common: Unpack[define.LabelCommon],
) -> define.Direct:
    """Hyperbolic additive margin softmax: softmax over distances in the Poincaré ball, the label's being larger by m.

    z_y = −s (d_y + m) and z_j = −s d_j, with d = acosh(1 + u), u = 2 |p − q|² / ((1 − |p|²)(1 − |q|²)), of the points
    p = x min(1, R/|x|), and q of the prototypes. R = (1 − 10⁻⁵)/√c: as in the authors' code, the curvature is in the
    projection only, and the distance is that of the unit ball, whose curvature is −1. With margin=0 and curvature=5 it
    is their H-Softmax.

    It holds the B × C distances: of the losses against one prototype per class it alone makes no tiles.

    Parameters
    ----------
    embeddings
        One row per sample. A row longer than R is normalised to that length; a zero vector is the centre of the ball.
    weights
        One prototype per class, projected likewise. The authors start with 10⁻³ times normally distributed numbers.
    margin
        m, added to the label's distance. An array is differentiated; (B,) is one margin per row.
    curvature
        c, from 1. ...

    Notes
    -----
    Where |p − q|² is rounding noise, below 8 eps of |p|² + |q|², the distance is 0, with gradient 0.

    References
    ----------
    Fang, He, "Hyperbolic Additive Margin Softmax with Hierarchical Information for Speaker Verification", 2026,
    arXiv:2601.19709.

    Examples
    --------
    From the centre of the ball to ½ the distance is acosh(1 + 2 · ¼ / ¾) = log 3, and to the own prototype 0: with
    s = 1 and without a margin the logits are 0 and −log 3.

    >>> import anglos, math, numpy as np
    >>> embeddings, weights = np.asarray([[0.0, 0.0]]), np.asarray([[0.0, 0.0], [0.5, 0.0]])
    >>> loss = anglos.ham_softmax(embeddings, weights, np.asarray([0]), margin=0.0, scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / 3), 6)
    (0.287682, 0.287682)
    """
    radius = (1.0 - 1e-5) / curvature**0.5
    softmax = define.softmax_of_labels(label_smoothing, class_weight)
    parts = partial(_parts, radius, margin)
    gradients = partial(_gradients, parts, softmax, scale, radius, curvature)
    return define.Direct(partial(_value, parts, softmax, scale), gradients, compared=partial(_compared, radius))


def _parts(radius: Any, margin: Any, backend: define.Backend, embeddings: Any, weights: Any, labels: Any, *options: Any
           ) -> tuple[Any, ...]:
    """d, the label's larger by m; the points; their distances; which is the label's."""
    xp, (p, q) = backend.xp, (define.ball_points(backend, rows, radius) for rows in (embeddings, weights))
    found = define.ball_distances(backend, p, q)
    is_label = backend.is_label(labels, 0, found.value.T).T
    of_label = xp.sum(xp.where(is_label, found.value, 0.0), axis=1) + margin
    return xp.where(is_label, of_label[:, None], found.value), p, q, found, is_label


def _value(parts: Any, softmax: Any, scale: Any, backend: define.Backend, *inputs: Any) -> Any:
    return softmax.value(backend, -scale * parts(backend, *inputs)[0], inputs[2])


def _gradients(parts: Any, softmax: Any, scale: Any, radius: Any, curvature: Any, backend: define.Backend, g: Any,
               *inputs: Any) -> dict[str, Any]:
    """∂ℓ/∂d = −s ∂ℓ/∂z, ∂ℓ/∂m = ∂ℓ/∂d_y, ∂ℓ/∂s = −Σ_j d_j ∂ℓ/∂z_j, ∂R/∂c = −R/2c; of d see `define.ball_distances`."""
    xp, (distances, p, q, found, is_label) = backend.xp, parts(backend, *inputs)
    gradients = softmax.gradients(backend, g, -scale * distances, inputs[2])
    d_logits = gradients.pop("logits")
    d_points = define.ball_distances_pullback(backend, p, q, found, -scale * d_logits)
    (embeddings, by_p), (weights, by_q) = (define.ball_points_pullback(backend, rows, radius, d_rows)
                                           for rows, d_rows in zip((p, q), d_points, strict=True))
    return {"embeddings": embeddings, "weights": weights, "curvature": -0.5 * radius / curvature * (by_p + by_q),
            "margin": -scale * xp.sum(xp.where(is_label, d_logits, 0.0), axis=1),
            "scale": -xp.sum(distances * d_logits, axis=1), **gradients}


def _compared(radius: Any, backend: define.Backend, embeddings: Any, weights: Any) -> tuple[Any, Any, Any]:
    """−|p − q|² / (1 − |q|²), whose order for every sample is that of −d."""
    xp, (p, q) = backend.xp, (define.ball_points(backend, rows, radius) for rows in (embeddings, weights))
    lifted = xp.concat([q.points, xp.ones_like(q.square)[:, None]], axis=1) / q.rest[:, None]
    return xp.concat([2.0 * p.points, -p.square[:, None]], axis=1), lifted, -q.square / q.rest
