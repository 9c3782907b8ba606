"""What a head makes of every sample of a batch: angles, probability and gradient; and of its prototypes."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array
from anglos.engines.numerics import sigmoid, softplus, unit_rows
from anglos.engines.prototypes import engine
from anglos.engines.prototypes.row import Row, curve_of
from anglos.engines.prototypes.step import Step
from anglos.engines.reductions import CrossEntropy, ExcludedPositive
from anglos.engines.sums import Binary

_ALL_PAIRS = 1 << 13
"""Up to so many classes every two are compared; of more, those of the batch with all."""

_BEYOND = (91.0, 110.0)
"""Angles where a margin that costs less the larger they are drives embeddings and prototypes apart."""


class Rows(NamedTuple):
    """Of every sample, (B,)."""

    cos: Array
    other_cos: Array
    """The largest cosine of another class."""
    nearest: Array
    """The class with the largest cosine."""
    probabilities: Array | None
    """Of the label, where the loss has one."""
    gradients: Array
    """‖∂ℓ/∂x̂‖ at right angles to x̂, over the scale."""
    falls: Array
    """Whether the label's logit falls as its cosine grows."""
    past: Array | None
    """Whether φ is where `past_pi` matters, for a loss with that option."""
    scale: Array
    outward: Array
    """Beyond 90°, by how much more a cosine is pushed down as another's than it is pulled up as the label's."""


def rows_of(plan: Any, step: Step, arrays: tuple[Array, ...]) -> Rows:
    """By the engine's own passes, and by one more over the classes."""
    backend, row, batch = step.backend, step.row, step.batch
    xp, zero = backend.xp, 0.0 * batch.cos
    value, saved = engine.forward(step)
    scale = xp.abs(row.scale * batch.embedding_length * batch.weight_length + zero)
    slopes = engine.backward(step, saved, xp.ones_like(value), frozenset(("embeddings",)))["embeddings"]
    unit, inverse = step.directions.unit, step.directions.inverse[:, 0]
    across = backend.project_out(unit, xp.astype(slopes, unit.dtype, copy=False))
    lengths = xp.where(inverse > 0.0, 1.0 / xp.where(inverse > 0.0, inverse, 1.0), 0.0)
    gradients = xp.sqrt(backend.dot(across, across)) * lengths
    other_cos, other = _nearest_others(step)
    return Rows(
        batch.cos, other_cos, xp.where(batch.cos > other_cos, step.labels, other),
        _probabilities(backend, row, saved.of_reduction, batch.logit),
        xp.where(scale > 0.0, gradients / xp.where(scale > 0.0, scale, 1.0), 0.0),
        batch.target.slope + zero < 0.0, _past(plan, arrays, step), scale, _outward(step, scale))


def _outward(step: Step, scale: Array) -> Array:
    """The mean of s (η′ − φ′) at two angles; 0 where the margin draws in from the first of them."""
    near, far = (scale * _slope_of_cost(step, math.cos(math.radians(angle))) for angle in _BEYOND)
    return step.backend.xp.where(near > 0.0, 0.5 * (near + far), 0.0)


def _slope_of_cost(step: Step, cosine: float) -> Array:
    """η′ − φ′ of labels and others at one angle; those of the batch are chance, where a start is judged."""
    backend, row, rest = step.backend, step.row, 1.0
    cos = 0.0 * step.batch.cos + cosine
    if row.rest is not None:
        given: Any = None if row.statistic is None else row.statistic(backend, cos)
        one_class = cos[None, :]
        curve = row.rest(backend, one_class, one_class < 2.0 if row.nearest is not None else given)
        rest = (curve.slope + 0.0 * one_class)[0, :]
    return rest - curve_of(backend, row, row.target, cos, step.batch.length).slope + 0.0 * cos


def _probabilities(backend: Backend, row: Row, saved: Any, logit: Array) -> Array | None:
    """Of a softmax; of a class by itself; None where logits are compared with something else."""
    if isinstance(row.reduction, CrossEntropy):
        return backend.xp.exp(-saved.surprise)
    if isinstance(row.reduction, ExcludedPositive):
        return backend.xp.exp(-softplus(backend, saved.rest - logit))
    return sigmoid(backend, saved.label_logit) if isinstance(row.reduction, Binary) else None


def _past(plan: Any, arrays: tuple[Array, ...], step: Step) -> Array | None:
    """Where two choices of `past_pi` differ."""
    if "past_pi" not in dict(plan.options):
        return None
    values = []
    for choice in ("reflect", "clamp"):
        options = tuple({**dict(plan.options), "past_pi": choice}.items())
        row, _ = replace(plan, options=options, row=None).row_of(arrays)
        values.append(row.target(step.backend, step.batch.cos, step.batch.length).value + 0.0 * step.batch.cos)
    return step.backend.xp.not_equal(*values)


def ceilings(step: Step) -> tuple[Array, Array] | None:
    """The largest probability of the label, with the margin and without, if prototypes are a regular simplex.

    None where logits have no largest: there lengths are free, or the loss is no cross entropy.
    """
    backend, row, batch = step.backend, step.row, step.batch
    if not (isinstance(row.reduction, CrossEntropy) and row.normalize_embeddings and row.normalize_weights):
        return None
    xp, one, others = backend.xp, batch.cos * 0.0 + 1.0, step.classes - 1
    target = curve_of(backend, row, row.target, one, batch.length).value
    parts = [(others, -1.0 / others)]
    if row.rest is not None:
        cos = one[None, :] * (-1.0 / others)
        near = min(row.nearest or 0, others)
        statistics = [(near, cos < 2.0), (others - near, cos > 2.0)] if row.nearest is not None else [
            (others, None if row.statistic is None else row.statistic(backend, one))]
        parts = [(count, (row.rest(backend, cos, given).value + 0.0 * cos)[0, :]) for count, given in statistics]

    def reached(phi: Any, parts: Any) -> Array:
        return 1.0 / (1.0 + sum(count * xp.exp(row.scale * (eta - phi) * one) for count, eta in parts))

    return reached(target, parts), reached(one, [(others, -1.0 / others)])


def _nearest_others(step: Step) -> tuple[Array, Array]:
    """The largest cosine of a class that is not the label's, and its number."""
    backend, xp, labels, best = step.backend, step.backend.xp, step.labels, None
    for first, last in backend.tiles(step.classes, step.width):
        cos = _cosines(step, step.weights[first:last, ...])
        cos = xp.where(backend.is_label(labels, first, cos), -2.0, cos)
        found = xp.max(cos, axis=0), xp.astype(xp.argmax(cos, axis=0), labels.dtype) + first
        if best is not None:
            found = xp.where(found[0] > best[0], found[0], best[0]), xp.where(found[0] > best[0], found[1], best[1])
        best = found
    return backend.clip(best[0], -1.0, 1.0), best[1]  # type: ignore[index]


def _cosines(step: Step, weights: Array) -> Array:
    """Of the classes with all samples, (T, B); of several prototypes as the loss merges them."""
    points = _directions(step, weights)
    cos = step.backend.product(step.backend.xp.reshape(points, (-1, points.shape[-1])), step.directions.unit.T)
    if step.row.merge is None:
        return cos
    return step.row.merge(step.backend, step.backend.xp.reshape(cos, (*weights.shape[:2], cos.shape[1]))).value


def _directions(step: Step, weights: Array) -> Array:
    return unit_rows(step.backend, step.backend.xp.astype(weights, step.dtype, copy=False))[0]


def classes_seen(step: Step, labels: Array, nearest: Array) -> tuple[int, int]:
    """How many classes have samples, and how many of these are nobody's nearest; −1 is no class."""
    backend, xp, present, dead = step.backend, step.backend.xp, 0, 0
    for first, last in backend.tiles(step.classes, step.width):
        has, near = (xp.any(backend.is_label(of, first, step.weights[first:last, ...]), axis=1)
                     for of in (labels, nearest))
        present += int(xp.sum(xp.astype(has, labels.dtype)))
        dead += int(xp.sum(xp.astype(has & ~near, labels.dtype)))
    return present, dead


def nearest_classes(step: Step) -> tuple[float, tuple[int, int]]:
    """The cosine of the two classes whose prototypes are most alike, and their numbers."""
    backend, xp, several = step.backend, step.backend.xp, math.prod(step.weights.shape[1:-1])
    numbers = step.labels if step.classes > _ALL_PAIRS else backend.arange(step.classes, step.labels)
    side, best = max(1, int(backend.tile_elements**0.5) // several), (-math.inf, (0, 1))
    tiles = backend.tiles(step.classes, side)
    for start, end in backend.tiles(numbers.shape[0], side):
        some = numbers[start:end]
        rows = _directions(step, xp.take(step.weights, some, axis=0))
        for first, last in tiles:
            alike = _alike(step, rows, _directions(step, step.weights[first:last, ...]))
            alike = xp.reshape(xp.where(backend.is_label(some, first, alike), -math.inf, alike), (-1,))
            place = int(xp.argmax(alike, axis=0))
            if (cos := float(alike[place])) > best[0]:
                other, row = divmod(place, end - start)
                best = cos, (int(some[row]), first + other)
    return best[0], (min(best[1]), max(best[1]))


def _alike(step: Step, rows: Array, columns: Array) -> Array:
    """Cosines of classes, (columns, rows); of several prototypes that of the one that is least like any of the other's.

    Other labels' samples may have gathered at one of them: two classes are alike if all of one's are near the other's.
    """
    xp, dimension = step.backend.xp, rows.shape[-1]
    cos = step.backend.product(xp.reshape(columns, (-1, dimension)), xp.reshape(rows, (-1, dimension)).T)
    if rows.ndim == 2:
        return cos
    cos = xp.reshape(cos, (columns.shape[0], columns.shape[1], rows.shape[0], rows.shape[1]))
    of_columns, of_rows = xp.min(xp.max(cos, axis=3), axis=1), xp.min(xp.max(cos, axis=1), axis=2)
    return xp.where(of_columns > of_rows, of_columns, of_rows)
