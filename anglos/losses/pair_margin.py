"""Contrastive loss of given pairs."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.rowwise(formula="ℓ = ½ D² of a positive, ½ [m − D]₊² of a negative, given pairs",
                paper="Hadsell et al. 2006 (CVPR), doi:10.1109/CVPR.2006.100")
def pair_margin(
    anchors: define.Anchors, others: define.Anchors, targets: define.PairTargets, /, *,
    margin: define.GivenPairMargin = 1.0, squared: bool = True, distance: define.DistanceName = "euclidean",
    normalize: define.NormalizedDistance = True, **common: Unpack[define.Common],
) -> define.Direct:
    """Contrastive loss of given pairs, one per row.

    ½ D² for a positive pair and ½ [m − D]₊² for a negative one; D and [m − D]₊ with `squared=False`. The mean is over
    all pairs given; `contrastive` takes all pairs of a batch. `torch.nn.CosineEmbeddingLoss(margin)` is this with
    distance="cosine", squared=False and 1 − margin for m; sentence-transformers' `ContrastiveLoss()` is this with
    distance="cosine", margin=0.5 and 2 · label − 1 for targets.

    Parameters
    ----------
    anchors
        One row per pair. A zero vector has cosine 0 with all others, and gradient 0 where vectors are normalised.
    others
        What each is compared with.
    squared
        Whether distance and shortfall are squared.
    distance
        D. ...

    References
    ----------
    Hadsell, Chopra, LeCun, "Dimensionality Reduction by Learning an Invariant Mapping", CVPR 2006.

    Examples
    --------
    A pair at 60° that belongs together, and one at 0° that does not, by their cosines: 1 − ½ and 1.

    >>> import anglos, numpy as np
    >>> anchors, others = np.asarray([[1.0, 0.0], [0.0, 2.0]]), np.asarray([[0.5, 0.75**0.5], [0.0, 1.0]])
    >>> rows = anglos.pair_margin(anchors, others, np.asarray([1, -1]), distance="cosine", squared=False,
    ...                           reduction="none")
    >>> [round(float(row), 6) for row in rows]
    [0.5, 1.0]
    """
    parts = partial(_parts, margin=margin, squared=squared, distance=distance,
                    normalize=normalize or distance in define.OF_UNIT_VECTORS)
    return define.Direct(partial(_value, parts), partial(_gradients, parts))


def _parts(backend: define.Backend, anchors: Any, others: Any, targets: Any, *options: Any, margin: Any, squared: bool,
           distance: str, normalize: bool) -> Any:
    """The points with 1/|x|; x − r; ½ D² or ½ [m − D]₊², or without the square; and the slopes in D² and in m."""
    xp = backend.xp
    sides: list[Any] = [define.unit_rows(backend, x) if normalize else (x, None) for x in (anchors, others)]
    difference, apart = define.given_distances(backend, distance, *sides)
    sign = xp.astype(targets, difference.dtype, copy=False)
    sign = xp.where(xp.abs(sign) == 1.0, sign, math.nan)
    error = define.positive_part(xp, xp.where(sign > 0.0, apart.value, margin - apart.value))
    size = sign * (error if squared else xp.astype(error > 0.0, error.dtype))
    value = xp.abs(sign) * (0.5 * error * error if squared else error)
    return sides, difference, value, size * apart.slope(), xp.where(sign > 0.0, 0.0, -size)


def _value(parts: Any, backend: define.Backend, *inputs: Any) -> Any:
    return parts(backend, *inputs)[2]


def _gradients(parts: Any, backend: define.Backend, g: Any, *inputs: Any) -> dict[str, Any]:
    """∂D²/∂x = 2 (x − r) = −∂D²/∂r."""
    sides, difference, _, slope, margin_slope = parts(backend, *inputs)
    d_anchors = 2.0 * (g * slope)[:, None] * difference
    points = {name: d_points if inverse is None else define.unit_rows_pullback(backend, unit, inverse, d_points)
              for name, (unit, inverse), d_points in zip(
                  ("anchors", "others"), sides, (d_anchors, -d_anchors), strict=True)}
    return {**points, "margin": g * margin_slope}
