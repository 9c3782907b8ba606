"""An array library and its arrays: what the array API standard does not settle."""

import sys
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from numbers import Integral
from typing import Any, NamedTuple

import array_api_compat

Array = Any


class Spec(NamedTuple):
    """All that tells an array from others but its numbers."""

    type: type
    library: "Library"
    dtype: Any
    shape: tuple[int, ...]
    device: Any = None
    unfit: tuple[str, str] | None = None
    """What it is and what is wanted in its place, if it is of a kind that no loss can compute with."""
    lasting: bool = False
    """Whether it can be compared with others, so that what was found for one of them can be kept for all."""


class Library:
    """An array library: its namespace `xp`, and the handful of things the standard does not settle."""

    def __init__(self, name: str, xp: Any) -> None:
        self.name, self.xp = name, xp

    def __repr__(self) -> str:
        return f"<anglos backend {self.name}>"

    @property
    def index_type(self) -> Any:
        """The integers that labels become."""
        return self.xp.int64

    def as_index(self, labels: Array) -> Array:
        """Labels as such integers; one that is larger than all of them becomes the largest, and is not wrapped."""
        index = self.xp.astype(labels, self.index_type, copy=False)
        if labels.dtype != index.dtype and self.xp.isdtype(labels.dtype, "unsigned integer"):
            index = self.xp.where(index < 0, self.xp.iinfo(index.dtype).max, index)
        return index

    def accepts(self, other: "Library") -> bool:
        """Whether arrays of the other library may stand beside this one's."""
        return other is self

    def spec(self, array: Array) -> Spec:
        """All that tells it from other arrays but its numbers."""
        return Spec(type(array), self, array.dtype, tuple(array.shape), self.device(array))

    def adopt(self, array: Array) -> Array:
        """An accepted array of another library as one of this one."""
        return self.xp.asarray(array)

    def asarray(self, number: float, like: Array, dtype: Any) -> Array:
        """A number as a 0-d array, beside `like`."""
        return self.xp.asarray(number, dtype=dtype, device=self.device(like))

    def arange(self, count: int, like: Array) -> Array:
        """0 .. count − 1, beside `like`."""
        return self.xp.arange(count, dtype=like.dtype, device=self.device(like))

    def numbers(self, array: Array, like: Array) -> Array:
        """0 .. n − 1 for the rows of the array, in the type of `like`, and beside it."""
        return self.arange(array.shape[0], like)

    draws_by = "a numpy.random.Generator, a seed, or None for fresh entropy"
    """What `uniform` takes."""

    def uniform(self, rng: Any, count: int, like: Array) -> Array | None:
        """So many numbers from 0 to 1 in float32, beside `like`; None if the library does not draw by that."""
        numpy: Any = import_module("numpy")
        if isinstance(rng, bool) or not (rng is None or isinstance(rng, (Integral, numpy.random.Generator))):
            return None
        drawn = numpy.random.default_rng(rng).random(count, dtype=numpy.float32)
        return self.xp.asarray(drawn, device=self.device(like))

    def hint(self, kind: type) -> str:
        """What to do with an array of this type where none is wanted, if there is something."""
        return ""

    def device(self, array: Array) -> Any:
        """Where the array lives; None where that is the library's own business."""
        return array_api_compat.device(array)

    def empty_like(self, array: Array, dtype: Any) -> Array:
        """Beside it an array of a type, without numbers: itself if that is its type."""
        return array if array.dtype == dtype else self.xp.astype(array[:0, ...], dtype)

    def readable(self, array: Array) -> bool:
        """Whether values can be looked at for free; not so under a trace, or on another device."""
        return False

    def bounds(self, array: Array) -> tuple[float, float] | None:
        """The least and the largest value, or None where they cannot be read."""
        return None

    def are_classes(self, labels: Array, classes: int) -> bool | None:
        """Whether all labels are from 0 to classes − 1; None where they cannot be read."""
        bounds = self.bounds(labels)
        return None if bounds is None else bool(bounds[0] >= 0 and bounds[1] < classes)

    def reading(self, array: Array) -> AbstractContextManager[Any]:
        """Inside, what is computed of an array that can be read can be read."""
        return nullcontext()

    def whole(self, array: Array) -> Array:
        """The array, which several devices may have parts of, on each of them."""
        return array

    def stop_gradient(self, array: Array) -> Array:
        """The array as a constant, where the library differentiates."""
        return array


def largest_finite(xp: Any, dtype: Any) -> float:
    """Of the type, or of Python's numbers where the type has a wider range, as NumPy's longdouble has."""
    return min(float(xp.finfo(dtype).max), sys.float_info.max)


def store(out: Array | None, result: Array) -> Array:
    """The result, in `out` if there is one: copied there, unless a hook has put it there."""
    if out is None or result is out:
        return result
    out[...] = result
    return out
