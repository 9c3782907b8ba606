"""What η compares cosines with: a constant to the gradient, made once, in the forward pass.

Cosines that are computed again may be rounded differently, and choose others.
"""

from copy import copy
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.scratch import Scratch
from anglos.engines.numerics import Array
from anglos.engines.prototypes.step import Step


def statistic_of(step: Step) -> Any:
    """The statistic; or the numbers of the nearest classes, which cost a sweep of their own."""
    if step.row.nearest is not None:
        return _nearest(step, min(step.row.nearest, step.classes))
    if step.row.statistic is None:
        return None
    return step.backend.stop_gradient(step.row.statistic(step.backend, step.batch.cos))


class _Nearest(NamedTuple):
    """Cosines and numbers of the other classes of largest cosine, each (k, B)."""

    backend: Backend
    most: int

    @property
    def name(self) -> str:
        return "nearest"

    def combine(self, xp: Any, a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        cos, classes = (xp.concat(both, axis=0) for both in zip(a, b, strict=True))
        cos, places = self.backend.largest(cos, self.most)
        return cos, xp.take_along_axis(classes, places, axis=0)


def _nearest(step: Step, count: int) -> Array:
    """The numbers of the other classes of largest cosine, (k, B)."""
    backend, xp, unit, labels, sweep = step.backend, step.backend.xp, step.directions.unit, step.labels, copy(step)
    if step.only is None:
        sweep.width = backend.class_tile_width(unit, step.samples, unit.shape[1], step.weights.shape[0], False)
        sweep.inverses = None  # of other tiles
        sweep.scratch = Scratch(backend, step.weights.shape[0] > sweep.width)

    def tile(first: Any, weights: Array) -> tuple[tuple[Array, Array], tuple[()]]:
        prototypes = sweep.prototypes_of(first, weights)
        tile = backend.tile_of(None, labels, first, whole=step.only is not None,
                               product=sweep.product(first, prototypes))
        cos = tile.with_label(backend.logits(tile), -2.0)
        found = min(count, prototypes.points.shape[0])
        values, places = backend.largest(cos, found)
        numbers, missing = xp.astype(places, labels.dtype, copy=False) + (backend.first_class + first), count - found
        if missing > 0:  # as many as asked for, however small the tile: lax.scan wants one shape
            values = xp.concat([values, *[xp.zeros_like(values[:1, ...]) - 2.0] * missing], axis=0)
            numbers = xp.concat([numbers, *[xp.zeros_like(numbers[:1, ...]) - 1] * missing], axis=0)
        return (values, numbers), ()

    (_, numbers), _ = backend.sweep(tile, _Nearest(backend, count), (step.weights,), sweep.width)
    return xp.reshape(numbers, (count, -1 if step.samples is None else step.samples))  # unknown in a graph
