"""Where relevant items stand among the others: counted a block of queries at a time, and nothing is sorted by rank."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from anglos.evaluate.alike import alike
from anglos.evaluate.given import Array, Points, beside, rows_of, to_numpy
from anglos.evaluate.similarity import scores

_FEW = 6
"""Up to so many thresholds are compared with all scores; for more the scores are sorted."""
_ROWS = 32
"""A product of fewer rows would read the gallery as often."""


class Gallery(NamedTuple):
    """What queries are compared with, and where each label is."""

    points: Points
    codes: np.ndarray
    order: np.ndarray
    """The items by label."""
    first: np.ndarray
    """(C + 1,): where a label begins in the order."""
    place: Array | None
    """Of every item, its row in the points, where items with the same numbers have one; None if no two have."""


class Standing(NamedTuple):
    """Of a block of queries, (T,), what their relevant items, (T, R), in falling order of their scores, have above.

    Of the best alone, (T, 1), if nothing else is asked for.
    """

    queries: slice
    relevant: np.ndarray
    """How many there are, (T,)."""
    scores: np.ndarray
    above: np.ndarray
    """Other items with a higher score."""
    equal: np.ndarray
    """Other items with the same score."""
    best_other: np.ndarray
    """The highest score of another, (T,); −inf where there is none."""


def gallery_of(points: Points, codes: np.ndarray, classes: int) -> Gallery:
    """With an index of labels."""
    order, numbers = np.argsort(codes, kind="stable"), alike(points)
    place = None if numbers is None else beside(points, numbers[0])
    if numbers is not None:
        points = points._replace(x=rows_of(points, np.unique(numbers[0], return_index=True)[1]))
    return Gallery(points, codes, order, np.searchsorted(codes[order], np.arange(classes + 1)), place)


def standings(points: Points, codes: np.ndarray, gallery: Gallery, similarity: str, block: int, *, itself: bool,
              best_only: bool = False) -> Iterator[Standing]:
    """Block by block. Itself: the queries are the gallery, and none is compared with itself."""
    step = max(_ROWS, block // max(len(gallery.codes), 1))
    for first in range(0, len(codes), step):
        queries = slice(first, min(first + step, len(codes)))
        yield _standing(points, codes[queries], gallery, similarity, queries, itself, best_only)


def _standing(points: Points, codes: np.ndarray, gallery: Gallery, similarity: str, queries: slice, itself: bool,
              best_only: bool) -> Standing:
    xp = points.xp
    columns, there = _relevant(codes, gallery, np.arange(queries.start, queries.stop) if itself else None)
    rows = scores(xp, similarity, points.x[queries, ...], gallery.points.x)
    rows = rows if gallery.place is None else xp.take(rows, gallery.place, axis=1)
    found = xp.take_along_axis(rows, beside(points, columns), axis=1)
    found = xp.sort(xp.where(beside(points, there), found, -xp.inf), axis=1, descending=True) if not points.on_host \
        else -np.sort(-np.where(there, found, -np.inf), axis=1)
    asked = found[:, :1] if best_only else found
    same = beside(points, codes)[:, None] == beside(points, gallery.codes)[None, :]
    others = xp.where(same, -xp.inf, rows)
    above, at_least = _counts(xp, others, asked)
    best = xp.max(others, axis=1)
    found, above, at_least, best = (to_numpy(one) for one in (found, above, at_least, best))
    return Standing(queries, there.sum(axis=1), found, above, at_least - above, best)


def _relevant(codes: np.ndarray, gallery: Gallery, selves: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The columns of the relevant items of every query, (T, R), and which of these places are taken."""
    first = gallery.first[codes]
    many = gallery.first[codes + 1] - first
    place = np.arange(max(1, many.max(initial=0)))
    there = place < many[:, None]
    columns = gallery.order[np.where(there, first[:, None] + place, 0)]
    return columns, there if selves is None else there & (columns != selves[:, None])


def _counts(xp: Any, others: Array, thresholds: Array) -> tuple[Array, Array]:
    """How many in its row are above each threshold, (T, R), and how many are at least that."""
    if thresholds.shape[1] <= _FEW:
        columns = [thresholds[:, place:place + 1] for place in range(thresholds.shape[1])]
        return (xp.stack([xp.sum(xp.astype(others > one, xp.int32), axis=1) for one in columns], axis=1),
                xp.stack([xp.sum(xp.astype(others >= one, xp.int32), axis=1) for one in columns], axis=1))
    ordered = xp.sort(others, axis=1)
    many = others.shape[1]
    return many - _below(xp, ordered, thresholds, True), many - _below(xp, ordered, thresholds, False)


def _below(xp: Any, ordered: Array, values: Array, or_equal: bool) -> Array:
    """How many of its row are below each value, or equal: by halving the places that are left."""
    many = ordered.shape[1]
    low = xp.zeros_like(values, dtype=xp.arange(1).dtype)
    step = 1 << max(many.bit_length() - 1, 0)
    while step:
        probe = xp.take_along_axis(ordered, xp.clip(low + step - 1, 0, many - 1), axis=1)
        passed = (probe <= values if or_equal else probe < values) & (low + step <= many)
        low = xp.where(passed, low + step, low)
        step >>= 1
    return low
