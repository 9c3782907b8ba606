"""A ring of whole arrays: each device takes its own rows of them, and what it finds becomes whole again."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, Mesh, PartitionSpec

from anglos.call.plan import Plan
from anglos.engines.contract import pack

from .meshes import devices_along
from .rows import own_rows


class _OfOwn(Plan):
    """The plan of a device's own rows; behind its arrays is which of these are a part of the batch, or None for all."""

    def row_of(self, arrays: tuple[Any, ...]) -> tuple[Any, dict[str, jax.Array]]:
        row, inputs = super().row_of(arrays[:-1])
        return row, inputs if arrays[-1] is None else {"row_mask": arrays[-1], **inputs}


@dataclass(frozen=True)
class OverRing(Plan):
    """A plan whose arrays are whole. Its step is these arrays."""

    mesh: Any = None
    axes: tuple[str, ...] = ()

    __hash__ = Plan.__hash__

    def prepare(self, arrays: tuple[jax.Array, ...], **_: Any) -> tuple[jax.Array, ...]:
        return arrays

    def run(self, step: tuple[jax.Array, ...]) -> tuple[jax.Array, tuple[jax.Array, ...]]:
        def of_own(own: Plan, arrays: tuple[Any, ...]) -> tuple[jax.Array, ...]:
            value, saved = own.run(own.prepare(arrays))
            return value, *pack(saved)

        value, *saved = self._on_devices(of_own, PartitionSpec(self.axes), step)  # type: ignore[no-untyped-call]
        return value, tuple(saved)

    def backward(self, g: jax.Array, arrays: tuple[jax.Array, ...], residuals: tuple[jax.Array, ...],
                 needs: frozenset[str], anew: bool = False, remembered: Any = None) -> dict[str, jax.Array]:
        return self.gradients(arrays, residuals, g, arrays, needs)

    def gradients(self, step: Any, saved: Any, g: jax.Array, arrays: tuple[jax.Array, ...], needs: frozenset[str]
                  ) -> dict[str, jax.Array]:
        def of_own(own: Plan, arrays: tuple[Any, ...], g: jax.Array, *residuals: jax.Array) -> dict[str, jax.Array]:
            step = own.prepare(arrays)
            found = own.gradients(step, own.unpack(step.row, residuals), g, arrays[:-1], needs)
            return {name: one if one.ndim else jax.lax.psum(one, self.axes)  # type: ignore[no-untyped-call]
                    for name, one in found.items()}

        out = {name: self._spec(array) for name, array in zip(self.names, arrays, strict=True) if name in needs}
        found: dict[str, jax.Array] = self._on_devices(of_own, out, arrays, g, *saved)
        return found

    def _on_devices(self, of_own: Callable[..., Any], out: Any, arrays: tuple[jax.Array, ...], *others: jax.Array
                    ) -> Any:
        """What a function of own rows makes of all; where devices have not as many, of rows that are no part too."""
        places, context = devices_along(self.mesh, self.axes), jax.sharding.get_abstract_mesh()
        own = _like(self, _OfOwn, backend=own_rows(self.axes, places))
        count = arrays[0].shape[0]
        every = max(1, -(-count // places)) * places
        filled = [self._filled(one, every) for one in arrays]
        for place, role in enumerate(self.roles):
            if role == "false_negatives":  # of all columns
                filled[place] = self._filled(filled[place].T, every).T
        part = None if every == count else jnp.arange(every) < count
        given = ((*filled, part), *[self._filled(one, every) for one in others])
        found = jax.shard_map(
            lambda *given: of_own(own, *given), mesh=self.mesh if context.empty else context, out_specs=out,
            in_specs=jax.tree.map(self._spec, given), axis_names=set(self.axes))(*given)
        return jax.tree.map(lambda one: one[:count] if one.ndim else one, found)

    def _filled(self, array: jax.Array, rows: int) -> jax.Array:
        filled: jax.Array = self.backend.filled_up(array, rows) if array.ndim else array
        return filled

    def _spec(self, array: jax.Array) -> Any:
        return PartitionSpec(self.axes) if array.ndim else PartitionSpec()  # type: ignore[no-untyped-call]


def over_ring(plan: Plan, mesh: Mesh, axes: tuple[str, ...]) -> OverRing:
    """The plan for arrays that are whole, on this mesh."""
    kinds = (AxisType.Auto,) * len(mesh.axis_names)
    made: OverRing = _like(plan, OverRing, mesh=Mesh(mesh.devices, mesh.axis_names, axis_types=kinds), axes=axes)
    return made


def _like(plan: Plan, kind: Any, **others: Any) -> Any:
    """The same plan as another kind of it."""
    return kind(**{field.name: getattr(plan, field.name) for field in fields(Plan)} | others)
