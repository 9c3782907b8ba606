"""What an engine asks of an array library. This class serves every library of the array API standard as it is;
a module in `backends/` replaces what its library does better, and says how the gradient is registered there.
"""

import math
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

from anglos.arrays.at_once import AtOnce
from anglos.arrays.batches import Batches
from anglos.arrays.directions import Directions
from anglos.arrays.library import Array
from anglos.arrays.monoid import Monoid
from anglos.arrays.partners import OfPartners
from anglos.arrays.sharing import Sharing
from anglos.arrays.softmax import Softmax


class Computation(Protocol):
    """A loss of arrays with its gradient, as automatic differentiation is told of it. Hashable: `call.plan.Plan`."""

    @property
    def name(self) -> str:
        """Of the loss."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of the arrays."""

    @property
    def with_gradient(self) -> frozenset[str]:
        """Of the names, those of what the loss may be differentiated by."""

    def value(self, arrays: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        """As `forward`, where no gradient will follow."""

    def forward(self, arrays: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        """The loss of every sample, (B,), and residuals: a cache for `backward`."""

    def backward(self, g: Array, arrays: tuple[Array, ...], residuals: tuple[Array, ...], needs: frozenset[str], *,
                 anew: bool = False) -> dict[str, Array]:
        """∂(Σ g_i ℓ_i) by name; anew: without residuals, to be differentiated again."""


class Backend(Sharing, Batches, Softmax, OfPartners, Directions, AtOnce):
    """An array library, and the arithmetic that engines ask of it."""

    tile_elements = 1 << 20
    """Numbers in a tile of pairs: about as many as stay in a processor's cache."""

    tiles_at_once = 1
    """How many tiles of a sweep are computed at the same time, at least."""

    def sum_by_label(self, values: Array, labels: Array, classes: int) -> Array:
        """Σ of the rows (B, D) with each label: (C, D)."""
        nothing = self.xp.zeros((classes, values.shape[1]), dtype=values.dtype, device=self.device(values))
        return self.add_at_labels(labels, 0, nothing, values)

    def is_label(self, labels: Array, first: Any, tile: Array) -> Array:
        """Whether a class of a tile, (T, ...), from the first on, is the label's: (T, B)."""
        return (self.numbers(tile, labels) + first)[:, None] == labels[None, :]

    def rank(self, ordered: Array, values: Array, strict: bool = False) -> Array:
        """For every value, (A, N), how many of its row's ordered numbers, (A, N), are at most it; strict: below it."""
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

    # The arithmetic of tiles. The caller uses what a hook returns; an array that "may hold" it may be overwritten.

    def tile_width(self, *columns: int) -> int:
        """How many rows of so many columns, or columns × columns, make a tile of pairs."""
        return max(1, self.tile_elements // max(math.prod(columns), 1))

    def tiles(self, count: int, width: int) -> list[tuple[int, int]]:
        """Where tiles of so many rows begin and end."""
        return [(first, min(first + width, count)) for first in range(0, count, width)]

    def class_tile_width(self, like: Array, samples: int, dimension: int, classes: int, keep: bool) -> int:
        """How many classes make a tile. `keep`: all logits may be kept, for which some libraries need one tile."""
        return max(1, (1 << 20) // max(samples, dimension))

    def changes_arrays(self) -> bool:
        """Whether arrays may be changed in place, here and now."""
        return False

    def scratch(self, like: Array, *shape: int) -> Array | None:
        """An array to be filled tile by tile; None where arrays are not changed."""
        return self.xp.empty(shape, dtype=like.dtype, device=self.device(like)) if self.changes_arrays() else None

    def kept_terms(self, like: Array, fused: bool, *shape: int) -> Array | None:
        """The same for terms that the gradient uses again; fused: `rest_terms` makes them of a product."""
        return self.scratch(like, *shape)

    def makes_unit(self, w: Array, samples: int) -> bool:
        """Whether Ŵ of a tile, (T, D), is made; otherwise its products, (T, B), are scaled, if they are fewer."""
        return bool(w.shape[1] <= samples)

    def multiplies_as_is(self, a: Array, b: Array) -> bool:
        """Whether `product` of two such arrays of less than 32 bits has the sums of their products, in float32."""
        return False

    def product(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product a b; `out` may hold it."""
        return a @ b

    def bfloat16_product(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product of both rounded to bfloat16, where the library has that; its type is that of a."""
        return self.product(a, b, out=out)

    def slope_product(self, a: Array, b: Array, dtype: Any, out: Array | None = None) -> Array:
        """The matrix product a b of slopes, for a gradient in a type that is multiplied as it is.

        They may be rounded to as many digits as that has, but not to its range; the product has the type of a.
        """
        return self.bfloat16_product(a, b, out=out)

    def multiply(self, a: Array, b: Any, out: Array | None = None) -> Array:
        """The product a b, element by element; `out` may hold it."""
        return a * b

    def add(self, a: Array, b: Any, out: Array | None = None) -> Array:
        """The sum a + b; `out` may hold it."""
        return a + b

    def above(self, values: Array, bound: Array) -> Array:
        """Which are above the bound; the values may hold anything then."""
        return values > bound

    def add_product(self, total: Array, a: Array, b: Array) -> Array:
        """The total + a b; the total or a may hold it."""
        return self.add(total, self.multiply(a, b, out=a), out=total)

    def label_joins(self, classes: int, samples: int) -> bool:
        """Whether the label's class joins the others in the products of the gradient, (classes, samples) and more.

        Only where they round no factor: most of its gradient is along its prototype, and is taken out again.
        """
        return False

    def with_label(self, labels: Array, first: Any, terms: Array, value: Any, whole: bool = False) -> Array:
        """Terms, (T, B), of classes from the first on, with a value, (B,), for the label's class; these may hold them.

        Whole: they are all classes, so that every label's is among them.
        """
        return self.xp.where(self.is_label(labels, first, terms), value, terms)

    def are_among(self, numbers: Array, first: Any, tile: Array) -> Array:
        """Which classes of a tile, (T, B), from the first on, are among the numbers, (k, B)."""
        among = self.xp.zeros_like(tile)
        for number in range(numbers.shape[0]):
            among = self.with_label(numbers[number, ...], first, among, 1.0)
        return among > 0.0

    def exponential(self, logits: Array, shift: Array) -> Array:
        """e^(z − shift); the logits may hold it."""
        return self.xp.exp(logits - shift)

    def probability(self, logits: Array, total: Array, out: Array | None = None) -> Array:
        """e^(z − total), at most 1; `out` may hold it.

        Logits of 1e30, recomputed, may exceed their sum by more than exp can bear.
        """
        log_p = logits - total
        return self.xp.exp(self.xp.where(log_p > 0.0, 0.0, log_p))

    def largest(self, array: Array, count: int) -> tuple[Array, Array]:
        """So many of the largest numbers along the first axis, in any order, and their places."""
        places = self.xp.argsort(array, axis=0, descending=True)[:count, ...]
        return self.xp.take_along_axis(array, places, axis=0), places

    def same_number(self, array: Array, again: Array) -> Array:
        """The array, with the derivatives of the one that was computed again, and may be rounded differently."""
        return array + (again - self.stop_gradient(again))

    def clip(self, x: Array, low: float | None, high: float | None = None) -> Array:
        """The elements, within limits."""
        return self.xp.clip(x, low, high)

    def maximum(self, a: Array, b: Any) -> Array:
        """The larger of two; of equals b, whose derivatives are taken."""
        return self.xp.where(a > b, a, b)

    def minimum(self, a: Array, b: Any) -> Array:
        """The smaller of two; of equals b, whose derivatives are taken."""
        return self.xp.where(a < b, a, b)

    def in_range(self, total: Array) -> bool:
        """Whether the numbers can be read, and are far from overflow and underflow."""
        if 0 in total.shape or (bounds := self.bounds(total)) is None:
            return False
        least = 2.0**-63 if total.dtype == self.xp.float32 else 2.0**-511  # the root of the smallest normal number
        return bool(least < bounds[0] <= bounds[1] < 1.0 / least)

    def surely_above(self, array: Array, bound: Any) -> bool:
        """Whether all numbers are above the bound; False where they cannot be read."""
        return False

    def add_at_labels(self, labels: Array, first: Any, rows: Array, values: Array, whole: bool = False) -> Array:
        """The rows, (T, ...), of classes from the first on, with the values, (B, ...), added to the label's class.

        The rows may hold them. Whole: they are all classes, so that every label's is among them.
        """
        is_label = self.xp.astype(self.is_label(labels, first, rows), rows.dtype)
        if rows.ndim == 2:  # whose sizes a graph may not know, and then cannot reshape to
            return self.add(rows, is_label @ values, out=rows)
        values = self.xp.reshape(values, (values.shape[0], math.prod(values.shape[1:])))
        return self.add(rows, self.xp.reshape(is_label @ values, rows.shape), out=rows)

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        """tile(first class, *slices of the arrays) -> (state, outputs) for every tile of classes.

        The states become one by the monoid; the outputs, one row per class or None, are joined.
        """
        count = arrays[0].shape[0]  # type: ignore[union-attr]
        if width >= count:
            return tile(0, *arrays)
        state: Any = None
        joined: tuple[Any, ...] = ()
        for first, last in self.tiles(count, width):
            slices = (None if array is None else array[first:last, ...] for array in arrays)
            partial, output = tile(first, *slices)
            state = partial if first == 0 else monoid.combine(self.xp, state, partial)
            joined = tuple(None if part is None else self.place(whole, part, first, count) for whole, part in
                           zip(joined or (None,) * len(output), output, strict=True))
        return state, tuple(self.xp.concat(whole, axis=0) if isinstance(whole, list) else whole for whole in joined)

    def place(self, whole: Any, part: Array, first: int, count: int) -> Any:
        """The part put into the whole array, made with the first part; or both in a list, where arrays are not changed.

        A list of small arrays, kept while large ones come and go, would leave a process with gaps in its memory.
        """
        if whole is None:
            whole = self.xp.empty((count, *part.shape[1:]), dtype=part.dtype, device=self.device(part))
        whole[first:first + part.shape[0], ...] = part
        return whole

    def differentiable(self, plan: Computation, arrays: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        """`plan.forward`, the first of it registered with the library's automatic differentiation if it has one."""
        return plan.value(arrays)

    def errstate(self) -> AbstractContextManager[Any]:
        """Around all arithmetic: overflow and underflow are handled, and NumPy neither warns nor raises.

        Nor does it where it computes for another library.
        """
        numpy = sys.modules.get("numpy")
        return nullcontext() if numpy is None else numpy.errstate(all="ignore")

    def plain(self, arrays: tuple[Array, ...]) -> AbstractContextManager[Any]:
        """Around arithmetic that the library may differentiate itself."""
        return self.errstate()

    def untracked(self, arrays: tuple[Array, ...]) -> AbstractContextManager[Any]:
        """Around arithmetic that nothing will differentiate."""
        return self.errstate()
