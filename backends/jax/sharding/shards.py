"""What all devices sweep, side by side, each as one device would; the compiler sends it there."""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from anglos.arrays.monoid import SUM, Monoid

from .._arrays import Jax
from .meshes import devices_along


class Spread(Jax):
    """What is swept is cut into as many equal parts as there are devices along the axes."""

    def __init__(self, mesh: Mesh, axes: tuple[str, ...]) -> None:
        super().__init__("jax", jnp)
        self.mesh = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))
        self.axes, self.shards = axes, devices_along(mesh, axes)

    def readable(self, array: jax.Array) -> bool:
        return False

    def plain(self, arrays: tuple[jax.Array, ...]) -> AbstractContextManager[Any]:
        explicit = [axis for array in arrays for axis in jax.typeof(array).sharding.mesh.explicit_axes]
        if explicit:
            raise ValueError(f"plain, value_and_grad: an array was on a mesh whose axis {explicit[0]!r} is explicit; "
                             "wanted the call inside jax.sharding.auto_axes, or axes of type AxisType.Auto")
        return super().plain(arrays)

    untracked = plain

    def class_tile_width(self, like: jax.Array, samples: int, dimension: int, classes: int, keep: bool) -> int:
        return min(super().class_tile_width(like, samples, dimension, classes, keep), -(-classes // self.shards))

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[jax.Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        sweep = super().sweep
        if self.shards == 1:
            return sweep(tile, monoid, arrays, width)

        def of_shard(begin: jax.Array, *mine: jax.Array | None) -> tuple[Any, tuple[Any, ...]]:
            return sweep(lambda first, *slices: tile(begin + first, *slices), monoid, mine, width)

        count = next(array.shape[0] for array in arrays if array is not None)
        begins = jnp.arange(self.shards, dtype=self.index_type) * -(-count // self.shards)
        states, outputs = jax.vmap(of_shard)(begins, *jax.tree.map(self._split, arrays))
        joined = jax.tree.map(lambda parts: self._joined(parts)[:count], outputs)
        if monoid.name == "sum":
            return jax.tree.map(lambda one: jnp.sum(one, axis=0), states), joined
        everywhere = jax.tree.map(lambda one: self._placed(one, None), states)
        each_state = (jax.tree.map(lambda one, place=place: one[place], everywhere) for place in range(self.shards))
        return functools.reduce(functools.partial(monoid.combine, jnp), each_state), joined

    def _split(self, array: jax.Array) -> jax.Array:
        """(N, ...) -> (P, ⌈N / P⌉, ...), one for every device, with zeros in place of what the last ones lack."""
        missing = -array.shape[0] % self.shards
        if missing:  # of an array that was cut so before, no row is moved
            array = jnp.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)])
        return self._placed(jnp.reshape(array, (self.shards, -1, *array.shape[1:])), self.axes)

    def _joined(self, parts: jax.Array) -> jax.Array:
        """And back."""
        return jnp.reshape(self._placed(parts, self.axes), (-1, *parts.shape[2:]))

    def _placed(self, array: jax.Array, axes: tuple[str, ...] | None) -> jax.Array:
        """The array with its first axis sharded so, and the others as they are."""
        context = jax.sharding.get_abstract_mesh()
        spec = PartitionSpec(axes, *(PartitionSpec.UNCONSTRAINED,) * (array.ndim - 1))  # type: ignore[no-untyped-call]
        sharding = NamedSharding(self.mesh if context.empty else context, spec)
        placed: jax.Array = jax.lax.with_sharding_constraint(array, sharding)  # type: ignore[no-untyped-call]
        return placed


class Shards(Spread):
    """Every device has ⌈C / P⌉ of the classes. What the last ones lack is left out as labels are."""

    def __init__(self, mesh: Mesh, axes: tuple[str, ...], number: int) -> None:
        super().__init__(mesh, axes)
        self.number = number
        """C"""

    def is_label(self, labels: jax.Array, first: Any, tile: jax.Array) -> jax.Array:
        is_label: jax.Array = super().is_label(labels, first, tile)
        if self.number % self.shards == 0:
            return is_label
        # Every reduction leaves the label's class out of the rest: so it does with what is no class.
        beyond: jax.Array = self.numbers(tile, labels) + first >= self.number
        return is_label | beyond[:, None]

    def of_label(self, array: jax.Array, labels: jax.Array) -> jax.Array:
        """Each from the device that has it."""
        def of_tile(first: Any, rows: jax.Array) -> tuple[jax.Array, tuple[()]]:
            places = labels - first
            here = (places >= 0) & (places < rows.shape[0])
            found = jnp.take(rows, jnp.where(here, places, 0), axis=0)
            return jnp.where(jnp.expand_dims(here, tuple(range(1, rows.ndim))), found, 0), ()

        of_label: jax.Array = self.sweep(of_tile, SUM, (array,), array.shape[0])[0]
        return of_label

    def sum_by_label(self, values: jax.Array, labels: jax.Array, classes: int) -> jax.Array:
        """On the device that has the class."""
        def of_tile(first: Any, rows: jax.Array) -> tuple[Any, tuple[jax.Array]]:
            return {}, (self.add_at_labels(labels, first, rows, values),)

        nothing = jnp.zeros((classes, values.shape[1]), values.dtype)
        sums: jax.Array = self.sweep(of_tile, SUM, (nothing,), classes)[1][0]
        return sums


# One for all calls: another would be traced anew.
shards_of = functools.cache(Shards)
