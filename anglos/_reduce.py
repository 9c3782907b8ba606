"""From the losses of the rows to one number, and back."""

import math
from typing import Any, NamedTuple

from anglos._backend import Array, Backend
from anglos._check import check_labels


class Rows(NamedTuple):
    """The weight of every row, and which rows count; None where all do alike."""

    weight: Array | None
    counted: Array | None


def settle_labels(caller: str, backend: Backend, labels: Array, classes: int, ignore_index: int,
                  sample_weight: Array | None) -> tuple[Rows, Array]:
    """Which rows count and how much, and labels that can be looked up; refused where they can be read and are wrong."""
    labels = backend.xp.astype(labels, backend.index_type, copy=False)
    if check_labels(caller, backend, labels, classes, ignore_index):
        return Rows(sample_weight, None), labels
    return rows_of(backend.xp, labels, classes, ignore_index, sample_weight)


def rows_of(xp: Any, labels: Array, classes: int, ignore_index: int, sample_weight: Array | None
            ) -> tuple[Rows, Array]:
    """Rows and labels that can be looked up without care, when a label may be ignored or out of range.

    A label out of range cannot be refused under a trace or on another device: its row becomes NaN.
    """
    inside = (labels >= 0) & (labels < classes)
    counted = labels != ignore_index
    dtype = xp.float32 if sample_weight is None else sample_weight.dtype
    weight = xp.where(inside, xp.ones_like(labels, dtype=dtype), math.nan)
    if sample_weight is not None:
        weight = weight * sample_weight
    weight = xp.where(counted, weight, 0.0)
    return Rows(weight, counted), xp.where(inside, labels, 0)


def reduce(xp: Any, per_row: Array, rows: Rows, reduction: str) -> Array:
    """none: w_i ℓ_i.  sum: Σ w_i ℓ_i.  mean: Σ w_i ℓ_i / Σ w_i, and 0 if all weights are 0."""
    weighted = per_row if rows.weight is None else per_row * xp.astype(rows.weight, per_row.dtype, copy=False)
    if rows.counted is not None:
        weighted = xp.where(rows.counted, weighted, 0.0)
    if reduction == "none":
        return weighted
    total = xp.sum(weighted)
    return total if reduction == "sum" else total / _divisor(xp, per_row, rows)


def reduce_pullback(xp: Any, per_row: Array, rows: Rows, reduction: str) -> tuple[Array, Array | None]:
    """∂/∂ℓ_i = w_i and ∂/∂w_i = ℓ_i; for the mean L, w_i / Σ w and (ℓ_i − L) / Σ w."""
    weight = xp.ones_like(per_row) if rows.weight is None else xp.astype(rows.weight, per_row.dtype, copy=False)
    d_weight = per_row
    if reduction == "mean":
        divisor = _divisor(xp, per_row, rows)
        weight, d_weight = weight / divisor, (per_row - reduce(xp, per_row, rows, "mean")) / divisor
    if rows.weight is None:
        return weight, None
    if rows.counted is not None:
        d_weight = xp.where(rows.counted, d_weight, 0.0)
    return weight, xp.astype(d_weight, rows.weight.dtype, copy=False)


def _divisor(xp: Any, per_row: Array, rows: Rows) -> Any:
    if rows.weight is None:
        return max(per_row.shape[0], 1)
    total = xp.sum(xp.astype(rows.weight, per_row.dtype, copy=False))
    return xp.where(total == 0.0, 1.0, total)
