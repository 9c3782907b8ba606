"""A tile of logits, as reductions see it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array


class Tile(NamedTuple):
    """T classes against B samples."""

    logits: Array
    """(T, B)"""
    with_label: Callable[[Array, Any], Array]
    """(terms, value) -> the terms with the value at the label's class; may use the array of the terms."""
    classes: Callable[[], Array]
    """() -> the numbers of the classes, (T,)."""
    scratch: Array | None = None
    """An array like the logits, or the logits themselves, to compute in."""
    kept: Array | None = None
    """Where what the gradient uses again is stored."""


def tile_of(backend: Backend, logits: Array, labels: Array, first: Any = 0, *, whole: bool = False,
            scratch: Array | None = None, kept: Array | None = None) -> Tile:
    """The tile whose first class has this number; whole if it has all classes."""
    return Tile(logits, partial(backend.with_label, labels, first, whole=whole),
                lambda: backend.numbers(logits, labels) + (backend.first_class + first), scratch, kept)


def marked_tile(xp: Any, logits: Array, is_label: Array) -> Tile:
    """The tile with marks for the labels' places; the logits stay as they are."""
    return Tile(logits, lambda terms, value: xp.where(is_label, value, terms), lambda: None)


def sum_of_rest(xp: Any, tile: Tile, terms: Array) -> Array:
    """Σ_{j≠y} of the tile's classes."""
    return xp.sum(tile.with_label(terms, 0.0), axis=0)
