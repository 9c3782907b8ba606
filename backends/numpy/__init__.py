"""NumPy: no automatic differentiation; gradients come from `value_and_grad`, tiles are shared among threads."""

import itertools
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from anglos.arrays.backend import Backend
from anglos.arrays.library import Spec
from anglos.arrays.monoid import Monoid

from ._blocks import NEAR, blocks, rank_in_rows
from ._namespace import Namespace
from ._threads import steered_blas, sweep_in_threads

_rows = lru_cache(maxsize=1)(np.arange)  # for as many samples as last time; not to be changed


class NumPy(Backend):
    """Values can always be read, and arrays be changed in place."""

    tiles_at_once = 2
    """After a product by all its threads OpenBLAS would leave them spinning for the first tiles."""

    def spec(self, array: Any) -> Spec:
        return Spec(type(array), self, array.dtype, array.shape, None, None, True)

    def device(self, array: Any) -> None:
        return None

    def readable(self, array: Any) -> bool:
        return True

    def bounds(self, array: Any) -> tuple[float, float]:
        return self.xp.min(array), self.xp.max(array)

    def are_classes(self, labels: Any, classes: int) -> bool:
        return labels.item(_unsigned(labels).argmax()) in range(classes)

    def surely_above(self, array: Any, bound: Any) -> bool:
        if isinstance(bound, float) and array.size:  # one pass, and no array of answers
            return bool(array.item(array.argmin()) > bound)
        return bool((array > bound).all())

    def add_at_labels(self, labels: Any, first: int, rows: Any, values: Any, whole: bool = False) -> Any:
        if len(rows) * len(values) < 1 << 15:  # add.at is slow to start
            return super().add_at_labels(labels, first, rows, values)
        places, samples = self._inside(labels, first, rows)
        np.add.at(rows, places, values[samples])
        return rows

    def scatter(self, weights: Any, columns: Any, like: Any) -> Any:
        if like.dtype.itemsize <= 8:  # more than bincount can add
            return super().scatter(weights, columns, like)
        np.add.at(total := np.zeros_like(like), (np.arange(len(like))[:, None], columns), weights)
        return total

    def label_joins(self, classes: int, samples: int) -> bool:
        return classes * samples < 1 << 15  # it needs another tile

    def makes_unit(self, w: Any, samples: int) -> bool:
        return w.size < 1 << 15 or super().makes_unit(w, samples)  # in fewer calls

    def changes_arrays(self) -> bool:
        return True

    def scratch(self, like: Any, *shape: int) -> Any:
        return np.empty(shape, like.dtype)

    def product(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.matmul(a, b, out=out)

    def multiply(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.multiply(a, b, out=out)

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.add(a, b, out=out)

    def project_out(self, direction: Any, vectors: Any, factor: Any = None, scratch: Any = None) -> Any:
        if vectors.size > NEAR and len(vectors) > 1:
            factors = itertools.repeat(None) if factor is None else blocks(factor, vectors)
            for one in zip(blocks(direction), blocks(vectors), factors, strict=False):
                self.project_out(*one)
            return vectors
        along = np.vecdot(direction, vectors)[..., None]
        return np.subtract(vectors, direction * (along if factor is None else along * factor * factor), out=vectors)

    def dot(self, a: Any, b: Any) -> Any:
        return np.vecdot(a, b)

    def largest(self, array: Any, count: int) -> tuple[Any, Any]:
        places = np.argpartition(array, len(array) - count, axis=0)[len(array) - count:]
        return array[places, _rows(array.shape[1])], places

    def clip(self, x: Any, low: float | None, high: float | None = None) -> Any:
        x = x if low is None else np.maximum(x, low)
        return x if high is None else np.minimum(x, high)

    def with_label(self, labels: Any, first: int, terms: Any, value: Any, whole: bool = False) -> Any:
        if whole:
            terms[labels, _rows(len(labels))] = value
            return terms
        places, rows = self._inside(labels, first, terms)
        terms[places, rows] = value if isinstance(value, float) else value[rows]
        return terms

    def are_among(self, numbers: Any, first: int, tile: Any) -> Any:
        among = np.zeros(tile.shape, dtype=bool)
        among[self._inside(numbers, first, tile)] = True
        return among

    def _inside(self, labels: Any, first: int, tile: Any) -> tuple[Any, Any]:
        """Which rows have their label's class in the tile, after its place there; labels are (B,), or (k, B)."""
        places = labels - first
        inside = (_unsigned(places) < len(tile)).nonzero()
        return places[inside], inside[-1]

    rank = staticmethod(rank_in_rows)

    def maximum(self, a: Any, b: Any) -> Any:
        return np.maximum(a, b)

    def minimum(self, a: Any, b: Any) -> Any:
        return np.minimum(a, b)

    def exponential(self, logits: Any, shift: Any) -> Any:
        for part in blocks(logits):
            np.exp(np.subtract(part, shift, out=part), out=part)
        return logits

    def probability(self, logits: Any, total: Any, out: Any = None) -> Any:
        p = np.empty_like(logits) if out is None else out
        totals = blocks(total, logits) if total.ndim == 2 else itertools.repeat(total)  # of classes, or of samples
        for z, part, of_part in zip(blocks(logits), blocks(p), totals, strict=False):
            np.exp(np.minimum(np.subtract(z, of_part, out=part), 0.0, out=part), out=part)
        return p

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[Any, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        """Every thread of the BLAS takes tiles of its own: NumPy's own arithmetic uses one thread."""
        if len(arrays[0]) > width:
            with steered_blas() as blas:
                if blas is not None:
                    return sweep_in_threads(blas, tile, monoid, arrays, width)
        return super().sweep(tile, monoid, arrays, width)


def _unsigned(labels: Any) -> Any:
    """Negative numbers become large ones: one comparison finds those between 0 and a bound."""
    return labels.view(np.uint64)


backend = NumPy("numpy", Namespace())
