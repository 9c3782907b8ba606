"""Another number of classes: of arrays the first rows, and of what an optimizer keeps of them."""

from typing import Any

import jax
import jax.numpy as jnp

from anglos.call.kinds import describe


def resized(array: jax.Array, fresh: jax.Array) -> jax.Array:
    """The first rows as they were, any beyond them as in a fresh array, which has as many as there will be."""
    kept = min(len(array), len(fresh))
    return jnp.concatenate([array[:kept].astype(fresh.dtype), fresh[kept:]])


def carried(state: Any, fresh: Any) -> Any:
    """What an optimizer keeps, in the shapes of a fresh state.

    What has the same shape stays; what has a row for every class has another number of rows.
    """
    structures: list[Any] = [jax.tree.structure(one) for one in (state, fresh)]
    if structures[0] != structures[1]:
        raise ValueError(f"Head: the optimizer's state was {describe(state)} of another structure than it starts with; "
                         "wanted that of the optimizer itself, for these parameters")
    return jax.tree.map(_carried, state, fresh)


def _carried(old: Any, fresh: Any) -> Any:
    if jnp.shape(old) == jnp.shape(fresh):
        return old
    if jnp.shape(old)[1:] != jnp.shape(fresh)[1:] or not jnp.ndim(old):
        raise ValueError(f"Head: the optimizer's state held an array of shape {jnp.shape(old)}, and starts with one of "
                         f"{jnp.shape(fresh)}; wanted one with a row for every class, or none")
    return resized(old, fresh)
