"""Scores of embeddings, higher for those more alike, a block at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from anglos.call.kinds import refuse
from anglos.evaluate.alike import alike
from anglos.evaluate.given import Array, Points, beside, rows_of

SIMILARITIES = ("cosine", "dot", "squared_euclidean")
ON_HOST, ON_DEVICE = 1 << 20, 1 << 24
"""How many scores make a block: as many as stay near a processor, and as keep a GPU busy."""


class Block(NamedTuple):
    """Some of the pairs: their scores, and the classes of both, which broadcast to the scores' shape."""

    scores: Array
    left: Array
    right: Array


def prepared(caller: str, points: Points, similarity: str) -> Points:
    """Of unit length, for cosines; a zero vector stays zero. Refused where a score would overflow."""
    xp, x = points.xp, points.x
    if not x.shape[1]:
        return points
    if similarity != "cosine":
        if x.shape[0] and not math.isfinite(4.0 * float(xp.max(xp.sum(x * x, axis=1)))):
            refuse(caller, "similarity", ValueError, f"was {similarity!r}, by which these embeddings overflow",
                   "'cosine', or shorter embeddings")
        return points
    tiny = 1e-30 if x.dtype == xp.float32 else 1e-300  # below which losses take a vector for zero too
    largest = xp.max(xp.abs(x), axis=1, keepdims=True)
    there = largest > tiny
    x = xp.where(there, x / xp.where(there, largest, 1.0), 0.0)  # whose squares neither overflow nor vanish
    length = xp.sqrt(xp.sum(x * x, axis=1, keepdims=True))
    return points._replace(x=x / xp.where(there, length, 1.0))


def prepared_both(caller: str, points: Points, others: Points, similarity: str) -> tuple[Points, Points]:
    """The same of two sets, which may be one."""
    first = prepared(caller, points, similarity)
    return first, first if others is points else prepared(caller, others, similarity)


def scores(xp: Any, similarity: str, a: Array, b: Array) -> Array:
    """Of all rows of a with all of b."""
    product = a @ b.T
    if similarity != "squared_euclidean":
        return product
    return 2.0 * product - xp.sum(a * a, axis=1)[:, None] - xp.sum(b * b, axis=1)[None, :]


def pair_scores(xp: Any, similarity: str, a: Array, b: Array) -> Array:
    """Of every row of a with the row of b beside it."""
    return -xp.sum((a - b) ** 2, axis=1) if similarity == "squared_euclidean" else xp.sum(a * b, axis=1)


def block_size(points: Points, given: int | None) -> int:
    """How many scores are held at a time."""
    return given or (ON_HOST if points.on_host else ON_DEVICE)


Blocks = Callable[[], Iterator[Block]]
"""Goes through all pairs, as often as it is called."""


class _Tiles(NamedTuple):
    """Rows of one set, each with rows of another."""

    points: Points
    others: Points
    similarity: str
    numbers: list[Array] | None
    """Of the rows of both, where two have the same numbers."""
    own: Array
    """The score of each row with another that has the same numbers, (N, 1)."""

    def scores(self, rows: slice, columns: slice) -> Array:
        xp = self.points.xp
        found = scores(xp, self.similarity, self.points.x[rows, ...], self.others.x[columns, ...])
        if self.numbers is None:
            return found
        return xp.where(self.numbers[0][rows, None] == self.numbers[1][None, columns], self.own[rows, ...], found)


def _tiles(points: Points, others: Points, similarity: str) -> _Tiles:
    numbers = alike(points) if others is points else alike(points, others)
    there = None if numbers is None else [beside(points, one) for one in (numbers[0], numbers[-1])]
    own = None if numbers is None else pair_scores(points.xp, similarity, points.x, points.x)
    if own is not None and similarity == "cosine":
        own = points.xp.round(own)  # 1, or 0 of a zero vector
    return _Tiles(points, others, similarity, there, None if own is None else own[:, None])


def pairs_of_a_set(points: Points, codes: np.ndarray, similarity: str, block: int) -> Blocks:
    """Every two of one set, once."""
    side, count, labels = max(1, int(block**0.5)), len(codes), beside(points, codes)
    tiles = _tiles(points, points, similarity)

    def blocks() -> Iterator[Block]:
        for first in range(0, count, side):
            last = min(first + side, count)
            rows, left = slice(first, last), labels[first:last]
            i, j = (beside(points, one) for one in np.triu_indices(last - first, 1))
            if i.shape[0]:
                square = tiles.scores(rows, rows)
                yield Block(square[i, j], left[i], left[j])
            for start in range(last, count, side):
                columns = slice(start, min(start + side, count))
                yield Block(tiles.scores(rows, columns), left[:, None], labels[columns][None, :])

    return blocks


def pairs_of_two_sets(points: Points, codes: np.ndarray, others: Points, other_codes: np.ndarray, similarity: str,
                      block: int) -> Blocks:
    """Each of one set with each of the other."""
    side, labels, other_labels = max(1, int(block**0.5)), beside(points, codes), beside(others, other_codes)
    tiles = _tiles(points, others, similarity)

    def blocks() -> Iterator[Block]:
        for first in range(0, len(codes), side):
            rows = slice(first, min(first + side, len(codes)))
            for start in range(0, len(other_codes), side):
                columns = slice(start, min(start + side, len(other_codes)))
                yield Block(tiles.scores(rows, columns), labels[rows][:, None], other_labels[columns][None, :])

    return blocks


def listed_pairs(points: Points, codes: np.ndarray, others: Points, other_codes: np.ndarray, pairs: np.ndarray,
                 similarity: str, block: int) -> Blocks:
    """The pairs of a list, (M, 2)."""
    step = max(1, block // max(points.x.shape[1], 1))

    def blocks() -> Iterator[Block]:
        for first in range(0, len(pairs), step):
            i, j = pairs[first:first + step].T
            yield Block(pair_scores(points.xp, similarity, rows_of(points, i), rows_of(others, j)),
                        beside(points, codes[i]), beside(others, other_codes[j]))

    return blocks
