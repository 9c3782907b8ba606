"""From the losses of the rows to one number, and back."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array
from anglos.call.check_labels import check_groups, check_labels, check_pair_weights
from anglos.engines.groups import are_weights, repeat_themselves, takes_part


class Rows(NamedTuple):
    """The weight of every row, and which rows count; None where all do alike."""

    weight: Array | None
    counted: Array | None
    terms: Array | None = None
    """What a row adds to the mean's divisor, times its weight, where the engine does not say; None for 1."""


def settle(caller: str, backend: Backend, kinds: Mapping[str, Any], inputs: dict[str, Array], independent: bool,
           classes: Any, ignore_index: Any) -> tuple[Rows, dict[str, Array]]:
    """Which rows count and how much, and the arrays with labels that can be used and zeros in rows that do not."""
    rows = Rows(inputs.pop("sample_weight", None), None)
    if "labels" in inputs and not independent:
        rows, inputs = settle_groups(caller, backend, inputs, classes, ignore_index, rows.weight)
    elif "labels" in inputs and kinds["labels"].dtype == "integral":
        rows, inputs["labels"] = settle_labels(caller, backend, inputs["labels"], classes, ignore_index, rows.weight,
                                               inputs.get("class_weight"))
    elif "row_mask" in inputs:
        rows = masked_rows(backend.xp, inputs["row_mask"], rows.weight)
    if rows.counted is not None:
        inputs = {name: zero_elsewhere(backend.xp, kinds[name], array, rows.counted)
                  for name, array in inputs.items()}
    return rows, inputs


def settle_labels(caller: str, backend: Backend, labels: Array, classes: int, ignore_index: int,
                  sample_weight: Array | None, class_weight: Array | None = None) -> tuple[Rows, Array]:
    """Which rows count and how much, and labels that can be looked up; refused where they can be read and are wrong."""
    labels = backend.as_index(labels)
    if check_labels(caller, backend, labels, classes, ignore_index):
        rows = Rows(sample_weight, None)
    else:
        rows, labels = rows_of(backend.xp, labels, classes, ignore_index, sample_weight)
    if class_weight is not None:
        rows = rows._replace(terms=backend.xp.take(backend.stop_gradient(class_weight), labels, axis=0))
    return rows, labels


def settle_groups(caller: str, backend: Backend, inputs: dict[str, Array], classes: int | None, ignore_index: int,
                  sample_weight: Array | None) -> tuple[Rows, dict[str, Array]]:
    """The same where labels are compared with each other, and any integer is one, or with the numbers of proxies."""
    xp, inputs = backend.xp, dict(inputs)
    if are_weights(xp, inputs["labels"]):
        return Rows(_row_weights(caller, backend, inputs["labels"], sample_weight), None), inputs
    unseen = []
    for name in {"labels", "reference_labels"} & inputs.keys():
        given, inputs[name] = inputs[name], backend.as_index(inputs[name])
        seen = check_groups(caller, backend, name, given, inputs[name], ignore_index)
        if not seen and 0 not in inputs[name].shape:
            unseen.append(name)
    labels = inputs["labels"]
    counted = takes_part(xp, labels, ignore_index)
    if classes is not None:  # rows are the proxies
        if not check_labels(caller, backend, labels, classes, ignore_index):
            inside = (labels >= 0) & (labels < classes) | ~counted
            inputs["embeddings"] = xp.where(inside[:, None], xp.where(counted[:, None], inputs["embeddings"], 0.0),
                                            math.nan)
        return Rows(None, None), inputs
    rows = masked_rows(xp, counted, sample_weight)
    if "labels" in unseen:
        beyond = labels == xp.iinfo(labels.dtype).max
        beyond = beyond if labels.ndim == 1 else xp.any(beyond, axis=1)
        rows = rows._replace(weight=xp.where(beyond, math.nan, rows.weight))
    for several in (inputs[name] for name in unseen if inputs[name].ndim == 2):
        few = repeat_themselves(several, xp.min(several), xp.max(several), ignore_index)
        rows = rows._replace(weight=xp.where(few, math.nan, rows.weight))
    return rows, inputs


def masked_rows(xp: Any, mask: Array, sample_weight: Array | None) -> Rows:
    """The rows that are not left out."""
    weight = xp.ones_like(mask, dtype=xp.float32) if sample_weight is None else sample_weight
    return Rows(xp.where(mask, weight, 0.0), mask)


def _row_weights(caller: str, backend: Backend, pair_weights: Array, sample_weight: Array | None) -> Array | None:
    """The weights of rows; NaN where a row's weights of pairs may not be looked at and are wrong."""
    if check_pair_weights(caller, backend, pair_weights):
        return sample_weight
    xp = backend.xp
    least, most, total = (of(pair_weights, axis=1) for of in (xp.min, xp.max, xp.sum))  # the sum of a NaN is NaN
    weight = xp.ones_like(least, dtype=xp.float32) if sample_weight is None else sample_weight
    return xp.where((least >= 0.0) & (most < math.inf) & (total == total), weight, math.nan)


def rows_of(xp: Any, labels: Array, classes: int, ignore_index: int, sample_weight: Array | None
            ) -> tuple[Rows, Array]:
    """Rows and labels that can be looked up without care, when a label may be ignored or out of range.

    A label out of range cannot be refused under a trace or on another device: its row becomes NaN.
    """
    inside = (labels >= 0) & (labels < classes)
    counted = labels != ignore_index
    rows = masked_rows(xp, counted, sample_weight)
    return Rows(xp.where(counted & ~inside, math.nan, rows.weight), counted), xp.where(inside, labels, 0)


def zero_elsewhere(xp: Any, kind: Any, array: Array, counted: Any) -> Array:
    """Zeros in the place of ignored rows: 0 times a NaN that padding may hold would be NaN in the gradient."""
    per_sample = any(shape.startswith("B") for shape in kind.shapes)
    if kind.dtype != "real floating" or array.ndim == 0 or not per_sample:
        return array
    return xp.where(counted[:, None] if array.ndim == 2 else counted, array, 0.0)


def reduce(xp: Any, per_sample: Array, rows: Rows, reduction: str, count: Array | None = None) -> Array:
    """none: w_i ℓ_i.  sum: Σ w_i ℓ_i.  mean: Σ w_i ℓ_i / Σ w_i n_i, and 0 if that is 0; n_i terms are in ℓ_i, or 1."""
    weighted = per_sample if rows.weight is None else per_sample * xp.astype(rows.weight, per_sample.dtype, copy=False)
    if rows.counted is not None:
        weighted = xp.where(rows.counted, weighted, 0.0)
    if reduction == "none":
        return weighted
    total = xp.sum(weighted)
    return total if reduction == "sum" else total / _divisor(xp, per_sample, rows, count)


def reduce_pullback(xp: Any, per_sample: Array, rows: Rows, reduction: str, count: Array | None = None
                    ) -> tuple[Array, Array | None]:
    """∂/∂ℓ_i = w_i and ∂/∂w_i = ℓ_i; for the mean L, w_i / Σ w n and (ℓ_i − n_i L) / Σ w n."""
    count = rows.terms if count is None else count
    divisor = _divisor(xp, per_sample, rows, count) if reduction == "mean" else 1
    if rows.weight is None:
        return xp.full_like(per_sample, 1.0) / divisor, None
    weight, d_weight = xp.astype(rows.weight, per_sample.dtype, copy=False) / divisor, per_sample
    if reduction == "mean":
        mean = reduce(xp, per_sample, rows, "mean", count)
        d_weight = (per_sample - mean * (1.0 if count is None else count)) / divisor
    if rows.counted is not None:
        d_weight = xp.where(rows.counted, d_weight, 0.0)
    return weight, xp.astype(d_weight, rows.weight.dtype, copy=False)


def _divisor(xp: Any, per_sample: Array, rows: Rows, count: Array | None) -> Any:
    count = rows.terms if count is None else count
    if rows.weight is None and count is None and per_sample.shape[0] is not None:
        return max(per_sample.shape[0], 1)
    number = xp.ones_like(per_sample) if count is None else xp.astype(count, per_sample.dtype, copy=False)
    if rows.weight is not None:
        number = number * xp.astype(rows.weight, per_sample.dtype, copy=False)
        if rows.counted is not None and count is not None:
            number = xp.where(rows.counted, number, 0.0)
    total = xp.sum(number)
    return xp.where(total == 0.0, 1.0, total)
