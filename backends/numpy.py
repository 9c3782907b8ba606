"""NumPy: no automatic differentiation; gradients come from `value_and_grad`, tiles are shared among threads."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from anglos._backend import Backend

from .threads import steered_blas, sweep_in_threads


class _Namespace:
    """The standard's functions; those that NumPy or array-api-compat only wraps, without the wrapping."""

    @staticmethod
    def sum(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
        """Down a tall array in two steps: NumPy adds its rows one by one, and 100,000 of them lose five digits."""
        if axis == 0 and not keepdims and len(x) > 512 and x.flags.c_contiguous:
            blocks = len(x) // 256
            sums = np.add.reduce(x[:256 * blocks].reshape(blocks, 256, *x.shape[1:]), axis=1)
            return np.add.reduce(sums, axis=0) + np.add.reduce(x[256 * blocks:], axis=0)
        return np.add.reduce(x, axis=axis, keepdims=keepdims)

    max = staticmethod(lambda x, axis=None, keepdims=False: np.maximum.reduce(x, axis=axis, keepdims=keepdims))
    take = staticmethod(lambda x, indices, axis=None: x.take(indices, axis=axis))
    astype = staticmethod(lambda x, dtype, copy=True: x.astype(dtype, copy=copy))
    reshape = staticmethod(lambda x, shape: x.reshape(shape))
    isdtype = staticmethod(functools.cache(np.isdtype))
    finfo, empty, arange, zeros, ones_like = (staticmethod(one) for one in (
        np.finfo, np.empty, np.arange, np.zeros, np.ones_like))

    def __getattr__(self, name: str) -> Any:
        found = getattr(xp, name)
        setattr(self, name, found)
        return found


class NumPy(Backend):
    """Values are always at hand, and arrays can be changed in place."""

    tiles_at_once = 2
    """After a product by all its threads OpenBLAS would leave them spinning for the first tiles."""

    def signature(self, array: Any) -> Any:
        return type(array), array.dtype, array.shape

    def device(self, array: Any) -> None:
        return None

    def readable(self, array: Any) -> bool:
        return True

    def bounds(self, array: Any) -> tuple[float, float]:
        return np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)

    def surely(self, condition: Any) -> bool:
        return bool(np.logical_and.reduce(condition, axis=None))

    def add_own(self, labels: Any, first: int, whole: Any, values: Any) -> Any:
        if len(whole) * len(values) < 1 << 15:  # add.at is slow to start
            return super().add_own(labels, first, whole, values)
        places, rows = self._inside(labels, first, whole)
        np.add.at(whole, places, values[rows])
        return whole

    def own_inside(self, classes: int, rows: int) -> bool:
        return classes * rows < 1 << 15  # it needs another tile

    def makes_unit(self, prototypes: int, dimension: int, rows: int) -> bool:
        return prototypes * dimension < 1 << 15 or super().makes_unit(prototypes, dimension, rows)  # in fewer calls

    def changes_arrays(self) -> bool:
        return True

    def product(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.matmul(a, b, out=out)

    def scaled(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.multiply(a, b, out=out)

    def plus(self, a: Any, b: Any, out: Any = None) -> Any:
        return np.add(a, b, out=out)

    def across(self, direction: Any, vectors: Any, factor: Any = None, spare: Any = None) -> Any:
        factors = itertools.repeat(None) if factor is None else _blocks(factor, vectors)
        for u, v, by in zip(_blocks(direction), _blocks(vectors), factors, strict=False):
            along = np.vecdot(u, v)[..., None]
            np.subtract(v, u * (along if by is None else along * by * by), out=v)
        return vectors

    def dot(self, a: Any, b: Any) -> Any:
        if a is not b:
            return np.vecdot(a, b)
        with np.errstate(over="ignore"):  # a square may, and is looked at
            return np.vecdot(a, a)

    def largest(self, array: Any, count: int) -> Any:
        return np.partition(array, len(array) - count, axis=0)[len(array) - count:]

    def clip(self, x: Any, low: float | None, high: float | None = None) -> Any:
        x = x if low is None else np.maximum(x, low)
        return x if high is None else np.minimum(x, high)

    def with_own(self, labels: Any, first: int, terms: Any, value: Any) -> Any:
        places, rows = self._inside(labels, first, terms)
        terms[places, rows] = value if isinstance(value, float) else value[rows]
        return terms

    def _inside(self, labels: Any, first: int, tile: Any) -> tuple[Any, Any]:
        """Which rows have their label's class in the tile, after its place there."""
        places = labels - first
        (rows,) = (places.view(np.uint64) < len(tile)).nonzero()  # as unsigned ones, negative numbers are large
        return places[rows], rows

    def exponential(self, logits: Any, shift: Any) -> Any:
        with np.errstate(over="ignore"):  # the engine looks at the sum
            for part in _blocks(logits):
                np.exp(np.subtract(part, shift, out=part), out=part)
        return logits

    def probability(self, logits: Any, total: Any, out: Any = None) -> Any:
        p = np.empty_like(logits) if out is None else out
        for z, part in zip(_blocks(logits), _blocks(p), strict=True):
            np.exp(np.minimum(np.subtract(z, total, out=part), 0.0, out=part), out=part)
        return p

    def sweep(self, visit: Callable[..., Any], combine: Callable[[Any, Any], Any], arrays: tuple[Any, ...], width: int
              ) -> tuple[Any, tuple[Any, ...]]:
        """Every thread of the BLAS takes tiles of its own: NumPy's own arithmetic knows one thread only."""
        if len(arrays[0]) > width:
            with steered_blas() as blas:
                if blas is not None:
                    return sweep_in_threads(blas, visit, combine, arrays, width)
        return super().sweep(visit, combine, arrays, width)


def _blocks(array: Any, like: Any = None) -> list[Any]:
    """Rows that stay in the nearest cache from one pass to the next: of this array, or of one like it."""
    size = array.size if like is None else like.size
    if size <= 1 << 16:
        return [array]
    step = max(1, (1 << 16) * len(array) // size)
    return [array[first:first + step] for first in range(0, len(array), step)]


backend = NumPy("numpy", _Namespace())
