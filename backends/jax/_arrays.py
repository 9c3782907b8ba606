"""JAX's arrays; tiles are swept by lax.scan."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anglos.arrays.backend import Backend, Computation
from anglos.arrays.library import Library, Spec
from anglos.arrays.monoid import Monoid

from ._derivatives import differentiable, own_arithmetic, precision
from ._products import Products

_ONLY_INTEGERS = frozenset((int,))
"""And no symbols, which jax.export has for sizes."""


class Jax(Products, Backend):
    """Traces have no device and no values; NumPy arrays may stand beside JAX's."""

    tile_elements = 1 << 24
    """XLA fuses the arithmetic of a whole tile: only memory asks for more than one."""

    turns_tiles = False
    """XLA would read what is transposed in strides, with all that it fuses."""

    @property
    def index_type(self) -> Any:
        return jax.dtypes.canonicalize_dtype(np.int64)

    def accepts(self, other: Library) -> bool:
        return other is self or other.name == "numpy"

    def asarray(self, number: float, like: jax.Array, dtype: Any) -> jax.Array:
        return jnp.asarray(number, dtype=dtype)

    def arange(self, count: int, like: jax.Array) -> jax.Array:
        return jnp.arange(count, dtype=like.dtype)

    draws_by = "a key, as jax.random.key(0)"

    def uniform(self, rng: Any, count: int, like: jax.Array) -> jax.Array | None:
        is_key = isinstance(rng, jax.Array) and (jnp.issubdtype(rng.dtype, jax.dtypes.prng_key)
                                                 if rng.ndim == 0 else rng.dtype == jnp.uint32)
        return jax.random.uniform(rng, (count,), jnp.float32) if is_key else None

    def spec(self, array: jax.Array) -> Spec:
        shape = array.shape
        return Spec(type(array), self, array.dtype, shape, None, None, _ONLY_INTEGERS.issuperset(map(type, shape)))

    def hint(self, kind: type) -> str:
        if issubclass(kind, jax.core.Tracer):
            return " (traced by JAX: under jax.jit name it in static_argnames)"
        return super().hint(kind)

    def device(self, array: jax.Array) -> None:
        return None

    def readable(self, array: jax.Array) -> bool:
        if isinstance(array, jax.core.Tracer):
            return False
        if not hasattr(array, "devices"):  # a NumPy array that is differentiated by, which JAX wraps
            return True
        return array.is_fully_addressable and {device.platform for device in array.devices()} == {"cpu"}

    def bounds(self, array: jax.Array) -> tuple[float, float] | None:
        if not self.readable(array):
            return None
        values = np.asarray(array)
        return values.min(), values.max()

    def surely_above(self, array: jax.Array, bound: Any) -> bool:
        return self.readable(array) and bool((array > bound).all())

    def class_tile_width(self, like: jax.Array, samples: int, dimension: int, classes: int, keep: bool) -> int:
        # Between the two passes over one tile XLA finds what they have in common, and keeps it.
        return classes if keep else max(1, (1 << 22) // jax.core.max_dim(samples, dimension))

    def makes_unit(self, w: jax.Array, samples: int) -> bool:
        return False  # a factor is fused into what comes next; Ŵ would be another array of the size of W

    def add_at_labels(self, labels: jax.Array, first: Any, rows: jax.Array, values: jax.Array, whole: bool = False
                      ) -> jax.Array:
        places = labels - first
        return rows.at[jnp.where(places < 0, rows.shape[0], places)].add(values, mode="drop")

    def adopt(self, array: np.ndarray) -> jax.Array:
        if array.dtype.kind in "iu":
            # JAX wraps what its integers cannot hold: a label out of range could become a class.
            limits = np.iinfo(self.index_type)
            array = np.clip(array, limits.min, limits.max)
        return jnp.asarray(array)

    def rank(self, ordered: jax.Array, values: jax.Array, strict: bool = False) -> jax.Array:
        return jax.vmap(functools.partial(jnp.searchsorted, side="left" if strict else "right"))(ordered, values)

    def scatter(self, weights: jax.Array, columns: jax.Array, like: jax.Array) -> jax.Array:
        return jax.vmap(lambda one, places: jnp.zeros_like(like[0]).at[places].add(one))(weights, columns)

    def reading(self, array: jax.Array) -> AbstractContextManager[Any]:
        if jax.typeof(array).sharding.mesh.explicit_axes:  # JAX does not compile for these there
            return nullcontext()
        return jax.ensure_compile_time_eval()  # under jit, of constants

    def whole(self, array: jax.Array) -> jax.Array:
        mesh = jax.typeof(array).sharding.mesh
        if not mesh.explicit_axes:
            return array  # of what is computed with it the compiler says how it is sharded
        everywhere = jax.sharding.PartitionSpec()  # type: ignore[no-untyped-call]
        sharding = jax.sharding.NamedSharding(mesh, everywhere)
        whole: jax.Array = jax.sharding.reshard(array, sharding)  # type: ignore[no-untyped-call]
        return whole

    def stop_gradient(self, array: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(array)

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[jax.Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        """By lax.scan: under jit a Python loop saves no memory, and compiles for minutes."""
        classes = next(array.shape[0] for array in arrays if array is not None)
        if width >= classes:
            return tile(0, *arrays)
        first = classes % width or width  # what is left over by whole tiles; otherwise one of them
        state, outputs = tile(0, *(None if array is None else array[:first] for array in arrays))
        # Written into the whole, which the loop updates in place: joined tiles would be a copy of the gradient.
        whole = tuple(None if part is None else jnp.zeros((classes, *part.shape[1:]), part.dtype).at[:first].set(part)
                      for part in outputs)

        def step(carry: Any, start: Any) -> tuple[Any, None]:
            state, whole = carry
            partial, output = tile(start, *(None if array is None else jax.lax.dynamic_slice_in_dim(
                array, start, width) for array in arrays))
            whole = tuple(None if part is None else jax.lax.dynamic_update_slice_in_dim(one, part, start, 0)
                          for one, part in zip(whole, output, strict=True))
            return (monoid.combine(self.xp, state, partial), whole), None

        (state, whole), _ = jax.lax.scan(step, (state, whole), jnp.arange(first, classes, width, dtype=self.index_type))
        return state, whole

    def differentiable(self, plan: Computation, arrays: tuple[jax.Array, ...]) -> tuple[Any, tuple[Any, ...]]:
        return differentiable(plan, arrays)

    def plain(self, arrays: tuple[jax.Array, ...]) -> AbstractContextManager[Any]:
        return own_arithmetic(precision())

    untracked = plain
