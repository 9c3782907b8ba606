"""Yes or no of every pair of a tile in one bit: the i-th bit of a byte is of the i-th eighth of the columns.

The bytes of a tile, (⌈N / 8⌉, A), are kept as they lie, with a shape by which they are the A rows' of a whole array.
"""

from collections.abc import Callable
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array

_FEW = 32
"""Bytes of which one has a pair: then pairs are found faster than all terms are multiplied."""


def pack(xp: Any, many: int, pairs: Callable[[int, int], Array]) -> Array:
    """The bytes of N columns against A rows, (⌈N / 8⌉, A), from the booleans of some columns, (n, A)."""
    each, packed = -(-many // 8), None
    for place, first in enumerate(range(0, many, each)):
        part = xp.astype(pairs(first, min(first + each, many)), xp.uint8) << place
        if packed is not None and part.shape[0] < each:
            part = xp.concat([part, xp.zeros_like(packed[part.shape[0]:, :])])
        packed = part if packed is None else packed | part
    return packed


def as_rows(xp: Any, packed: Array) -> Array:
    """The same numbers by rows, (A, ⌈N / 8⌉)."""
    return xp.reshape(packed, (packed.shape[1], packed.shape[0]))


def with_value(backend: Backend, terms: Array, packed: Array, value: float) -> Array:
    """Terms, (N, A), with a value where the booleans of the rows are true; these may hold them.

    Instead of 0 it is NaN where terms are infinite or NaN.
    """
    xp, many, planes = backend.xp, terms.shape[0], as_rows(backend.xp, packed)
    if not backend.changes_arrays():
        return backend.with_value(terms, unpack(backend, planes, many), value)
    each = planes.shape[0]
    if backend.readable(planes) and int(xp.count_nonzero(planes)) * _FEW <= each * planes.shape[1]:
        return _with_few(backend, terms, planes, value)
    planes = planes if value else ~planes
    for place, first in enumerate(range(0, many, each)):  # an eighth at a time, which stays near
        part = terms[first:min(first + each, many), :]
        bits = (planes[:part.shape[0], :] >> place) & 1
        if value:
            backend.with_value(part, xp.astype(bits, xp.bool), value)
        else:  # by no branch, which nothing could predict
            backend.multiply(part, bits, out=part)
    return terms


def _with_few(backend: Backend, terms: Array, planes: Array, value: float) -> Array:
    """The same, pair by pair."""
    xp = backend.xp
    columns, rows = xp.nonzero(planes)
    bits = planes[columns, rows][:, None] >> xp.arange(8, dtype=xp.uint8, device=backend.device(planes))
    which, places = xp.nonzero(bits & 1)
    terms[columns[which] + places * planes.shape[0], rows[which]] = value
    return terms


def unpack(backend: Backend, packed: Array, columns: int) -> Array:
    """The booleans, (N, A)."""
    xp = backend.xp
    eighths = xp.arange(8, dtype=xp.uint8, device=backend.device(packed))[:, None, None]
    said = xp.astype((packed[None, :, :] >> eighths) & 1, xp.bool)
    return xp.reshape(said, (8 * packed.shape[0], packed.shape[1]))[:columns, :]
