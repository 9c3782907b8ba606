"""Matrix products. Numbers of 16 bits are multiplied as they are; sums are float32 at least."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


class Products:
    """The products of the adapter."""

    def multiplies_as_is(self, a: jax.Array, b: jax.Array) -> bool:
        return a.dtype == b.dtype and a.dtype.itemsize == 2

    def product(self, a: jax.Array, b: jax.Array, out: None = None) -> jax.Array:
        return _sums_of_float32(a, b) if self.multiplies_as_is(a, b) else a @ b

    def bfloat16_product(self, a: jax.Array, b: jax.Array, out: None = None) -> jax.Array:
        return _of_bfloat16(a, b).astype(a.dtype)

    def product_of_factors(self, product: Callable[..., jax.Array], a: jax.Array, b: jax.Array, factor: jax.Array
                           ) -> jax.Array:
        """Not by another array of the size of b, where the factor is 1 for all rows."""
        some = jnp.any(factor != 1.0)
        found: jax.Array = jax.lax.cond(some, lambda: product(a, b * factor), lambda: product(a, b))
        return found

    def slope_product(self, a: jax.Array, b: jax.Array, dtype: Any, out: None = None) -> jax.Array:
        """Not rounded on a CPU, where XLA multiplies these as float32 in any case, of whole arrays."""
        rounded = _of_tf32 if dtype == jnp.float16 else _of_bfloat16
        product: jax.Array = jax.lax.platform_dependent(a, b, cpu=jnp.matmul, default=rounded)
        return product


def _sums_of_float32(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


def _of_bfloat16(a: jax.Array, b: jax.Array) -> jax.Array:
    """Which has the range of float32: slopes in float16 would be lost below 6e-8."""
    return _sums_of_float32(a.astype(jnp.bfloat16), b.astype(jnp.bfloat16))


def _of_tf32(a: jax.Array, b: jax.Array) -> jax.Array:
    """Which has the digits of float16, and that range."""
    precision: Any = jax.lax.Precision.HIGH
    return jnp.matmul(a.astype(jnp.float32), b.astype(jnp.float32), precision=precision)
