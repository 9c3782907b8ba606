"""What the forward pass over pairs leaves for the gradient."""

from typing import Any, NamedTuple

from anglos.engines.numerics import Array
from anglos.engines.pairs.columns import COLUMNS
from anglos.engines.pairs.row import PairRow


class Saved(NamedTuple):
    """Of all rows and columns."""

    count: Array
    """How many terms there are in the loss of every row, (B,)."""
    chosen: tuple[Array, ...] = ()
    """What the rows chose."""
    columns: Any = None
    """What the slopes of a symmetric loss need of the columns: a `COLUMNS.saved`."""


def unpack(row: PairRow, arrays: tuple[Array, ...]) -> Saved:
    """The record whose arrays these are."""
    count, *others = arrays
    if not row.symmetric:
        return Saved(count, tuple(others))
    return Saved(count, tuple(others[:-4]), COLUMNS.saved(*others[-4:]))
