"""What a batch has before any tile of classes: directions, and all that concerns the label's class."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, is_array, unit_rows
from anglos.engines.prototypes.directions import Prototypes
from anglos.engines.prototypes.row import Curve, Row, curve_of, unchanged


class Directions(NamedTuple):
    """x̂, (B, D), and ŵ_y, (B, D) or (B, K, D), with 1 / |x|, 1 / |w_y|, (..., 1), and their cosines, (B,) or (B, K)."""

    unit: Array
    inverse: Array
    label_unit: Array
    label_inverse: Array | None
    """None where the gradient of the label's prototypes is not computed separately."""
    cosines: Array


def in_type(backend: Backend, inputs: dict[str, Array], dtype: Any) -> dict[str, Array]:
    """The inputs with the embeddings in the type of the arithmetic; weights come to it a tile at a time."""
    embeddings = inputs["embeddings"]
    return inputs if embeddings.dtype == dtype else {**inputs, "embeddings": backend.xp.astype(embeddings, dtype)}


def directions_of(backend: Backend, inputs: dict[str, Array], prototypes: Prototypes | None = None) -> Directions:
    """Of the embeddings, and of the prototypes of their label's class: out of all, where these are given."""
    unit, inverse = unit_rows(backend, inputs["embeddings"])
    points, lengths, factor = prototypes or (None, None, None)
    are_unit = factor is None
    lengths = lengths if are_unit else factor
    if lengths is None:
        label_unit, label_inverse = unit_rows(backend, _of_label(backend, inputs, unit.dtype))
        return Directions(unit, inverse, label_unit, label_inverse, backend.cosines(unit, label_unit))
    points = _of_classes(backend, inputs, points)
    lengths = None if are_unit and label_joins(backend, inputs) else _of_classes(backend, inputs, lengths)
    return Directions(unit, inverse, *backend.label_directions(inputs["labels"], points, lengths, unit, are_unit))


def label_joins(backend: Backend, inputs: dict[str, Array]) -> bool:
    """Whether the label's class joins the others in the products of the gradient.

    Not with several prototypes per class: the nearest was chosen by the directions' cosines, not by those of a tile.
    """
    weights, samples = inputs["weights"], inputs["labels"].shape[0]
    return bool(weights.ndim == 2 and backend.label_joins(weights.shape[0], samples))


class Batch(NamedTuple):
    """All else that has size B: what is compared, and cosine, φ and logit of the label's class."""

    points: Array
    """x̂ or x: what the loss compares."""
    label_points: Array
    length: Any
    """|x| where the loss asks for it."""
    embedding_length: Any
    weight_length: Any
    cos: Array
    mix: Array | None
    """Of several prototypes: ∂cos / ∂cosines, (B, K)."""
    target: Curve
    logit: Array


def length_of(backend: Backend, row: Row, inputs: dict[str, Array], directions: Directions) -> Any:
    """|x|, (B,), where the loss asks for it."""
    return backend.dot(inputs["embeddings"], directions.unit) if row.asks_for_length else None


def batch_of(backend: Backend, row: Row, inputs: dict[str, Array], directions: Directions, length: Any) -> Batch:
    """Lengths, cosine, φ and logit of the label's class."""
    (unit, _, label_unit, _, cosines), mix = directions, None
    points, label_points = unit, label_unit
    embedding_length: Any = 1.0
    weight_length: Any = 1.0
    if not row.normalize_embeddings:
        points, embedding_length = inputs["embeddings"], length
    if not row.normalize_weights:
        label_points = _of_label(backend, inputs, unit.dtype)
        weight_length = backend.total(backend.dot(label_points, label_unit))
    cos, merged = cosines, None
    if row.merge is not None:
        merged = row.merge(backend, cosines)
        cos, mix = merged.value, merged.slope
    cos = backend.clip(cos, -1.0, 1.0)
    target = curve_of(backend, row, row.target, cos, length, merged)
    if row.target is unchanged and mix is None and not (row.normalize_embeddings and row.normalize_weights):
        # Not by way of lengths and cosine: a zero vector of free length has a slope, and its cosine has none.
        logit = row.scale * backend.total(backend.dot(points, label_points))
    else:
        logit = row.scale * embedding_length * weight_length * target.value
    if row.bias is not None:
        logit = logit + label_bias(backend, row, inputs["labels"])
    return Batch(points, label_points, length, embedding_length, weight_length, cos, mix, target, logit)


def label_bias(backend: Backend, row: Row, labels: Array) -> Any:
    """b_y, (B,), or b where all classes have the same."""
    return backend.total(backend.of_label(row.bias, labels)) if per_class(row.bias) else row.bias


def _of_label(backend: Backend, inputs: dict[str, Array], dtype: Any) -> Array:
    """The prototypes of the label's class, in the type of the arithmetic."""
    return backend.xp.astype(backend.of_label(inputs["weights"], inputs["labels"]), dtype, copy=False)


def _of_classes(backend: Backend, inputs: dict[str, Array], prototypes: Array) -> Array:
    """What the prototypes of all classes have, one a row, in the shape of the weights."""
    shape = inputs["weights"].shape
    if prototypes.ndim == len(shape):
        return prototypes
    return backend.xp.reshape(prototypes, (*shape[:-1], prototypes.shape[-1]))


def per_class(bias: Any) -> bool:
    return bias is not None and is_array(bias) and bias.ndim == 1


def class_bias(row: Row) -> Array | None:
    """The bias that is cut into tiles with the classes; None for any other."""
    return row.bias if per_class(row.bias) else None
