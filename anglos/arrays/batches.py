"""Rows of a batch that is cut over several ranks: each compares its own with the columns of all, in their order."""

from collections.abc import Callable
from typing import Any

from anglos.arrays.library import Array, Library
from anglos.arrays.monoid import Monoid


class Batches(Library):
    """A batch that is whole: all rows and columns are one's own."""

    places: int = 1
    """How many ranks there are, in a ring."""

    column_counts: tuple[int, ...] | None = None
    """How many columns each has; None where that is as many as every other."""

    @property
    def alone(self) -> Any:
        """The backend of who shares no batch."""
        return self

    def rows(self, own: Array) -> Any:
        """How many rows all ranks have."""
        return own.shape[0]

    def first_row(self, own: Array) -> Any:
        """The number that the first of one's own rows has among the columns, where these are of the same samples."""
        return 0

    def against(self, role: str, each: int) -> Any:
        """The backend for columns of this role: negatives, or else so many for each row."""
        return self

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

    def filled_up(self, array: Array, rows: Any) -> Array:
        """The array with rows of zeros behind its own, so many in all."""
        missing = rows - array.shape[0]
        if not missing:
            return array
        zeros = self.xp.zeros((missing, *array.shape[1:]), dtype=array.dtype, device=self.device(array))
        return self.xp.concat([array, zeros], axis=0)

    def shift(self, own: Array) -> Array:
        """What the rank before has; all have as many."""
        return own

    def turns(self, turn: Callable[[Any, Any], Any], carry: Any) -> Any:
        """turn(place, carry) -> carry, for all places but the last."""
        for place in range(self.places - 1):
            carry = turn(place, carry)
        return carry

    def columns_from(self, place: Any, pairs: Array, many: int) -> Array:
        """Of what belongs to own rows and all columns, (b, N), that of the rank so many places before, filled up."""
        return pairs
