"""Yes or no of every pair of a tile in one bit: the i-th bit of a byte is of the i-th eighth of the columns."""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array


def pack(xp: Any, pairs: Array) -> Array:
    """Of N columns against A rows, (N, A) booleans, bytes by rows: (A, ⌈N / 8⌉)."""
    many = pairs.shape[0]
    each = -(-many // 8)
    packed = xp.astype(pairs[:each, :], xp.uint8)
    for place in range(1, 8):
        first, last = (min(edge * each, many) for edge in (place, place + 1))
        part = xp.astype(pairs[first:last, :], xp.uint8) << place
        if part.shape[0] < each:
            part = xp.concat([part, xp.zeros_like(packed[part.shape[0]:, :])])
        packed = packed | part
    return packed.T


def with_value(backend: Backend, terms: Array, packed: Array, value: float) -> Array:
    """Terms, (N, A), with a value where the booleans are true; these may hold them."""
    xp, planes, many = backend.xp, packed.T, terms.shape[0]
    if not backend.changes_arrays():
        return backend.with_value(terms, unpack(xp, packed, many), value)
    each = planes.shape[0]
    for place, first in enumerate(range(0, many, each)):  # an eighth at a time
        part = terms[first:min(first + each, many), :]
        backend.with_value(part, xp.astype((planes[:part.shape[0], :] >> place) & 1, xp.bool), value)
    return terms


def unpack(xp: Any, packed: Array, columns: int) -> Array:
    """The booleans, (N, A)."""
    each = packed.T
    return xp.concat([xp.astype((each >> place) & 1, xp.bool) for place in range(8)])[:columns, :]
