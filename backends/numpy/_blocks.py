"""Arrays in blocks of rows that stay in the nearest cache from one pass to the next."""

from typing import Any

NEAR = 1 << 16
"""So many numbers stay there."""


def blocks(array: Any, like: Any = None) -> list[Any]:
    """The array in blocks of as many rows as stay near, of this one or of one like it."""
    size = array.size if like is None else like.size
    if size <= NEAR:
        return [array]
    step = max(1, NEAR * len(array) // size)
    return [array[first:first + step] for first in range(0, len(array), step)]
