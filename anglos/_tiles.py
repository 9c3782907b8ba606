"""What comes of a batch, and of a batch and a tile of classes, before any loss is taken."""

from typing import Any, NamedTuple

from anglos._numerics import Array, float_type, unit_rows
from anglos._reductions import Tile, tile_of
from anglos._row import Curve, Row, unchanged


class Batch(NamedTuple):
    """All that has size B: the embeddings, and their cosine and logit with the prototype of their own class."""

    points: Array
    unit: Array
    inverse: Array
    length: Array
    embedding_length: Any
    weight_length: Any
    cos: Array
    target: Curve
    logit: Array


def batch_of(backend: Any, row: Row, inputs: dict[str, Array]) -> Batch:
    """Norms, cosine, φ and logit of the label's class."""
    xp, dtype = backend.xp, float_type(backend.xp, inputs["embeddings"], inputs["weights"])
    x = xp.astype(inputs["embeddings"], dtype, copy=False)
    w = xp.astype(xp.take(inputs["weights"], inputs["labels"], axis=0), dtype, copy=False)
    unit, inverse = unit_rows(xp, x)
    w_unit, _ = unit_rows(xp, w)
    if row.merge is None:
        cos = xp.sum(unit * w_unit, axis=-1)
    else:
        cos, _ = row.merge(backend, xp.sum(unit[:, None, :] * w_unit, axis=-1))
    cos = xp.clip(cos, -1.0, 1.0)
    length = xp.sum(x * unit, axis=-1)
    target = _curve(backend, row, cos, row.target(backend, cos, length))
    embedding_length = 1.0 if row.normalize_embeddings else length
    weight_length = 1.0 if row.normalize_weights else xp.sum(w * w_unit, axis=-1)
    points = unit if row.normalize_embeddings else x
    if row.target is unchanged and row.merge is None:
        # Not by way of lengths and cosine: a zero vector of free length has a slope, and its cosine has none.
        logit = row.scale * xp.sum(points * (w_unit if row.normalize_weights else w), axis=-1)
    else:
        logit = row.scale * embedding_length * weight_length * target.value
    if row.bias is not None:
        logit = logit + (xp.take(row.bias, inputs["labels"], axis=0) if per_class(row.bias) else row.bias)
    return Batch(points, unit, inverse, length, embedding_length, weight_length, cos, target, logit)


def _curve(backend: Any, row: Row, cos: Array, curve: Curve) -> Curve:
    """The curve, or for a straight-through gradient its value with slope 1: so for all who differentiate it."""
    if not row.straight_through:
        return curve
    return curve._replace(value=cos + backend.stop_gradient(curve.value - cos), slope=1.0)


class Visit(NamedTuple):
    """T classes: prototypes, (T, D) or (T·K, D), their cosines and slopes, (T, K, B), and the classes' own, (T, B)."""

    prototypes: Array
    unit: Array
    inverse: Array
    cosines: Array | None
    mix: Array | None
    cos: Array
    rest: Curve | None
    tile: Tile


def visit_tile(backend: Any, row: Row, batch: Batch, statistic: Any, labels: Array, first: Any, weights: Array,
               bias: Array | None) -> Visit:
    """The logits of a tile with all that led to them."""
    xp = backend.xp
    w = xp.reshape(xp.astype(weights, batch.points.dtype, copy=False), (-1, weights.shape[-1]))
    unit, inverse = unit_rows(xp, w)
    prototypes = unit if row.normalize_weights else w
    cosines, mix, rest = None, None, None
    if row.merge is None and row.rest is None:
        cos = logits = prototypes @ (row.scale * batch.points).T
    else:
        cos = prototypes @ batch.unit.T
        if row.merge is not None:
            cosines = xp.reshape(cos, (*weights.shape[:2], cos.shape[1]))
            cos, mix = row.merge(backend, cosines)
        value = cos
        if row.rest is not None:
            cos = xp.clip(cos, -1.0, 1.0)
            rest = _curve(backend, row, cos, row.rest(backend, cos, statistic))
            value = rest.value
        logits = row.scale * batch.embedding_length * value
    if bias is not None:
        logits = logits + bias[:, None]
    elif row.bias is not None:
        logits = logits + row.bias
    tile = tile_of(backend, logits, labels, first)
    return Visit(prototypes, unit, inverse, cosines, mix, cos, rest, tile)


def statistic_of(backend: Any, row: Row, batch: Batch, inputs: dict[str, Array]) -> Any:
    """The row statistic; the k-th largest cosine costs a sweep of its own."""
    if row.statistic is None:
        return None
    xp, labels = backend.xp, inputs["labels"]

    def largest(count: int) -> Array:
        count = min(count, inputs["weights"].shape[0])

        def visit(first: Any, weights: Array) -> tuple[Array, tuple[()]]:
            unit, _ = unit_rows(xp, xp.astype(weights, batch.unit.dtype, copy=False))
            tile = tile_of(backend, unit @ batch.unit.T, labels, first)
            cos = xp.where(tile.own, -2.0, tile.logits)
            # As many as asked for, however small the tile: lax.scan wants one shape.
            nothing = xp.zeros_like(cos[:1, ...]) - 2.0
            return sort_down(xp.concat([cos, *[nothing] * max(count - cos.shape[0], 0)], axis=0)), ()

        def sort_down(cos: Array) -> Array:
            return xp.sort(cos, axis=0, descending=True)[:count, ...]

        ranked, _ = backend.sweep(visit, lambda a, b: sort_down(xp.concat([a, b], axis=0)), (inputs["weights"],),
                                  backend.tile_width(labels.shape[0]))
        return ranked[-1, ...]

    return row.statistic(backend, batch.cos, largest)


def swept(row: Row, inputs: dict[str, Array]) -> tuple[Array, Array | None]:
    return inputs["weights"], row.bias if per_class(row.bias) else None


def per_class(bias: Any) -> bool:
    return getattr(bias, "ndim", 0) == 1
