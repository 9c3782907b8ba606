"""Statistics of all pairs of a batch, for losses that are no sum over samples: a tile of rows against all at a time."""

from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.monoid import SUM
from anglos.engines.numerics import Array, unit_rows, unit_rows_pullback


class AllPairs(NamedTuple):
    """Of the rows of a batch, (B, D), with their labels, (B,), of which one is that of rows that take no part.

    Attributes
    ----------
    backend
        That of the arrays.
    rows
        The vectors, (B, D).
    inverse
        1 / |x| of each, by which it was multiplied; None if by nothing.
    labels
        Their classes, (B,).
    ignore_index
        The label of rows that take no part.
    """

    backend: Backend
    rows: Array
    inverse: Array | None
    labels: Array
    ignore_index: int

    def sums(self, tile: Callable[..., tuple[dict[str, Array], tuple[Array, ...]]], *of_rows: Array
             ) -> tuple[dict[str, Array], tuple[Array, ...]]:
        """What is summed over all tiles, by name; and what every row has.

        tile(products, positive, negative, *slices of what else belongs to rows), of (A, B): a pair is ordered, and a
        row makes none with itself.
        """
        backend, xp = self.backend, self.backend.xp
        own = backend.numbers(self.rows, xp.astype(self.rows[:0, 0], backend.index_type))
        part = self.labels != self.ignore_index

        def of_tile(first: Any, rows: Array, labels: Array, some: Array, *slices: Array) -> Any:
            products = backend.product(rows, self.rows.T)
            both, same = some[:, None] & part[None, :], labels[:, None] == self.labels[None, :]
            others = both & ~backend.is_label(own, first, products)
            return tile(products, others & same, both & ~same, *slices)

        return backend.sweep(of_tile, SUM, (self.rows, self.labels, part, *of_rows),
                             backend.tile_width(self.rows.shape[0]))

    def totals(self, terms: Callable[..., tuple[Array, ...]], *of_rows: Array) -> list[tuple[Array, Array]]:
        """Of each of the terms, (A, B), that are made of every tile, the sum of positive and that of negative pairs."""
        xp = self.backend.xp

        def tile(*of_tile: Array) -> Any:
            made, masks = terms(*of_tile), of_tile[1:3]
            return {(number, sign): xp.sum(xp.where(mask, one, 0.0)) for number, one in enumerate(made)
                    for sign, mask in enumerate(masks)}, ()

        sums: Any = self.sums(tile, *of_rows)[0]
        return [(sums[number, 0], sums[number, 1]) for number, sign in sums if sign]

    def pull(self, slope: Callable[..., Array], *of_rows: Array) -> Array:
        """∂L/∂x of slopes G in products, made of every tile as sums are: ∂L/∂x̂_i = Σ_j (G_ij + G_ji) x̂_j."""
        backend = self.backend

        def tile(products: Array, positive: Array, negative: Array, rows: Array, *slices: Array) -> Any:
            slopes = slope(products, positive, negative, *slices)
            return {"columns": backend.product(slopes.T, rows)}, (backend.product(slopes, self.rows),)

        sums, (found,) = self.sums(tile, self.rows, *of_rows)
        total = found + sums["columns"]
        return total if self.inverse is None else unit_rows_pullback(backend, self.rows, self.inverse, total)


def all_pairs(backend: Backend, embeddings: Array, labels: Array, ignore_index: int) -> AllPairs:
    """Those of unit vectors, whose products are cosines."""
    return AllPairs(backend, *unit_rows(backend, embeddings), labels, ignore_index)
