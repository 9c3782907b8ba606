"""Arrays in blocks of rows that stay in the nearest cache from one pass to the next."""

from typing import Any

NEAR = 1 << 16
"""So many numbers do."""


def blocks(array: Any, like: Any = None) -> list[Any]:
    """Rows, as many of this array, or of one like it, as stay near."""
    size = array.size if like is None else like.size
    if size <= NEAR:
        return [array]
    step = max(1, NEAR * len(array) // size)
    return [array[first:first + step] for first in range(0, len(array), step)]
