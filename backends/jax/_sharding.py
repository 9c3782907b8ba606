"""Losses whose prototypes are sharded on classes: every device sweeps its own."""

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from anglos.arrays.monoid import Monoid
from anglos.call.kinds import describe
from anglos.call.loss import Loss, Options, _Call
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes import linear as _linear

from ._arrays import Jax


def class_sharded(loss: Loss[Options], mesh: Mesh, axis: str | tuple[str, ...]) -> Loss[Options]:
    """The loss for weights that are sharded on classes, over an axis of the mesh or several; to be used under jax.jit.

    It takes what the loss takes, and has the same value and derivatives. No device ever holds all weights, or all
    of their gradient: each computes the logits of its own classes, a tile at a time where `keep_bytes` asks for it,
    and what the devices exchange has the size of the embeddings. The number of classes must be a multiple of the
    number of devices along the axis. It takes whole weights: do not call it inside `jax.shard_map`. On a mesh with
    explicit axes its `plain` and `value_and_grad` must stand inside `jax.sharding.auto_axes`.

    >>> import anglos, jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("classes",))
    >>> arcface = class_sharded(anglos.arcface, mesh, "classes")
    >>> jax.jit(arcface)(jnp.eye(4), jnp.ones((10, 4)), jnp.asarray([0, 1, 2, 3])).shape
    ()
    """
    if not isinstance(loss, Loss) or loss.engine not in (_prototypes, _linear):
        what = loss.name if isinstance(loss, Loss) else describe(loss)
        raise TypeError(f"class_sharded: loss was {what}; wanted a loss with class prototypes, such as anglos.arcface")
    if not isinstance(mesh, Mesh):
        raise TypeError(f"class_sharded: mesh was {describe(mesh)}; wanted a jax.sharding.Mesh")
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(mesh.axis_names):
        raise ValueError(f"class_sharded: axis was {axis!r}; wanted one or several of "
                         f"{', '.join(map(repr, mesh.axis_names))}")
    made: Loss[Options] = _class_sharded(loss, mesh, axes)
    return made


class _ClassSharded(Loss[Options]):
    def __init__(self, loss: Loss[Options], backend: "_Shards") -> None:
        self.__dict__.update(loss.__dict__)
        self.backend = backend

    def __repr__(self) -> str:
        return f"<loss {self.dotted_name}, class_sharded over {', '.join(self.backend.axes)}>"

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None = ()) -> _Call:
        call = super()._prepare(arrays, options, wrt)
        name, classes, shards = self.arrays[1], call.plan.classes, self.backend.shards
        if classes % shards:
            raise ValueError(f"{self.name}: {name} held {classes} classes; wanted a multiple of {shards}, the devices "
                             f"along {', '.join(self.backend.axes)}")
        return call._replace(plan=replace(call.plan, backend=self.backend))


class _Shards(Jax):
    """The classes of all devices side by side, each swept as one device would; the compiler sends them there."""

    def __init__(self, mesh: Mesh, axes: tuple[str, ...]) -> None:
        super().__init__("jax", jnp)
        self.mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))
        self.axes = axes
        self.shards: int = math.prod(mesh.shape[name] for name in axes)

    def readable(self, array: jax.Array) -> bool:
        return False

    def class_tile_width(self, like: jax.Array, samples: int, dimension: int, classes: int, keep: bool) -> int:
        return min(super().class_tile_width(like, samples, dimension, classes, keep), classes // self.shards)

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[jax.Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        sweep = super().sweep
        if self.shards == 1:
            return sweep(tile, monoid, arrays, width)

        def of_shard(begin: jax.Array, *mine: jax.Array | None) -> tuple[Any, tuple[Any, ...]]:
            return sweep(lambda first, *slices: tile(begin + first, *slices), monoid, mine, width)

        split = jax.tree.map(lambda array: self._placed(
            jnp.reshape(array, (self.shards, -1, *array.shape[1:])), self.axes), arrays)
        each = jax.tree.leaves(split)[0].shape[1]
        begins = jnp.arange(self.shards, dtype=self.index_type) * each
        states, outputs = jax.vmap(of_shard)(begins, *split)
        joined = jax.tree.map(lambda part: jnp.reshape(self._placed(part, self.axes), (-1, *part.shape[2:])), outputs)
        if monoid.name == "sum":
            return jax.tree.map(lambda one: jnp.sum(one, axis=0), states), joined
        everywhere = jax.tree.map(lambda one: self._placed(one, None), states)
        each_state = (jax.tree.map(lambda one, place=place: one[place], everywhere) for place in range(self.shards))
        return functools.reduce(functools.partial(monoid.combine, jnp), each_state), joined

    def _placed(self, array: jax.Array, axes: tuple[str, ...] | None) -> jax.Array:
        """The array with its first axis sharded so, and the others as they are."""
        context = jax.sharding.get_abstract_mesh()
        spec = PartitionSpec(axes, *(PartitionSpec.UNCONSTRAINED,) * (array.ndim - 1))  # type: ignore[no-untyped-call]
        sharding = NamedSharding(self.mesh if context.empty else context, spec)
        placed: jax.Array = jax.lax.with_sharding_constraint(array, sharding)  # type: ignore[no-untyped-call]
        return placed


@functools.cache
def _class_sharded(loss: Any, mesh: Mesh, axes: tuple[str, ...]) -> Any:
    """One for all calls: another would be traced anew."""
    return _ClassSharded(loss, _Shards(mesh, axes))
