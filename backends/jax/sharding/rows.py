"""Rows of a batch over devices, against the columns of all: where arrays are whole, and inside `jax.shard_map`."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from anglos.arrays.monoid import Monoid

from .._arrays import Jax
from .shards import Spread


class WholeRows(Spread):
    """Every device has ⌊B / P⌋ of the rows of whole arrays. What is left are fewer than P, which each has."""

    def columns(self, own: jax.Array) -> jax.Array:
        return self._placed(own, None)

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[jax.Array | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        count = next(array.shape[0] for array in arrays if array is not None)
        even = count - count % self.shards
        if even == count:
            return super().sweep(tile, monoid, arrays, width)
        rest = Jax.sweep(self, lambda first, *slices: tile(even + first, *slices), monoid,
                         jax.tree.map(lambda array: array[even:], arrays), width)
        if not even:
            return rest
        state, outputs = super().sweep(tile, monoid, jax.tree.map(lambda array: array[:even], arrays), width)
        return monoid.combine(jnp, state, rest[0]), jax.tree.map(
            lambda *parts: jnp.concatenate(parts), outputs, rest[1])


class OwnRows(Jax):
    """Inside `jax.shard_map`: the rows of this device, and by collectives over the axes the columns of all."""

    def __init__(self, axes: tuple[str, ...], devices: int) -> None:
        super().__init__("jax", jnp)
        self.axes, self.places = axes, devices

    @property
    def alone(self) -> Jax:
        return _ALONE

    def rows(self, own: jax.Array) -> int:
        return int(own.shape[0]) * self.places

    def first_row(self, own: jax.Array) -> jax.Array:
        number: jax.Array = jax.lax.axis_index(self.axes).astype(self.index_type)
        return number * own.shape[0]

    def columns(self, own: jax.Array) -> jax.Array:
        columns: jax.Array = jax.lax.all_gather(own, self.axes, tiled=True)
        return columns

    def own_columns(self, columns: jax.Array) -> jax.Array:
        each = columns.shape[0] // self.places
        return jax.lax.dynamic_slice_in_dim(columns, jax.lax.axis_index(self.axes) * each, each)

    def own_sums(self, parts: jax.Array) -> jax.Array:
        sums: jax.Array = jax.lax.psum_scatter(parts, self.axes, tiled=True)  # type: ignore[no-untyped-call]
        return sums

    def column_mean(self, own: jax.Array) -> jax.Array:
        mean: jax.Array = jax.lax.pmean(super().column_mean(own), self.axes)  # type: ignore[no-untyped-call]
        return mean

    def over_rows(self, monoid: Monoid, state: Any) -> Any:
        """Each device combines those of its own columns: so it holds two states, and not one of every device."""
        parts = jax.tree.map(lambda one: jax.lax.all_to_all(  # type: ignore[no-untyped-call]
            jnp.reshape(one, (self.places, -1)), self.axes, 0, 0, tiled=True), state)
        each = (jax.tree.map(lambda one, place=place: one[place], parts) for place in range(self.places))
        mine = functools.reduce(functools.partial(monoid.combine, jnp), each)
        return jax.tree.map(lambda one: jax.lax.all_gather(one, self.axes, tiled=True), mine)

    def shift(self, own: jax.Array) -> jax.Array:
        to_next = [(place, (place + 1) % self.places) for place in range(self.places)]
        shifted: jax.Array = jax.lax.ppermute(own, self.axes, to_next)  # type: ignore[no-untyped-call]
        return shifted

    def turns(self, turn: Callable[[Any, Any], Any], carry: Any) -> Any:
        places = jnp.arange(self.places - 1, dtype=self.index_type)
        return jax.lax.scan(lambda carry, place: (turn(place, carry), None), carry, places)[0]

    def columns_from(self, place: Any, pairs: jax.Array, many: int) -> jax.Array:
        device = (jax.lax.axis_index(self.axes) - place) % self.places
        return jax.lax.dynamic_slice_in_dim(pairs, device * many, many, axis=1)


_ALONE = Jax("jax", jnp)

# One for all calls: another would be traced anew.
whole_rows = functools.cache(WholeRows)
own_rows = functools.cache(OwnRows)
