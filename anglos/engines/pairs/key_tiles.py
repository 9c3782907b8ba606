"""Tiles of all columns, as classes, against some rows, as samples; and the same the other way round."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from anglos.arrays.monoid import SUM
from anglos.arrays.scratch import Scratch
from anglos.arrays.tile import Product, Tile
from anglos.engines.groups import takes_part
from anglos.engines.numerics import Array
from anglos.engines.pairs.guide import unit_of
from anglos.engines.pairs.masks import left_out_of
from anglos.engines.pairs.packed import as_rows, pack, with_value
from anglos.engines.pairs.step import Step


class Swept(NamedTuple):
    """Of the rows, or of those of a tile."""

    points: Array
    """What is multiplied by the columns."""
    factor: Array | None
    """Of that."""
    labels: Array | None
    """Which columns' number is left out."""
    left_out: Array | None
    """Other columns that are, and of a guide what says so."""
    guide: Array | None
    bound: Array | None


class Tiles:
    """Tiles of a step, one after the other in the same scratch."""

    def __init__(self, step: Step) -> None:
        self.step, self.backend, queries = step, step.backend, step.sides.rows
        points, a = queries.points, None
        if step.as_is:
            points = step.inputs[queries.role]
        if step.as_is and queries.inverse is not None:
            points, inverse = self.backend.scaled_rows(points, queries.inverse)
            a = inverse[:, 0]
        self.numbers = step.columns.labels if step.row.has_groups else None
        _, labels, _, left_out, *_, guide, bound = step.swept
        self.rows = Swept(points, a, None if self.numbers is None else labels, left_out, guide, bound)
        self.bias = self._of_ignored() if step.row.has_groups else step.row.bias
        if step.columns.mask is not None:
            self.bias = self._where(step.columns.mask)
        several = step.backend.changes_arrays() and step.width < queries.points.shape[0]
        self.scratch = Scratch(step.backend, several)

    def like_columns(self) -> Array:
        """A number for every column, in the type of the arithmetic."""
        return self.backend.xp.astype(self.step.numbers, self.step.sides.rows.points.dtype)

    def packed(self) -> Array:
        """What is left out of all rows, in bits. Eighths of the columns meet the rows of several tiles.

        Of many rows with fewer columns a product is made faster.
        """
        step, backend = self.step, self.backend
        scratch: Any = Scratch(backend, self.scratch.several)
        columns: Any = step.columns.guide
        several = 8 if backend.changes_arrays() else 1

        def of_tile(_: Any, guide: Array, bound: Array, said: Array | None) -> tuple[Any, tuple[Array, ...]]:
            rows = unit_of(backend, guide).T

            def left_out(first: int, last: int) -> Array:
                shape = last - first, rows.shape[1]
                out = scratch.take("cosines", rows, shape[0] * shape[1])
                out = None if out is None else backend.xp.reshape(out, shape)
                alike = backend.above(backend.product(columns[first:last, :], rows, out=out), bound)
                return alike if said is None else alike | said.T[first:last, :]

            packed = pack(backend.xp, columns.shape[0], left_out)
            tiles = backend.tiles(packed.shape[1], step.width) if several > 1 else [(0, packed.shape[1])]
            return {}, (backend.xp.concat([as_rows(backend.xp, packed[:, first:last]) for first, last in tiles]),)

        rows = self.rows.guide, self.rows.bound, self.rows.left_out
        return backend.sweep(of_tile, SUM, rows, several * step.width)[1][0]

    def tile(self, first: Any, rows: Swept, packed: Array | None = None) -> Tile:
        """The rows from the first on against all columns but those that are left out, which may be known in bits."""
        tile = self._of_all(first, rows)
        if packed is not None:
            zeroes = self.backend.changes_arrays()
            return self._without(tile, packed, partial(with_value, self.backend))._replace(zeroes=zeroes)
        left_out = left_out_of(self.step, rows)
        return tile if left_out is None else self._without(tile, left_out, self.backend.with_value)

    def _of_all(self, first: Any, rows: Swept) -> Tile:
        """The rows from the first on against all columns."""
        step, backend, columns, (x, a, labels, *_) = self.step, self.backend, self.step.columns, rows
        has_own = labels is None and (step.sides.columns.role in ("keys", step.sides.rows.role))
        if labels is None:
            labels = backend.numbers(x, step.numbers)
            labels = labels + (step.first_row + first) if has_own else backend.xp.full_like(labels, -1)
        product = Product(columns.points, x, step.row.scale, a, columns.factor, self.bias, labels, 0,
                          numbers=self.numbers)
        return backend.tile_of(None, labels, whole=has_own, scratch=self._scratch(x), product=product)

    def turned(self, first: Any, rows: Swept) -> Tile:
        """The same with the rows as classes and the columns as samples."""
        step, backend, columns, (x, a, *_) = self.step, self.backend, self.step.columns, rows
        of_samples = None if columns.factor is None else columns.factor[:, 0]
        of_classes = None if a is None else a[:, None]
        first = step.first_row + first
        turned = Product(x, columns.points, step.row.scale, of_samples, of_classes, step.row.bias, step.numbers, first)
        tile = backend.tile_of(None, step.numbers, first, product=turned)
        return tile if rows.left_out is None else self._without(tile, rows.left_out, self.backend.with_value)

    def _without(self, tile: Tile, left_out: Array, with_value: Callable[[Array, Array, Any], Array]) -> Tile:
        """The tile, multiplied, whose label's places are also those that are left out."""
        with_label = tile.with_label
        return tile._replace(
            logits=self.backend.logits(tile),
            with_label=lambda terms, value: with_value(with_label(terms, value), left_out, value))

    def product(self, slopes: Array, vectors: Array) -> Array:
        """A matrix product of the gradient."""
        if self.step.as_is:
            return self.backend.slope_product(slopes, vectors, self.step.columns.points.dtype)
        return self.backend.product(slopes, vectors)

    def _of_ignored(self) -> Array | None:
        """A logit of −∞ for samples that take no part; None where it is seen that all do."""
        xp, dtype = self.backend.xp, self.step.sides.rows.points.dtype
        part = takes_part(xp, self.step.columns.labels, self.step.row.ignore_index)
        if self.backend.surely_above(xp.astype(part, dtype), 0.5):
            return None
        return self._where(part)

    def _where(self, part: Array) -> Array:
        """A bias of −∞ for columns that take no part."""
        xp = self.backend.xp
        return xp.where(part, xp.zeros_like(part, dtype=self.step.sides.rows.points.dtype), -math.inf)[:, None]

    def _scratch(self, x: Array) -> Array | None:
        if not self.scratch.several:
            return None
        shape = self.step.columns.points.shape[0], x.shape[0]
        scratch: Any = self.scratch.take("product", self.step.sides.rows.points, shape[0] * shape[1])
        return self.backend.xp.reshape(scratch, shape)
