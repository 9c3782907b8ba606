"""Which pairs of a tile are positive and which negative, and how much a positive weighs."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.groups import columns_of, share_a_label, takes_part
from anglos.engines.numerics import Array, float_type
from anglos.engines.pairs.guide import unit_of
from anglos.engines.pairs.step import Rows, Step


class Masks(NamedTuple):
    """Of rows against columns, (A, N)."""

    positive: Array
    negative: Array
    weight: Array | None = None
    of_columns: Array | None = None
    """Which are negatives to the columns; None for the same."""


def masks_of(step: Step, first: Any, rows: Rows) -> Masks:
    """Those of the rows from the first on."""
    number = step.backend.numbers(rows.points, step.numbers) + (step.first_row + first)
    if step.columns.labels is None and not step.weighs:
        masks = _by_position(step, number, rows, left_out_of(step, rows))
        if rows.guide is None or not step.row.symmetric:
            return masks
        others = _by_position(step, number, rows, left_out_of(step, rows, of_columns=True))
        return masks._replace(of_columns=others.negative)
    masks = (_by_target if step.of_targets else _by_weight if step.weighs else _by_label)(step, number, rows)
    if rows.left_out is not None:
        masks = masks._replace(positive=masks.positive & ~rows.left_out, negative=masks.negative & ~rows.left_out)
    if rows.guide is not None:
        masks = masks._replace(negative=masks.negative & ~_guided(step, rows, masks.positive))
    return masks


def left_out_of(step: Step, rows: Any, *, of_columns: bool = False) -> Array | None:
    """Which columns are no negatives of the rows, (N, A), as was said or by a guide; or to which the rows are none."""
    said: Array | None = None if rows.left_out is None else rows.left_out.T
    if rows.guide is None:
        return said
    bound: Any = step.columns.bound if of_columns else rows.bound
    cos = step.backend.product(step.columns.guide, unit_of(step.backend, rows.guide).T)
    alike = cos > (bound[:, None] if of_columns else bound)
    return alike if said is None else alike | said


def _guided(step: Step, rows: Rows, positive: Array) -> Array:
    """Which are nearer to the row than every positive, by the guide."""
    xp, columns = step.backend.xp, step.columns.guide
    cos = step.backend.product(unit_of(step.backend, rows.guide), columns.T)  # type: ignore[union-attr]
    nearest = xp.max(xp.where(positive, cos, -2.0), axis=1)
    return cos > xp.where(nearest == -2.0, 2.0, step.row.guide.bound(xp, nearest))[:, None]


def _by_label(step: Step, number: Array, rows: Rows) -> Masks:
    """A positive has a label in common with the row."""
    ignore_index, of_columns = step.row.ignore_index, step.columns.labels
    positive = share_a_label(number if rows.labels is None else rows.labels, of_columns, ignore_index)
    negative = ~positive
    if ignore_index is not None:
        part = takes_part(step.backend.xp, of_columns, ignore_index)[None, :]
        positive, negative = positive & part, negative & part
    return Masks(positive & _others(step, number) if step.one_set else positive, negative)


def _by_weight(step: Step, number: Array, rows: Rows) -> Masks:
    """A positive has a weight in the row."""
    xp = step.backend.xp
    given = step.backend.stop_gradient(xp.astype(rows.labels, rows.points.dtype, copy=False))
    positive, negative = given > 0.0, given == 0.0
    weight = xp.where(positive, given, 1.0)
    if step.one_set:
        others = _others(step, number)
        positive, negative = positive & others, negative & others
    return Masks(positive, negative, weight)


def _by_target(step: Step, number: Array, rows: Rows) -> Masks:
    """All others are positives; as their weights Σ_t |a_t − b_t| of both targets, or Σ_t (a_t − b_t)² for "l2".

    In the type of the targets: only its order counts.
    """
    xp, apart = step.backend.xp, None
    targets: tuple[Any, ...] = (rows.labels, step.columns.labels)
    squared = step.row.target_distance == "l2" and targets[0].ndim > 1
    own, others = (columns_of(_real(step.backend, one, rows.points.dtype if squared else None)) for one in targets)
    for a, b in zip(own, others, strict=True):
        term = xp.abs(a[:, None] - b[None, :])
        term = term * term if squared else term
        apart = term if apart is None else apart + term
    positive = _others(step, number)
    return Masks(positive, ~positive & positive, apart)


def _real(backend: Backend, targets: Array, dtype: Any) -> Array:
    """In a type that differences fit into; integers as numbers of a type, if they are to be."""
    xp = backend.xp
    if xp.isdtype(targets.dtype, "real floating"):
        return xp.astype(targets, float_type(xp, targets), copy=False)
    return backend.as_index(targets) if dtype is None else xp.astype(targets, dtype)


def _by_position(step: Step, number: Array, rows: Rows, left_out: Array | None) -> Masks:
    """The positive is the row's key, or has its number; what is left out is (N, A)."""
    xp, left_out = step.backend.xp, None if left_out is None else left_out.T
    if rows.keys is None:
        positive = ~_others(step, number)
    else:
        here, nowhere = (number == number)[:, None], number[:, None] != number[:, None]
        positive = xp.concat([here, nowhere & (step.numbers[None, :] < 0)], axis=1)
        left_out = None if left_out is None else xp.concat([nowhere, left_out], axis=1)
    negative = ~positive if left_out is None else ~positive & ~left_out
    if rows.mask is not None:
        negative = negative & rows.mask[:, None]
    if step.columns.mask is not None:
        counted = step.columns.mask[None, :]
        negative = negative & (counted if rows.keys is None else xp.concat([counted[:, :1], counted], axis=1))
    return Masks(positive, negative)


def _others(step: Step, number: Array) -> Array:
    """Columns that have another number than the row."""
    return number[:, None] != step.numbers[None, :]
