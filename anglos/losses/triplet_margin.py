"""Triplet loss of given triplets."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.rowwise(formula="ℓ = [d(a, p) − d(a, n) + m]₊ of given triplets", paper="Schroff et al. 2015, arXiv:1503.03832")
def triplet_margin(
    anchors: define.Anchors, positives: define.Positives, negatives: define.Anchors, /, *,
    margin: define.RowTripletMargin = 0.2, soft: bool = False, distance: define.DistanceName = "squared_euclidean",
    normalize: define.NormalizedDistance = True, swap: bool = False, **common: Unpack[define.Common],
) -> define.Direct:
    """Triplet loss of given triplets, one per row.

    ℓ = [d(a, p) − d(a, n) + m]₊, or log(1 + exp(d(a, p) − d(a, n) + m)) with soft=True. The mean is over all of them.
    `triplet` chooses triplets in a batch; `torch.nn.TripletMarginLoss()` is this with margin=1, distance="euclidean"
    and normalize=False, up to the 1e-6 that it adds to differences.

    Parameters
    ----------
    anchors
        One row per triplet. A zero vector has cosine 0 with all others.
    negatives
        Of another class.
    soft
        Whether the loss is log(1 + exp(d(a, p) − d(a, n) + m)), which never reaches 0, in place of the hinge.
    distance
        d. ...
    swap
        Whether the smaller of d(a, n) and d(p, n) stands for d(a, n) (Balntas et al. 2016).

    References
    ----------
    Schroff, Kalenichenko, Philbin, "FaceNet", CVPR 2015, arXiv:1503.03832.

    Examples
    --------
    Squared distances 1 and 9: 1 − 9 + 10.

    >>> import anglos, numpy as np
    >>> triplet = np.asarray([[0.0]]), np.asarray([[1.0]]), np.asarray([[3.0]])
    >>> float(anglos.triplet_margin(*triplet, margin=10.0, normalize=False))
    2.0
    """
    margin, soft = define.hinge_of(margin, soft)
    parts = partial(_parts, margin=margin, soft=soft, distance=distance, swap=swap,
                    normalize=normalize or distance in define.OF_UNIT_VECTORS)
    return define.Direct(partial(_value, parts), partial(_gradients, parts))


def _parts(backend: define.Backend, *points: Any, margin: Any, soft: bool, distance: str, swap: bool, normalize: bool
           ) -> Any:
    """The points with 1/|x|; their differences a − p, a − n, and p − n to swap; [d_ap − d_an + m]₊; its slopes."""
    xp = backend.xp
    sides = [define.unit_rows(backend, x) if normalize else (x, None) for x in points]
    a, p, n = sides
    pairs = ((a, p), (a, n), (p, n)) if swap else ((a, p), (a, n))
    differences, (ap, an, *pn) = zip(*(define.given_distances(backend, distance, *pair) for pair in pairs), strict=True)
    swapped = pn[0].value < an.value if swap else None
    value, weight = define.hinge(
        backend, ap.value - (xp.where(swapped, pn[0].value, an.value) if swap else an.value) + margin, soft)
    slopes: tuple[Any, ...] = (weight * ap.slope(), -weight * an.slope())
    if swap:
        slopes = (slopes[0], xp.where(swapped, 0.0, slopes[1]), xp.where(swapped, -weight * pn[0].slope(), 0.0))
    return sides, differences, value, slopes, weight


def _value(parts: Any, backend: define.Backend, *inputs: Any) -> Any:
    return parts(backend, *inputs[:3])[2]


def _gradients(parts: Any, backend: define.Backend, g: Any, *inputs: Any) -> dict[str, Any]:
    """∂D²_xr/∂x = 2 (x − r) = −∂D²_xr/∂r."""
    sides, differences, _, slopes, weight = parts(backend, *inputs[:3])
    pulls = (2.0 * (g * slope)[:, None] * one for slope, one in zip(slopes, differences, strict=True))
    ap, an, pn = (*pulls, 0.0)[:3]  # no p − n without a swap
    names = ("anchors", "positives", "negatives")
    points = {name: d_points if inverse is None else define.unit_rows_pullback(backend, unit, inverse, d_points)
            for name, (unit, inverse), d_points in zip(names, sides, (ap + an, pn - ap, -an - pn), strict=True)}
    return {**points, "margin": g * weight}
