"""What rows of a batch are to each other, a tile of them at a time."""

import math
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array


class _Nearer:
    """The larger of two cosines with its row's number, each (B,); of equals the first."""

    name = "nearer"

    def combine(self, xp: Any, a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        nearer = b[0] > a[0]
        return xp.where(nearer, b[0], a[0]), xp.where(nearer, b[1], a[1])


def nearest_others(backend: Backend, unit: Array) -> Array:
    """Of every unit row, (B, D), the number of the other one of largest cosine; its own where there is none."""
    xp, unit = backend.xp, backend.stop_gradient(unit)
    own = backend.numbers(unit, xp.astype(unit[:0, 0], backend.index_type))
    if unit.shape[0] == 0:
        return own

    def tile(first: Any, rows: Array) -> tuple[tuple[Array, Array], tuple[()]]:
        return _nearest_in_columns(backend, first, _of_others(backend, own, first, rows, unit)), ()

    (cos, numbers), _ = backend.sweep(tile, _Nearer(), (unit,), backend.tile_width(unit.shape[0]))
    return xp.where(cos == -math.inf, own, numbers)


def nearest_other_pairs(backend: Backend, queries: Array, keys: Array) -> tuple[Array, Array]:
    """Of every pair of unit rows, (B, D): of its query with other keys and of its key with other queries, the nearest.

    The numbers of that query and key; of equals the first of the query's keys comes before the first of the key's
    queries. Of a pair alone its own.
    """
    xp, queries, keys = backend.xp, backend.stop_gradient(queries), backend.stop_gradient(keys)
    own = backend.numbers(queries, xp.astype(queries[:0, 0], backend.index_type))

    def tile(first: Any, rows: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        cos = _of_others(backend, own, first, rows, keys)
        return (_nearest_in_columns(backend, first, cos),
                (xp.max(cos, axis=1), backend.as_index(xp.argmax(cos, axis=1))))

    (of_key, query), (of_query, key) = backend.sweep(tile, _Nearer(), (queries,), backend.tile_width(keys.shape[0]))
    is_own = of_query >= of_key
    return xp.where(is_own, own, query), xp.where(is_own, key, own)


def _of_others(backend: Backend, own: Array, first: Any, rows: Array, all_rows: Array) -> Array:
    """The cosines of a tile of rows, (A, B); −∞ of each with its own."""
    cos = backend.product(rows, all_rows.T)
    return backend.xp.where(backend.is_label(own, first, cos), -math.inf, cos)


def _nearest_in_columns(backend: Backend, first: Any, cos: Array) -> tuple[Array, Array]:
    xp = backend.xp
    return xp.max(cos, axis=0), backend.as_index(xp.argmax(cos, axis=0)) + first
