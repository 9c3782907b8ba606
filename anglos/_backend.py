"""What an engine asks of an array library. This class serves every library of the array API standard as it is;
a module in `backends/` replaces what its library does better, and says how the gradient is registered there.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import array_api_compat

if TYPE_CHECKING:
    from anglos._loss import Plan

Array = Any


class Backend:
    """An array library: its namespace `xp`, and the handful of things the standard does not settle."""

    tile_elements = 1 << 20
    """Elements of a (T, B) tile: about what stays in a processor's cache."""

    def __init__(self, name: str, xp: Any) -> None:
        self.name, self.xp = name, xp

    def __repr__(self) -> str:
        return f"<anglos backend {self.name}>"

    @property
    def index_type(self) -> Any:
        """The integers that labels become."""
        return self.xp.int64

    def accepts(self, other: "Backend") -> bool:
        """Whether arrays of the other library may stand beside this one's."""
        return other is self

    def adopt(self, array: Array) -> Array:
        """An accepted array of another library as one of this one."""
        return self.xp.asarray(array)

    def asarray(self, number: float, like: Array, dtype: Any) -> Array:
        """A number as a 0-d array, beside `like`."""
        return self.xp.asarray(number, dtype=dtype, device=array_api_compat.device(like))

    def arange(self, count: int, like: Array) -> Array:
        """0 .. count − 1, beside `like`."""
        return self.xp.arange(count, dtype=like.dtype, device=array_api_compat.device(like))

    def device(self, array: Array) -> Any:
        """Where the array lives; None where that is the library's own business."""
        return array_api_compat.device(array)

    def bounds(self, array: Array) -> tuple[float, float] | None:
        """The least and the largest value, or None where a look would cost: under a trace, on another device."""
        return None

    def stop_gradient(self, array: Array) -> Array:
        """The array as a constant, where the library differentiates."""
        return array

    def sum_by_label(self, values: Array, labels: Array, classes: int) -> Array:
        """Σ of the rows (B, D) with each label: (C, D)."""
        numbers = self.arange(classes, labels)
        return self.xp.astype(numbers[:, None] == labels[None, :], values.dtype) @ values

    def rank(self, ordered: Array, values: Array, strict: bool = False) -> Array:
        """How many of its row's ordered numbers, (A, N), every value, (A, N), reaches; strict: exceeds."""
        xp, many = self.xp, ordered.shape[1]
        both = (values, ordered) if strict else (ordered, values)
        order = xp.argsort(xp.concat(both, axis=1), axis=1)  # stable: of equals the first of `both` comes first
        is_ordered = (order >= values.shape[1]) if strict else (order < many)
        passed = xp.cumulative_sum(xp.astype(is_ordered, order.dtype), axis=1)
        back = xp.argsort(order, axis=1)
        back = back[:, : values.shape[1]] if strict else back[:, many:]
        return xp.take_along_axis(passed, back, axis=1)

    def scatter(self, weights: Array, columns: Array, like: Array) -> Array:
        """Σ of the weights, (A, T), that go to every column, in the shape of `like`, (A, N)."""
        if hasattr(self.xp, "bincount"):  # NumPy's and CuPy's; not of the standard
            places = columns + like.shape[1] * self.xp.arange(like.shape[0])[:, None]
            total = self.xp.bincount(places.ravel(), weights.ravel(), like.size)
            return self.xp.astype(total.reshape(like.shape), like.dtype, copy=False)
        return self.xp.stack([self.xp.sum(self.xp.where(columns == column, weights, 0.0), axis=1)
                              for column in range(like.shape[1])], axis=1)

    def tile_width(self, rows: int) -> int:
        """How many classes make a tile."""
        return max(1, self.tile_elements // max(rows, 1))

    def sweep(self, visit: Callable[..., tuple[Any, tuple[Any, ...]]], combine: Callable[[Any, Any], Any],
              arrays: tuple[Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        """visit(first class, *slices of the arrays) -> (state, outputs) for every tile of classes.

        The states are combined; the outputs, one row per class or None, are joined.
        """
        count = arrays[0].shape[0]  # type: ignore[union-attr]
        state: Any = None
        joined: tuple[Any, ...] = ()
        for first in range(0, count, width):
            last = min(first + width, count)
            slices = (None if array is None else array[first:last, ...] for array in arrays)
            partial, output = visit(first, *slices)
            if last - first == count:
                return partial, output
            state = partial if first == 0 else combine(state, partial)
            joined = tuple(None if part is None else self.place(whole, part, first, count) for whole, part in
                           zip(joined or (None,) * len(output), output, strict=True))
        return state, tuple(self.xp.concat(whole, axis=0) if isinstance(whole, list) else whole for whole in joined)

    def place(self, whole: Any, part: Array, first: int, count: int) -> Any:
        """The part put into the whole array, made with the first part; or both in a list, where arrays are not changed.

        A list of small arrays, kept while large ones come and go, would leave a process with gaps in its memory.
        """
        if whole is None:
            whole = self.xp.empty((count, *part.shape[1:]), dtype=part.dtype, device=array_api_compat.device(part))
        whole[first:first + part.shape[0], ...] = part
        return whole

    def differentiable(self, plan: "Plan", arrays: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        """`plan.forward`, the first of it registered with the library's automatic differentiation if it has one."""
        return plan.forward(arrays)

    def plain(self, arrays: tuple[Array, ...]) -> AbstractContextManager[Any]:
        """Around arithmetic that the library differentiates itself."""
        return nullcontext()

    def untracked(self, arrays: tuple[Array, ...]) -> AbstractContextManager[Any]:
        """Around arithmetic that nothing will differentiate."""
        return nullcontext()


def add_sums(a: dict[str, Array], b: dict[str, Array]) -> dict[str, Array]:
    """Sums of two tiles, in the place of the first."""
    for name in a:
        a[name] += b[name]
    return a
