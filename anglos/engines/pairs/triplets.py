"""Which triplets of a tile are taken, and their loss: hinge Σ [d_ap − d_an + m]₊ or soft Σ ς(d_ap − d_an + m).

A choice is a function (backend, tile, window) -> Chosen: for every pair (a, p) a negative, or for every anchor one of
each. The window is the margin, or None for a soft hinge, which does not end there.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, hinge
from anglos.engines.pairs.row import PairTile, Terms
from anglos.engines.pairs.terms import number


class Chosen(NamedTuple):
    """Triplets of every anchor, (A, T): the columns of positive and negative, and which are triplets at all."""

    positive: Array | None
    """None where the t-th triplet has the t-th column."""
    negative: Array
    valid: Array


def batch_hard(backend: Backend, tile: PairTile, window: Any = None) -> Chosen:
    """The farthest positive and the nearest negative; the first of equals."""
    xp = backend.xp
    positive, negative = (xp.where(tile.positive, tile.values, -math.inf),
                          xp.where(tile.negative, tile.values, math.inf))
    farthest, nearest = xp.argmax(positive, axis=1)[:, None], xp.argmin(negative, axis=1)[:, None]
    valid = (xp.take_along_axis(positive, farthest, axis=1) != -math.inf) & (
        xp.take_along_axis(negative, nearest, axis=1) != math.inf)
    return Chosen(farthest, nearest, valid)


def semi_hard(backend: Backend, tile: PairTile, window: Any) -> Chosen:
    """For every positive the nearest negative that is farther, if it is within the window."""
    chosen, farther = _next_negative(backend, tile)
    valid = chosen.valid & farther
    if window is not None:
        near = tile.values
        if chosen.positive is not None:
            near = backend.xp.take_along_axis(near, chosen.positive, axis=1)
        far = backend.xp.take_along_axis(tile.values, chosen.negative, axis=1)
        valid = valid & ~(far >= near + window)
    return chosen._replace(valid=valid)


def semi_hard_or_easiest(backend: Backend, tile: PairTile, window: Any) -> Chosen:
    """For every positive the nearest negative that is farther, and if there is none the farthest of all."""
    chosen, _ = _next_negative(backend, tile)
    return chosen._replace(valid=chosen.valid & backend.xp.any(tile.negative, axis=1)[:, None])


def _next_negative(backend: Backend, tile: PairTile) -> tuple[Chosen, Array]:
    """For every positive the nearest negative that is farther, or else the farthest, and whether it is farther."""
    most = backend.bounds(backend.xp.sum(backend.xp.astype(tile.positive, tile.values.dtype), axis=1))
    if most is not None and most[1] <= FEW:
        return _next_negative_of_few(backend, tile, max(int(most[1]), 1))
    xp = backend.xp
    distance = xp.where(tile.negative, tile.values, math.inf)
    order = xp.argsort(distance, axis=1)
    below = backend.rank(xp.take_along_axis(distance, order, axis=1), tile.values)
    negatives = xp.sum(xp.astype(tile.negative, below.dtype), axis=1)[:, None]
    last = xp.where(negatives > 0, negatives - 1, 0)
    chosen = xp.take_along_axis(order, xp.where(below < negatives, below, last), axis=1)
    return Chosen(None, chosen, tile.positive), below < negatives


FEW = 16
"""Up to so many positives a search for each is faster than sorting."""


def _next_negative_of_few(backend: Backend, tile: PairTile, most: int) -> tuple[Chosen, Array]:
    xp, distance, rest = backend.xp, tile.values, tile.positive
    easiest = xp.argmax(xp.where(tile.negative, distance, -math.inf), axis=1)[:, None]
    columns = backend.arange(distance.shape[1], easiest)[None, :]
    found: list[tuple[Array, ...]] = []
    for _ in range(most):  # the first positive of every row, then the next
        positive = xp.argmax(xp.astype(rest, xp.uint8), axis=1)[:, None]
        near = xp.take_along_axis(distance, positive, axis=1)
        beyond = xp.where(tile.negative & (distance > near), distance, math.inf)
        next_one = xp.argmin(beyond, axis=1)[:, None]
        farther = xp.take_along_axis(beyond, next_one, axis=1) != math.inf
        found.append((positive, xp.where(farther, next_one, easiest), xp.take_along_axis(rest, positive, axis=1),
                      farther))
        rest = rest & (columns != positive)
    joined = [xp.concat(parts, axis=1) for parts in zip(*found, strict=True)]
    return Chosen(*joined[:3]), joined[3]


CHOICES: dict[str, Callable[[Backend, PairTile, Any], Chosen]] = {
    "batch_hard": batch_hard,
    "semi_hard": semi_hard,
    "semi_hard_or_easiest": semi_hard_or_easiest,
}


def chosen_terms(backend: Backend, tile: PairTile, *, mining: str, margin: Any, soft: bool, active: bool) -> Terms:
    """Of one negative per positive. With w = 1[excess > 0], or σ of it: ∂/∂d_ap = ∂/∂m = w, ∂/∂d_an = −w."""
    xp, distance = backend.xp, tile.values
    chosen = Chosen(*tile.chosen) if tile.chosen else CHOICES[mining](backend, tile, None if soft else margin)
    positive = distance if chosen.positive is None else xp.take_along_axis(distance, chosen.positive, axis=1)
    negative = xp.take_along_axis(distance, chosen.negative, axis=1)
    value, weight = hinge(backend, xp.where(chosen.valid, positive - negative + margin, -math.inf), soft)
    counted = xp.astype((weight > 0.0) & chosen.valid if active and not soft else chosen.valid, weight.dtype)
    if tile.weight is not None:
        of_positive = tile.weight if chosen.positive is None else xp.take_along_axis(
            tile.weight, chosen.positive, axis=1)
        value, weight, counted = value * of_positive, weight * of_positive, counted * of_positive

    def slope() -> Array:
        minus = backend.scatter(weight, chosen.negative, distance)
        return (weight if chosen.positive is None else backend.scatter(weight, chosen.positive, distance)) - minus

    return Terms(xp.sum(value, axis=1) + _nan_of(xp, distance), xp.sum(counted, axis=1), slope,
                 lambda: {"margin": xp.sum(weight, axis=1)})


def all_terms(backend: Backend, tile: PairTile, *, margin: Any, active: bool) -> Terms:
    """Of all triplets by hinge, without forming them: the negatives are sorted, and summed up to d_ap + m.

    ∂/∂d_ap is how many negatives are nearer than d_ap + m, ∂/∂m their sum, −∂/∂d_an how many positives have d_ap + m
    beyond d_an: a positive counts by its weight, and its terms are multiplied by that.
    """
    xp, distance = backend.xp, tile.values
    negatives = xp.sort(xp.where(tile.negative, distance, math.inf), axis=1)
    end = distance + margin
    nearer = xp.where(tile.positive, backend.rank(negatives, end, strict=True), 0)
    sums = xp.cumulative_sum(xp.where(negatives == math.inf, 0.0, negatives), axis=1, include_initial=True)
    weight = tile.weighted(xp.astype(nearer, distance.dtype))
    value = xp.sum(weight * xp.where(tile.positive, end, 0.0) - xp.where(
        tile.positive, tile.weighted(xp.take_along_axis(sums, nearer, axis=1)), 0.0), axis=1)
    positives = number(xp, tile, tile.positive)

    def slope() -> Array:
        ends = xp.where(tile.positive, end, math.inf)
        if tile.weight is None:
            short = xp.astype(backend.rank(xp.sort(ends, axis=1), distance), distance.dtype)
        else:
            short = _weight_of_first(backend, tile, ends, distance)
        return weight - xp.where(tile.negative, positives[:, None] - short, 0.0)

    count = xp.sum(weight, axis=1) if active else positives * number(xp, tile, tile.negative)
    return Terms(value + _nan_of(xp, distance), count, slope, lambda: {"margin": xp.sum(weight, axis=1)})


def _weight_of_first(backend: Backend, tile: PairTile, ends: Array, distance: Array) -> Array:
    """The weight of the positives whose end, d_ap + m, is at most a distance."""
    xp, order = backend.xp, backend.xp.argsort(ends, axis=1)
    ordered = xp.take_along_axis(xp.where(tile.positive, tile.weight, 0.0), order, axis=1)
    sums = xp.cumulative_sum(ordered, axis=1, include_initial=True)
    passed = backend.rank(xp.take_along_axis(ends, order, axis=1), distance)
    return xp.take_along_axis(sums, passed, axis=1)


def _nan_of(xp: Any, distance: Array) -> Array:
    """NaN for a row that has one, which a selection may not see, and otherwise 0."""
    return 0.0 * xp.sum(distance, axis=1)


def all_soft_terms(backend: Backend, tile: PairTile, *, margin: Any) -> Terms:
    """Of all triplets by softplus, which needs them all."""
    xp, distance = backend.xp, tile.values
    valid = tile.positive[:, :, None] & tile.negative[:, None, :]
    excess = distance[:, :, None] - distance[:, None, :] + margin
    value, weight = hinge(backend, xp.where(valid, excess, -math.inf), True)
    if tile.weight is not None:
        value, weight = value * tile.weight[:, :, None], weight * tile.weight[:, :, None]
    count = number(xp, tile, tile.positive) * number(xp, tile, tile.negative)
    return Terms(xp.sum(value, axis=(1, 2)), count, lambda: xp.sum(weight, axis=2) - xp.sum(weight, axis=1),
                 lambda: {"margin": xp.sum(weight, axis=(1, 2))})
