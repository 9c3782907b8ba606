"""Tiles of all columns, as classes, against some rows, as samples; and the same the other way round."""

import math
from typing import Any

from anglos.arrays.scratch import Scratch
from anglos.arrays.tile import Product, Tile
from anglos.engines.groups import takes_part
from anglos.engines.numerics import Array
from anglos.engines.pairs.step import Step

Rows = tuple[Array, Array | None, Array | None]


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
        self.rows: Rows = (points, a, None if self.numbers is None else step.swept.labels)
        """What is multiplied by the columns, the factors of that, and which columns' number is left out."""
        self.bias = self._of_ignored() if step.row.has_groups else step.row.bias
        several = step.backend.changes_arrays() and step.width < queries.points.shape[0]
        self.scratch = Scratch(step.backend, several)

    def like_columns(self) -> Array:
        """A number for every column, in the type of the arithmetic."""
        return self.backend.xp.astype(self.step.numbers, self.step.sides.rows.points.dtype)

    def tile(self, first: Any, x: Array, a: Array | None, labels: Array | None) -> Tile:
        """The rows from the first on against all columns."""
        step, backend, columns = self.step, self.backend, self.step.columns
        has_own = labels is None and (step.sides.columns.role in ("keys", step.sides.rows.role))
        if labels is None:
            labels = backend.numbers(x, step.numbers)
            labels = labels + (step.first_row + first) if has_own else backend.xp.full_like(labels, -1)
        product = Product(columns.points, x, step.row.scale, a, columns.factor, self.bias, labels, 0,
                          numbers=self.numbers)
        return backend.tile_of(None, labels, whole=has_own, scratch=self._scratch(x), product=product)

    def turned(self, first: Any, x: Array, a: Array | None) -> Tile:
        """The same with the rows as classes and the columns as samples."""
        step, backend, columns = self.step, self.backend, self.step.columns
        of_samples = None if columns.factor is None else columns.factor[:, 0]
        of_classes = None if a is None else a[:, None]
        first = step.first_row + first
        turned = Product(x, columns.points, step.row.scale, of_samples, of_classes, step.row.bias, step.numbers, first)
        return backend.tile_of(None, step.numbers, first, product=turned)

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
        return xp.where(part, xp.zeros_like(part, dtype=dtype), -math.inf)[:, None]

    def _scratch(self, x: Array) -> Array | None:
        if not self.scratch.several:
            return None
        shape = self.step.columns.points.shape[0], x.shape[0]
        scratch: Any = self.scratch.take("product", self.step.sides.rows.points, shape[0] * shape[1])
        return self.backend.xp.reshape(scratch, shape)
