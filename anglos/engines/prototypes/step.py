"""What comes of a batch and a tile of classes, before any loss is taken."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from anglos.arrays.scratch import Scratch
from anglos.engines.numerics import Array
from anglos.engines.prototypes.batch import Batch, Directions, batch_of, class_bias, in_type
from anglos.engines.prototypes.directions import Prototypes, products, prototypes_of
from anglos.engines.prototypes.row import NO_OPTIONS, Curve, Row, curve_of
from anglos.engines.reductions import Tile, tile_of

_PILOTS = 256
"""So many classes tell where the logits of all are."""


def kept_and_width(backend: Any, inputs: dict[str, Array], keep_bytes: int) -> tuple[bool, int]:
    """Whether one number per row and prototype may be kept, and how many classes make a tile."""
    (classes, *several, dimension), rows = inputs["weights"].shape, inputs["labels"].shape[0]
    if rows is None:  # known to be any number
        return False, classes
    each = math.prod(several)
    keep = each * classes * rows * backend.xp.finfo(inputs["embeddings"].dtype).bits <= 8 * keep_bytes
    return keep, backend.class_tile_width(inputs["embeddings"], rows * each, dimension * each, classes, keep)


class Visit(NamedTuple):
    """T classes: their prototypes and cosines, (T·K, B), those of the classes, (T, B), and the logits as a tile."""

    prototypes: Prototypes
    cosines: Array | None
    mix: Array | None
    cos: Array | None
    rest: Curve | None
    option_slopes: Mapping[str, Any]
    """Of η, or of the merge where there is no η."""
    tile: Tile


def keeps_product(row: Row) -> bool:
    """Whether cosines are kept, which curves and the choice among prototypes start from, or what comes of them."""
    return row.merge is not None or row.rest is not None


def visit_tile(backend: Any, row: Row, batch: Batch, unit: Array, statistic: Any, labels: Array, first: Any,
               weights: Array, bias: Array | None, scratch: Scratch, room: Array | None = None,
               kept: Array | None = None, prototypes: Prototypes | None = None,
               inverses: dict[int, Array] | None = None, again: bool = False) -> Visit:
    """The logits of a tile with all that led to them; products go to the room, or were kept from a visit before.

    Prototypes are given of an only tile, with all classes. Again: kept products are computed once more for their
    derivatives.
    """
    xp, whole = backend.xp, prototypes is not None
    keeps = keeps_product(row)
    prototypes = prototypes or prototypes_of(backend, row, weights, batch.points.dtype, labels.shape[0], scratch,
                                             first, inverses)
    points = prototypes.points
    shape = points.shape[0], labels.shape[0]
    cosines, mix, rest, option_slopes = None, None, None, NO_OPTIONS
    cos: Any = None
    if kept is not None:
        kept = xp.reshape(kept, shape)
    logits = kept
    if kept is None or again:
        scale, others = (1.0, unit) if keeps else (row.scale, batch.points)
        logits = products(backend, prototypes, others, scale,
                          scratch.take("product", points, *shape) if room is None else xp.reshape(room, shape))
    if keeps:
        cos = logits = backend.same_number(kept, logits) if again else logits
        if row.merge is not None:
            cosines = xp.reshape(cos, (*weights.shape[:2], cos.shape[1]))
            cos, mix, option_slopes, _ = row.merge(backend, cosines)
        value = cos
        if row.rest is not None:
            cos = backend.clip(cos, -1.0, 1.0)
            if row.nearest is not None:
                statistic = backend.are_among(statistic, first, cos)
            rest = curve_of(backend, row, row.rest, cos, statistic)
            value, option_slopes = rest.value, rest.option_slopes
        logits = row.scale * batch.embedding_length * value
    if kept is None or keeps or again:
        if bias is not None:
            logits = backend.add(logits, bias[:, None], out=logits)
        elif row.bias is not None:
            logits = backend.add(logits, row.bias, out=logits)
    if again and not keeps:
        logits = backend.same_number(kept, logits)
    spare = logits if kept is None or keeps or again else scratch.take("product", points, *shape)
    tile = tile_of(backend, logits, labels, first, spare, whole)
    return Visit(prototypes, cosines, mix, cos, rest, option_slopes, tile)


def pilots_of(xp: Any, row: Row, labels: Array, weights: Array) -> tuple[Array, tuple[Array, Array | None]]:
    """The labels among the pilots, −1 for another, then their weights and biases."""
    step, bias = max(1, weights.shape[0] // _PILOTS), class_bias(row)
    places = xp.where(labels % step == 0, labels // step, -1)
    return places, (weights[::step, ...], None if bias is None else bias[::step])


def statistic_of(backend: Any, row: Row, batch: Batch, unit: Array, inputs: dict[str, Array],
                 prototypes: Prototypes | None) -> Any:
    """The row statistic, or the classes that are nearest, which cost a sweep of their own; constants to the gradient.

    Made once, in the forward pass: cosines that are computed again may be rounded otherwise, and choose others.
    """
    if row.nearest is not None:
        return _nearest(backend, row, unit, inputs, min(row.nearest, inputs["weights"].shape[0]), prototypes)
    return None if row.statistic is None else backend.stop_gradient(row.statistic(backend, batch.cos))


def _nearest(backend: Any, row: Row, unit: Array, inputs: dict[str, Array], count: int, only: Prototypes | None
             ) -> Array:
    """The numbers of the other classes of largest cosine, (k, B); of an only tile the prototypes are given."""
    xp, labels, classes = backend.xp, inputs["labels"], inputs["weights"].shape[0]

    def visit(first: Any, weights: Array) -> tuple[tuple[Array, Array], tuple[()]]:
        prototypes = only or prototypes_of(backend, row, weights, unit.dtype, labels.shape[0], scratch)
        tile = tile_of(backend, products(backend, prototypes, unit), labels, first, whole=only is not None)
        cos = tile.with_label(tile.logits, -2.0)
        found = min(count, prototypes.points.shape[0])
        values, places = backend.largest(cos, found)
        numbers, missing = xp.astype(places, labels.dtype, copy=False) + first, count - found
        if missing > 0:  # as many as asked for, however small the tile: lax.scan wants one shape
            values = xp.concat([values, *[xp.zeros_like(values[:1, ...]) - 2.0] * missing], axis=0)
            numbers = xp.concat([numbers, *[xp.zeros_like(numbers[:1, ...]) - 1] * missing], axis=0)
        return (values, numbers), ()

    def combine(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        cos, classes = (xp.concat(both, axis=0) for both in zip(a, b, strict=True))
        cos, places = backend.largest(cos, count)
        return cos, xp.take_along_axis(classes, places, axis=0)

    width = classes if only is not None else backend.class_tile_width(unit, *unit.shape, classes, False)
    scratch = Scratch(backend, classes > width)
    (_, numbers), _ = backend.sweep(visit, combine, (inputs["weights"],), width)
    rows = labels.shape[0]
    return xp.reshape(numbers, (count, -1 if rows is None else rows))  # a graph may not know how many they are


def batch_again(backend: Any, row: Row, inputs: dict[str, Array], directions: Directions, length: Any,
                keep_bytes: int) -> tuple[Batch, int]:
    """The batch, and the width of a tile, where nobody remembers them."""
    inputs = in_type(backend, inputs)
    batch = batch_of(backend, row, inputs, directions, length)
    return batch, kept_and_width(backend, inputs, keep_bytes)[1]
