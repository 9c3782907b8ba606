"""KoLeo."""

from functools import partial
from typing import Any

from anglos import define


@define.batchwise(formula="ℓ = −mean_i log(min_{j≠i} |x_i − x_j| + ε), unit vectors",
                  paper="Sablayrolles et al. 2019, arXiv:1806.03198")
def koleo(embeddings: define.Embeddings, /, *, epsilon: define.PositiveFactor = 1e-8) -> define.Direct:
    """KoLeo: embeddings are spread over the sphere, each driven away from its nearest other.

    ℓ = −mean_i log( min_{j≠i} |x̂_i − x̂_j| + ε ): the estimate of Kozachenko and Leonenko of the differential entropy,
    but for constants. It is one number for the batch, added to a loss with a small weight, as 0.1 in DINOv2.

    Parameters
    ----------
    embeddings
        One row per sample, compared in tiles. A zero vector has cosine 0 with all others, and gradient 0.
    epsilon
        ε. ...

    Notes
    -----
    The nearest is a constant to the gradient, and the first of equals; both ends have a gradient. Of two equal
    embeddings the distance is 0, with gradient 0, and the term −log ε. A batch of one has the loss 0. No sample has a
    loss of its own: there is no `sample_weight`, `reduction` or `ignore_index`.

    References
    ----------
    Sablayrolles, Douze, Schmid, Jégou, "Spreading vectors for similarity search", ICLR 2019, arXiv:1806.03198.

    Examples
    --------
    At 0°, 60° and 180° the nearest are 1, 1 and √3 away: the mean of 0, 0 and −log √3.

    >>> import anglos, math, numpy as np
    >>> loss = anglos.koleo(np.asarray([[1.0, 0.0], [0.5, 0.75**0.5], [-2.0, 0.0]]))
    >>> round(float(loss), 6), round(-0.5 * math.log(3.0) / 3, 6)
    (-0.183102, -0.183102)
    """
    parts = partial(_parts, epsilon=epsilon)
    return define.of_parts(parts, _gradients)


def _gradients(backend: define.Backend, g: Any, units: Any, nearest: Any, difference: Any, by_square: Any,
               by_epsilon: Any) -> dict[str, Any]:
    """∂ℓ/∂D_i = −1/(D_i + ε)/B, and ∂D²/∂x̂ = 2 (x̂ − r̂) = −∂D²/∂r̂."""
    unit, inverse = units
    pull = g * 2.0 * by_square[:, None] * difference
    d_unit = pull - backend.sum_by_label(pull, nearest, unit.shape[0])
    return {"embeddings": define.unit_rows_pullback(backend, unit, inverse, d_unit), "epsilon": g * by_epsilon}


def _parts(backend: define.Backend, embeddings: Any, *options: Any, epsilon: Any) -> Any:
    """ℓ; x̂ and 1/|x|; the nearest and x̂ − r̂; ∂ℓ/∂D² of each; ∂ℓ/∂ε."""
    xp, (unit, inverse) = backend.xp, define.unit_rows(backend, embeddings)
    nearest = define.nearest_others(backend, unit)
    other = xp.take(unit, nearest, axis=0), xp.take(inverse, nearest, axis=0)
    difference, apart = define.given_distances(backend, "euclidean", (unit, inverse), other)
    some = xp.astype(nearest != backend.numbers(unit, nearest), difference.dtype)
    count = xp.sum(some)
    some = some / define.divisor_of(xp, count)
    slope = -some / (apart.value + epsilon)
    value = -xp.sum(some * xp.log(apart.value + epsilon))
    return value, (unit, inverse), nearest, difference, slope * apart.slope(), xp.sum(slope)
