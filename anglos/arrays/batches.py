"""Rows of a batch that is cut over several ranks: each compares its own with the columns of all, in their order."""

from typing import Any

from anglos.arrays.library import Array, Library
from anglos.arrays.monoid import Monoid


class Batches(Library):
    """A batch that is whole: all rows and columns are one's own."""

    def rows(self, own: Array) -> Any:
        """How many rows all ranks have."""
        return own.shape[0]

    def first_row(self, own: Array) -> Any:
        """The number that the first of one's own rows has among the columns, where these are of the same samples."""
        return 0

    def columns(self, own: Array) -> Array:
        """What belongs to the columns of all ranks, (N, ...)."""
        return own

    def own_columns(self, columns: Array) -> Array:
        """Of what belongs to all columns, that of one's own."""
        return columns

    def own_sums(self, parts: Array) -> Array:
        """Of one's own columns the sum of what all ranks found for them; parts are of all columns."""
        return parts

    def column_mean(self, own: Array) -> Array:
        """The mean of all columns, (D,); 0 of none."""
        return self.xp.sum(own, axis=0) if 0 in own.shape else self.xp.mean(own, axis=0)

    def over_rows(self, monoid: Monoid, state: Any) -> Any:
        """The states that the rows of every rank gave to all columns, as one."""
        return state

    def remembered(self, columns: Any) -> Any:
        """What is kept of the columns until the gradient; None where they are at hand again."""
        return None
