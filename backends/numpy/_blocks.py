"""Arrays in blocks of rows that stay in the nearest cache from one pass to the next; and row by row."""

from typing import Any

import numpy as np

NEAR = 1 << 16
"""So many numbers stay there."""


def blocks(array: Any, like: Any = None) -> list[Any]:
    """The array in blocks of as many rows as stay near, of this one or of one like it."""
    size = array.size if like is None else like.size
    if size <= NEAR:
        return [array]
    step = max(1, NEAR * len(array) // size)
    return [array[first:first + step] for first in range(0, len(array), step)]


def rank_in_rows(ordered: Any, values: Any, strict: bool = False) -> Any:
    """Of every row by itself, as of `Backend.rank`: a search, where sorting both together is several sorts."""
    side: Any = "left" if strict else "right"
    places = [np.searchsorted(*both, side=side) for both in zip(ordered, values, strict=True)]
    return np.asarray(places, dtype=np.intp).reshape(values.shape)
