"""ndonnx, which records what becomes an ONNX graph. An axis of unknown length, the batch, is None in its shapes."""

import math
from collections.abc import Callable
from typing import Any

import ndonnx as ndx

from anglos.arrays.backend import Backend
from anglos.arrays.monoid import Monoid

__all__ = ["Ndonnx", "backend"]


class _Namespace:
    """The standard's functions; those that onnxruntime lacks are made of others."""

    cos = staticmethod(lambda x: ndx.sin(x + 0.5 * math.pi))  # sin is there in float64

    @staticmethod
    def atan2(y: ndx.Array, x: ndx.Array) -> ndx.Array:
        """For y ≥ 0. Arctangents are in float32 there, which a step of Newton's method makes up for."""
        steep = y > ndx.abs(x)
        ratio = ndx.where(steep, -x, y) / ndx.where(steep, y, ndx.where(x == 0.0, 1.0, x))
        start = ndx.where(steep, 0.5 * math.pi, ndx.where(x < 0.0, math.pi, ndx.zeros_like(x)))
        near = start + ndx.astype(ndx.atan(ndx.astype(ratio, ndx.float32)), y.dtype)
        return near + (y * _Namespace.cos(near) - x * ndx.sin(near)) / ndx.sqrt(x * x + y * y)

    @staticmethod
    def reshape(x: ndx.Array, shape: tuple[int | None, ...]) -> ndx.Array:
        return ndx.reshape(x, tuple(-1 if size is None else size for size in shape))

    @staticmethod
    def zeros(shape: tuple[int, ...], dtype: Any, device: Any) -> ndx.Array:
        if None in shape:
            raise ValueError("ndonnx: the number of rows was unknown; wanted a fixed one, where as many classes come "
                             "of them")
        return ndx.zeros(shape, dtype=dtype, device=device)

    def __getattr__(self, name: str) -> Any:
        return getattr(ndx, name)


class Ndonnx(Backend):
    """All is one tile, since the number of samples is unknown."""

    def numbers(self, array: ndx.Array, like: ndx.Array) -> Any:
        if array.shape[0] is not None:
            return super().numbers(array, like)
        numbers: ndx.Array = ndx.astype(ndx.arange(array.dynamic_shape[0]), like.dtype)
        return numbers

    def tile_width(self, *columns: int) -> int:
        return 1

    def class_tile_width(self, like: ndx.Array, samples: int, dimension: int, classes: int, keep: bool) -> int:
        return classes

    def makes_unit(self, w: Any, samples: int) -> bool:
        return True  # a constant of the graph, where the weights are one

    def rank(self, ordered: ndx.Array, values: ndx.Array, strict: bool = False) -> ndx.Array:
        ordered, values = ordered[:, None, :], values[:, :, None]
        return ndx.sum(ndx.astype(ordered < values if strict else ordered <= values, ndx.int64), axis=2)

    def scatter(self, weights: ndx.Array, columns: ndx.Array, like: ndx.Array) -> ndx.Array:
        here = columns[:, :, None] == self.numbers(like.T, columns)[None, None, :]
        return ndx.sum(ndx.where(here, weights[:, :, None], 0.0), axis=1)

    def sweep(self, tile: Callable[..., Any], monoid: Monoid, arrays: tuple[Any, ...], width: int
              ) -> tuple[Any, tuple[Any, ...]]:
        state: tuple[Any, tuple[Any, ...]] = tile(0, *arrays)
        return state


backend = Ndonnx("ndonnx", _Namespace())


def __dir__() -> list[str]:
    return list(__all__)
