"""A tile of logits, as reductions see it, and what it is made of."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.arrays.library import Array


class Map(NamedTuple):
    """A function η of a cosine, by which a backend may know it, and how it is made of operations."""

    name: str
    numbers: tuple[Any, ...]
    """What it depends on: numbers, or arrays of one, or of one per sample."""
    curve: Callable[[Any, Array], Any]
    """(backend, c) -> η(c) as its `value`, and its `slope`."""


class Product(NamedTuple):
    """Logits of T classes and B samples that are not computed yet: z_ji = s η(a_i u_j (w_j · x_i)) + b_j."""

    prototypes: Array
    """w, (T, D), in one type with x: the type of the arithmetic, or one that `Backend.multiplies_as_is`."""
    points: Array
    """x, (B, D)."""
    scale: Any
    """s: a number, or an array of one."""
    sample_factor: Array | None
    """a, (B,); None for 1."""
    class_factor: Array | None
    """u, (T, 1); None for 1."""
    bias: Any
    """b: as a scale, or (T, 1); None for 0."""
    labels: Array
    """(B,)"""
    first: Any
    """The number of the first class."""
    largest_factor: Any = math.inf
    """By which exponentials that are kept may be multiplied: what a larger u is beyond that they lack."""
    numbers: Array | None = None
    """Those of the classes, (T,), of which several may be the label's; None for first, first + 1, …"""
    map: Map | None = None
    """η, of a cosine, whose slope multiplies all slopes in logits; None for what is as it is."""


class Tile(NamedTuple):
    """T classes against B samples."""

    logits: Any
    """(T, B); None where only `product` is there, of which nothing is asked but exponentials or sums."""
    with_label: Callable[[Array, Any], Array]
    """(terms, value) -> the terms with the value at the label's class; may use the array of the terms."""
    classes: Callable[[], Array]
    """() -> the numbers of the classes, (T,)."""
    scratch: Array | None = None
    """An array like the logits, or the logits themselves, to compute in."""
    kept: Array | None = None
    """Where what the gradient uses again is stored."""
    product: Product | None = None
    zeroes: bool = False
    """Whether `with_label` is faster with 0, of terms that are finite, than with another value."""


class Term(NamedTuple):
    """A smooth function f of a logit, of which a loss is a sum over the classes, beside its derivative."""

    name: str
    """By which a backend knows it."""
    value: Callable[[Any, Array], Array]
    """(backend, z) -> f(z)."""
    slope: Callable[[Any, Array], Array]
    """(backend, z) -> f′(z), which may be in the array z."""


def marked_tile(xp: Any, logits: Array, is_label: Array) -> Tile:
    """The tile with marks for the labels' places; the logits stay as they are."""
    return Tile(logits, lambda terms, value: xp.where(is_label, value, terms), lambda: None)


def sum_of_rest(xp: Any, tile: Tile, terms: Array) -> Array:
    """Σ_{j≠y} of the tile's classes."""
    return xp.sum(tile.with_label(terms, 0.0), axis=0)
