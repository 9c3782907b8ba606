"""What the forward pass of engine 1 leaves for the gradient."""

from typing import Any, NamedTuple

from anglos.engines.numerics import Array
from anglos.engines.prototypes.batch import Batch, Directions
from anglos.engines.prototypes.row import Row


class Saved(NamedTuple):
    """Arrays of the size of the batch, and one that may be B × C."""

    directions: Directions
    length: Array | None
    """|x|, if the loss asks for it."""
    statistic: Array | None
    of_reduction: Any
    """The record of the reduction."""
    passed: Array | None
    """Of a loss with a gate: which samples have a gradient."""
    kept: Array | None
    """Of all classes the cosines, if curves start from these; else exponentials, or logits."""


class Remembered(NamedTuple):
    """What has the size of the batch, or of the classes alone, for a framework that cannot hand on the whole step."""

    batch: Batch | None
    inverses: dict[int, Array] | None


def unpack(row: Row, arrays: tuple[Array, ...]) -> Saved:
    """The record that was packed, without what was None: the row and the number of axes tell what that was."""
    (unit, inverse, label_unit), others = arrays[:3], list(arrays[3:])  # *others is a tuple to Dynamo of PyTorch 2.12
    label_inverse = others.pop(0) if others[0].ndim == label_unit.ndim else None  # cosines have one axis less
    cosines = others.pop(0)
    length = others.pop(0) if row.asks_for_length else None
    statistic = others.pop(0) if row.has_statistic else None
    kept = others.pop() if others[-1].ndim > 1 else None
    passed = None if row.gate is None else others.pop()
    return Saved(Directions(unit, inverse, label_unit, label_inverse, cosines), length, statistic,
                 row.reduction.saved(*others), passed, kept)
