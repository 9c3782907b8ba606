"""Dynamic soft margin loss, with the state that it has."""

from functools import partial
from typing import Any

from anglos import define


@define.batchwise(formula="ℓ = mean_i F(v_i) v_i, v = D(q, k) − D of the hardest negative, F = share of smaller v",
                  paper="Zhang & Rusinkiewicz 2019 (ICCV)")
def dynamic_soft_margin(
    queries: define.Anchors, keys: define.Anchors, /, *,
    histogram: define.DifferenceHistogram = None, bins: define.Count = 10,
    minimum: define.LeastDifference = -2.0, momentum: define.Momentum = 0.01,
) -> define.Direct:
    """Dynamic soft margin: triplets with their hardest negatives, each weighted by how many others are easier.

    ℓ = mean_i F(v_i) v_i, with v_i = D(q_i, k_i) − min_{j≠i} min(D(q_i, k_j), D(q_j, k_i)) of Euclidean distances D of
    unit vectors, and F the distribution of v. There is no margin: a triplet pulls the more, the higher its rank among
    those of this batch and, by the histogram, of past ones. It is one number for the batch.

    The histogram has bins + 1 knots from `minimum` to −`minimum`; a v between two counts in parts for both, the more
    the nearer. F(v) is its sum up to the knot below v. After each step
    `histogram = anglos.dynamic_soft_margin_update(histogram, queries, keys)`, from None, with the loss's options.

    Parameters
    ----------
    queries
        One row per pair, compared in tiles. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    keys
        The positive of each query; to the others it is a negative.
    histogram
        ... The loss adds its batch to it. None, or zeros: of this batch alone.
    bins
        R. ...
    minimum
        The lowest knot. What is beyond the lowest or the highest counts for that, and has the weight of its bin. ...
    momentum
        μ, the share of this batch in the histogram. ...

    Notes
    -----
    F(v) is a constant to the gradient. Of equally near negatives the query's come first, each side's in their order.
    Without a second pair the loss is 0. No pair has a loss of its own: there is no `sample_weight` and no `reduction`.

    References
    ----------
    Zhang, Rusinkiewicz, "Learning Local Descriptors with a CDF-Based Dynamic Soft Margin", ICCV 2019.

    Examples
    --------
    Two bins: knots −2, 0 and 2. Queries at 0° and 90°, keys at 0° and 180°: distances 0 and √2 of the pairs, and √2 of
    the nearest negatives, so that v is −√2 and 0. The first counts as √½ for −2 and 1 − √½ for 0, the second for 0:
    F(−√2) = √½ / 2.

    >>> import anglos, numpy as np
    >>> queries, keys = np.asarray([[1.0, 0.0], [0.0, 2.0]]), np.asarray([[3.0, 0.0], [-1.0, 0.0]])
    >>> round(float(anglos.dynamic_soft_margin(queries, keys, bins=2)), 6)
    -0.25
    """
    define.check_histogram("dynamic_soft_margin", histogram, bins)
    parts = partial(_parts, histogram=histogram, bins=bins, minimum=minimum, momentum=momentum)
    return define.of_parts(parts, _gradients)


def _gradients(backend: define.Backend, g: Any, weight: Any, sides: Any, numbers: Any, near: Any, far: Any
               ) -> dict[str, Any]:
    """∂ℓ/∂D = ±F/B, and ∂D²/∂q̂ = 2 (q̂ − k̂) = −∂D²/∂k̂."""
    pull, push = ((2.0 * g * weight * apart.slope())[:, None] * difference for difference, apart in (near, far))
    found = {}
    for name, sign, (unit, inverse), places in zip(("queries", "keys"), (1.0, -1.0), sides, numbers, strict=True):
        d_unit = sign * (pull - backend.sum_by_label(push, places, unit.shape[0]))
        found[name] = define.unit_rows_pullback(backend, unit, inverse, d_unit)
    return found


def _parts(backend: define.Backend, queries: Any, keys: Any, *options: Any, histogram: Any, bins: int, minimum: Any,
           momentum: Any) -> Any:
    """ℓ; F/B; what differences are made of."""
    xp, (v, place, *others) = backend.xp, _differences(backend, queries, keys, bins, minimum)
    moved, of_v = define.moved_histogram(backend, place, bins, histogram, momentum)
    weight = backend.stop_gradient(of_v.at(xp.cumulative_sum(moved, axis=0))[0, :] / xp.sum(xp.ones_like(v)))
    return xp.sum(weight * v), weight, *others


def _differences(backend: define.Backend, queries: Any, keys: Any, bins: int, minimum: Any) -> Any:
    """V, and in bins; the sides; which query and key are each pair's hardest negative; q̂ − k̂ and D of both."""
    xp, sides = backend.xp, [define.unit_rows(backend, x) for x in (queries, keys)]
    numbers = define.nearest_other_pairs(backend, sides[0][0], sides[1][0])
    hardest = [[xp.take(one, places, axis=0) for one in side] for side, places in zip(sides, numbers, strict=True)]
    near, far = (define.given_distances(backend, "euclidean", *pair) for pair in (sides, hardest))
    v = near[1].value - far[1].value
    return v, (v - minimum) * (-0.5 * bins / minimum), sides, numbers, near, far


@define.update(dynamic_soft_margin)
def dynamic_soft_margin_update(batch: define.Batch, histogram: Any, queries: Any, keys: Any, *, bins: int = 10,
                               minimum: Any = -2.0, momentum: Any = 0.01) -> Any:
    """The histogram of v, (bins + 1,), moved by the share `momentum` towards that of a batch; its sum is 1.

    None, or zeros, becomes that of the batch. A batch of fewer than two pairs changes nothing.

    >>> import numpy as np
    >>> queries, keys = np.asarray([[1.0, 0.0], [0.0, 2.0]]), np.asarray([[3.0, 0.0], [0.0, -1.0]])
    >>> dynamic_soft_margin_update(None, queries, keys, bins=2).round(6).tolist()
    [0.353553, 0.5, 0.146447]
    """
    define.check_histogram("dynamic_soft_margin_update", histogram, bins)
    if batch.sizes["B"] < 2:
        return 0.0 * batch.backend.arange(bins + 1, queries) if histogram is None else histogram
    _, place, *_ = _differences(batch.backend, queries, keys, bins, minimum)
    moved, _ = define.moved_histogram(batch.backend, place, bins, histogram, momentum)
    return batch.backend.stop_gradient(moved)
