"""PyTorch's backend where a rank has some of the rows of a batch, and compares them with the columns of all ranks."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import pad

from anglos.arrays.monoid import Monoid

from .. import _namespace as xp
from .._backend import PyTorch
from .._backend import backend as _alone
from .group import Group
from .shards import combined

Counts = tuple[int, ...] | None
"""How many every rank has; None where that is as many as every other, and not known before."""


class Columns(PyTorch):
    """Columns are gathered in the order of the ranks, and what is found for them is summed where they came from."""

    alone = _alone

    def __init__(self, group: Group, row_counts: Counts, column_counts: Counts) -> None:
        super().__init__("torch", xp)
        self.places = group.size
        self.group, self.row_counts, self.column_counts = group, uneven(row_counts), uneven(column_counts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Columns) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[Any, ...]:
        return self.group, self.row_counts, self.column_counts

    def rows(self, own: torch.Tensor) -> Any:
        return own.shape[0] * self.group.size if self.row_counts is None else sum(self.row_counts)

    def first_row(self, own: torch.Tensor) -> Any:
        return before(self.group.rank, self.row_counts, own.shape[0])

    def columns(self, own: torch.Tensor) -> torch.Tensor:
        if self.column_counts is None:
            return self.group.gather(own)
        every = self.group.gather(self.filled_up(own, max(self.column_counts)))
        return every.index_select(0, self._places(every))

    def against(self, role: str, each: int) -> "Columns":
        if role == "negatives" or (self.row_counts is None and self.column_counts is None):
            return self
        rows = self.row_counts
        return Columns(self.group, rows, None if rows is None else tuple([each * number for number in rows]))

    def filled_up(self, array: torch.Tensor, rows: Any) -> torch.Tensor:
        """By one operation."""
        missing = rows - array.shape[0]
        return pad(array, (0, 0) * (array.ndim - 1) + (0, missing)) if missing else array

    def own_sums(self, parts: torch.Tensor) -> torch.Tensor:
        if self.column_counts is None:
            return self.group.scatter(parts)
        every = parts.new_zeros((self.group.size * max(self.column_counts), *parts.shape[1:]))
        sums = self.group.scatter(every.index_copy(0, self._places(parts), parts))
        return sums[:self.column_counts[self.group.rank]]

    def _places(self, like: torch.Tensor) -> torch.Tensor:
        """Of the columns, among as many of every rank as the one with the most has."""
        assert self.column_counts is not None
        most = max(self.column_counts)
        return torch.cat([torch.arange(rank * most, rank * most + count, device=like.device)
                          for rank, count in enumerate(self.column_counts)])

    def own_columns(self, columns: torch.Tensor) -> torch.Tensor:
        each = columns.shape[0] // self.group.size
        own = each if self.column_counts is None else self.column_counts[self.group.rank]
        first = before(self.group.rank, self.column_counts, each)
        return columns[first:first + own]

    def column_mean(self, own: torch.Tensor) -> torch.Tensor:
        number = own.shape[0] * self.group.size if self.column_counts is None else sum(self.column_counts)
        return self.group.sum(own.sum(dim=0)) / max(number, 1)

    def over_rows(self, monoid: Monoid, state: Any) -> Any:
        with_rows = None if self.row_counts is None else [rank for rank, count in enumerate(self.row_counts) if count]
        return combined(self.group, monoid, state, with_rows)

    def shift(self, own: torch.Tensor) -> torch.Tensor:
        return self.group.shift(own)

    def columns_from(self, place: int, pairs: torch.Tensor, many: int) -> torch.Tensor:
        rank = (self.group.rank - place) % self.group.size
        own = many if self.column_counts is None else self.column_counts[rank]
        first = before(rank, self.column_counts, many)
        found = pairs[:, first:first + own]
        return pad(found, (0, many - found.shape[1]))

    def remembered(self, columns: Any) -> Any:
        return columns if self.group.size > 1 else None

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[torch.Tensor | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        """Where this rank has no row, by one of zeros: whatever that adds to sums is multiplied by no gradient."""
        if self.row_counts is None or len(arrays[0]):  # type: ignore[arg-type]
            return super().sweep(tile, monoid, arrays, width)
        one = tuple([None if array is None else self.filled_up(array, 1) for array in arrays])
        state, outputs = super().sweep(tile, monoid, one, width)
        return state, tuple([None if output is None else output[:0] for output in outputs])


def uneven(counts: Counts) -> Counts:
    """The counts, if they are not all the same."""
    return None if counts is None or len(set(counts)) == 1 else counts


def before(rank: int, counts: Counts, each: Any) -> Any:
    """How many the ranks before this one have."""
    return rank * each if counts is None else sum(counts[:rank])
