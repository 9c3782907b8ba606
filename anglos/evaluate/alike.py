"""Embeddings with the same numbers, whose scores are to be the same: a matrix product rounds by where a row stands."""

from hashlib import blake2b

import numpy as np

from anglos.evaluate.given import Points, to_numpy

_READ = 1 << 18
"""How many numbers are read at a time."""


def alike(*sets: Points) -> list[np.ndarray] | None:
    """A number for each row of every set, equal for rows that are; None where no two are."""
    digests = [_digests(points) for points in sets]
    distinct, place = np.unique(np.concatenate(digests), return_inverse=True)
    if len(distinct) == len(place):
        return None
    return np.split(place, np.cumsum([len(one) for one in digests])[:-1])


def _digests(points: Points) -> np.ndarray:
    """64 bits of every row."""
    count, step = points.x.shape[0], max(1, _READ // max(points.x.shape[1], 1))
    found = np.empty(count, np.uint64)
    for first in range(0, count, step):
        last = min(first + step, count)
        rows = np.ascontiguousarray(to_numpy(points.x[first:last, ...]) + 0.0)  # −0 is 0
        found[first:last] = [int.from_bytes(blake2b(row, digest_size=8).digest()) for row in rows]
    return found
