"""Losses whose prototypes are sharded on classes: every device sweeps its own, in JAX's shard_map."""

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from anglos import _prototypes
from anglos._backend import add_sums
from anglos._kinds import describe
from anglos._loss import Loss
from anglos.backends.jax import Jax


def class_sharded(loss: Loss[...], mesh: Mesh, axis: str | tuple[str, ...]) -> Callable[..., jax.Array]:
    """The loss with its weights sharded on classes over an axis of the mesh, or over several; call it under jax.jit.

    It takes what the loss takes, and has the same value and derivatives. No device ever holds all weights, their
    gradient, or all logits: each takes the classes it has a tile at a time, and what they exchange has the size of
    the embeddings. The number of classes must be a multiple of the number of devices along the axis.

    >>> import anglos, jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("classes",))
    >>> arcface = class_sharded(anglos.arcface, mesh, "classes")
    >>> jax.jit(arcface)(jnp.eye(4), jnp.ones((10, 4)), jnp.asarray([0, 1, 2, 3])).shape
    ()
    """
    if not isinstance(loss, Loss) or loss.engine is not _prototypes:
        what = loss.name if isinstance(loss, Loss) else describe(loss)
        raise TypeError(f"class_sharded: loss was {what}; wanted a loss with class prototypes, such as anglos.arcface")
    for name in (axis,) if isinstance(axis, str) else axis:
        if name not in mesh.axis_names:
            raise ValueError(f"class_sharded: axis was {name!r}; wanted one of {', '.join(map(repr, mesh.axis_names))}")
    backend = _backend_of(mesh, axis)

    def sharded(*arrays: Any, **options: Any) -> jax.Array:
        call = loss._prepare(arrays, options)
        plan = replace(call.plan, backend=backend)
        value: jax.Array = call._replace(plan=plan).reduce(*backend.differentiable(plan, call.arrays))
        return value

    return functools.update_wrapper(sharded, loss)


class _ClassSharded(Jax):
    """Sums over classes are sums over the devices of their sums; all else is left to the compiler."""

    def __init__(self, mesh: Mesh, axis: str | tuple[str, ...]) -> None:
        super().__init__("jax", jnp)
        self.mesh, self.axis = mesh, axis

    def readable(self, array: jax.Array) -> bool:
        return False

    def sweep(self, visit: Callable[..., tuple[Any, tuple[Any, ...]]], combine: Callable[[Any, Any], Any],
              arrays: tuple[jax.Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        by_class, super_sweep = PartitionSpec(self.axis), super().sweep
        context = jax.sharding.get_abstract_mesh()

        def of_device(*mine: jax.Array | None) -> tuple[Any, tuple[Any, ...]]:
            classes = next(array.shape[0] for array in mine if array is not None)
            begin = jax.lax.axis_index(self.axis) * classes
            state, outputs = super_sweep(lambda first, *tile: visit(begin + first, *tile), combine, mine,
                                         min(width, classes))
            return self._together(state, combine), outputs

        over = jax.shard_map(of_device, mesh=self.mesh if context.empty else context, in_specs=by_class,
                             out_specs=(PartitionSpec(), by_class),
                             axis_names={self.axis} if isinstance(self.axis, str) else set(self.axis))
        result: tuple[Any, tuple[Any, ...]] = jax.jit(over)(*arrays)
        return result

    def _together(self, state: Any, combine: Callable[[Any, Any], Any]) -> Any:
        """The states of all devices combined."""
        if combine is add_sums:
            return jax.lax.psum(state, self.axis)
        count, place = jax.lax.axis_size(self.axis), jax.lax.axis_index(self.axis)

        def of_all(one: jax.Array) -> jax.Array:  # a sum, for after an all_gather JAX does not know that all are equal
            return jax.lax.psum(jnp.zeros((count, *one.shape), one.dtype).at[place].set(one), self.axis)

        states = jax.tree.map(of_all, state)
        return functools.reduce(combine, (jax.tree.map(lambda all_: all_[i], states) for i in range(count)))


@functools.cache
def _backend_of(mesh: Mesh, axis: str | tuple[str, ...]) -> _ClassSharded:
    """One for all calls: a plan with another would be traced anew."""
    return _ClassSharded(mesh, axis)
