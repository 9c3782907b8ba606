"""JAX: every loss is a custom_vjp, and tiles are swept by lax.scan."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from anglos._backend import Backend
from anglos._loss import Plan


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _differentiable(plan: Plan, arrays: tuple[jax.Array, ...]) -> Any:
    return plan.forward(arrays)


def _forward(plan: Plan, arrays: tuple[jax.Array, ...]) -> tuple[Any, Any]:
    per_row, residuals = plan.forward(arrays)
    return (per_row, residuals), (arrays, residuals)


def _backward(plan: Plan, saved: Any, cotangents: Any) -> tuple[tuple[Any, ...]]:
    (arrays, residuals), (g, _) = saved, cotangents
    # All of them: under jit, what nobody uses is not computed.
    needs = frozenset(name for name, array in zip(plan.names, arrays, strict=True)
                      if jnp.issubdtype(array.dtype, jnp.floating) and not plan.loss.kinds[name].frozen)
    gradients = plan.backward(g, arrays, residuals, needs)
    return (tuple(gradients[name] if name in gradients else _nothing(array)
                  for name, array in zip(plan.names, arrays, strict=True)),)


def _nothing(array: jax.Array) -> Any:
    """The gradient of what has none."""
    floating = jnp.issubdtype(array.dtype, jnp.floating)
    return jnp.zeros_like(array) if floating else np.zeros(array.shape, jax.dtypes.float0)


_differentiable.defvjp(_forward, _backward)


class Jax(Backend):
    """Traces have no device and no values; NumPy arrays may stand beside JAX's."""

    tile_elements = 1 << 24
    """XLA fuses the arithmetic of a whole tile: only memory asks for more than one."""

    @property
    def index_type(self) -> Any:
        return jax.dtypes.canonicalize_dtype(np.int64)

    def accepts(self, other: Backend) -> bool:
        return other is self or other.name == "numpy"

    def asarray(self, number: float, like: jax.Array, dtype: Any) -> jax.Array:
        return jnp.asarray(number, dtype=dtype)

    def arange(self, count: int, like: jax.Array) -> jax.Array:
        return jnp.arange(count, dtype=like.dtype)

    def device(self, array: jax.Array) -> None:
        return None

    def bounds(self, array: jax.Array) -> tuple[float, float] | None:
        if isinstance(array, jax.core.Tracer) or {device.platform for device in array.devices()} != {"cpu"}:
            return None
        if not array.is_fully_addressable:
            return None
        values = np.asarray(array)
        return values.min(), values.max()

    def adopt(self, array: np.ndarray) -> jax.Array:
        if array.dtype.kind in "iu":
            # JAX wraps what its integers cannot hold: a label out of range could become a class.
            limits = np.iinfo(self.index_type)
            array = np.clip(array, limits.min, limits.max)
        return jnp.asarray(array)

    def sum_by_label(self, values: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
        return jax.ops.segment_sum(values, labels, classes)

    def rank(self, ordered: jax.Array, values: jax.Array, strict: bool = False) -> jax.Array:
        return jax.vmap(functools.partial(jnp.searchsorted, side="left" if strict else "right"))(ordered, values)

    def scatter(self, weights: jax.Array, columns: jax.Array, like: jax.Array) -> jax.Array:
        return jax.vmap(lambda one, places: jnp.zeros_like(like[0]).at[places].add(one))(weights, columns)

    def stop_gradient(self, array: jax.Array) -> jax.Array:
        return jax.lax.stop_gradient(array)

    def sweep(self, visit: Callable[..., tuple[Any, tuple[Any, ...]]], combine: Callable[[Any, Any], Any],
              arrays: tuple[jax.Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        """By lax.scan: under jit a Python loop saves no memory, and compiles for minutes."""
        classes = next(array.shape[0] for array in arrays if array is not None)
        rest = (classes - 1) // width  # whole tiles, after a first one of what is left over
        first = classes - rest * width
        state, outputs = visit(0, *(None if array is None else array[:first] for array in arrays))
        if rest == 0:
            return state, outputs
        tiles = [None if array is None else array[first:].reshape(rest, width, *array.shape[1:]) for array in arrays]

        def step(state: Any, tile: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
            start, *slices = tile
            partial, output = visit(start, *slices)
            return combine(state, partial), output

        starts = jnp.arange(first, classes, width, dtype=self.index_type)
        state, rests = jax.lax.scan(step, state, (starts, *tiles))
        return state, tuple(None if head is None else jnp.concat([head, tail.reshape(-1, *tail.shape[2:])])
                            for head, tail in zip(outputs, rests, strict=True))

    def differentiable(self, plan: Plan, arrays: tuple[jax.Array, ...]) -> tuple[Any, tuple[Any, ...]]:
        per_row, residuals = _differentiable(plan, arrays)
        return per_row, jax.lax.stop_gradient(residuals)


backend = Jax("jax", jnp)
