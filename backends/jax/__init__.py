"""JAX: every loss is a custom_vjp; and losses over sharded classes and batches."""

import jax.numpy as jnp

# Not by their full names, under which a type checker does not find them in this repository.
from ._arrays import Jax
from ._grad_cache import grad_cache
from .sharding.batches import batch_sharded
from .sharding.classes import class_sharded

__all__ = ["Jax", "backend", "batch_sharded", "class_sharded", "grad_cache"]

backend = Jax("jax", jnp)


def __dir__() -> list[str]:
    return list(__all__)
