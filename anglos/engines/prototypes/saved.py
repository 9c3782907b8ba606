"""What the forward pass of engine 1 leaves for the gradient."""

from typing import Any, NamedTuple

from anglos.engines.numerics import Array
from anglos.engines.prototypes.batch import Directions
from anglos.engines.prototypes.row import Row


class Saved(NamedTuple):
    """What `forward` returns for the gradient."""

    directions: Directions
    length: Array | None
    statistic: Array | None
    of_reduction: tuple[Array, ...]
    passed: Array | None
    kept: Array | None


def saved_of(row: Row, residuals: Any) -> Saved:
    """The same, from the tuple."""
    others = list(residuals)
    unit, inverse, label_unit = others[:3]
    del others[:3]
    label_inverse = others.pop(0) if others[0].ndim > 1 and others[0].shape[-1:] == (1,) else None  # cosines follow
    directions = Directions(unit, inverse, label_unit, label_inverse, others.pop(0))
    length = others.pop(0) if row.asks_for_length else None
    statistic = None if row.statistic is None and row.nearest is None else others.pop(0)
    kept = others.pop() if others[-1].ndim > 1 else None
    passed = None if row.gate is None else others.pop()
    return Saved(directions, length, statistic, tuple(others), passed, kept)
