"""Axes of a mesh, by their names; and a mesh as what can be pickled."""

import math
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from anglos.call.kinds import describe


def check_mesh(caller: str, mesh: Any, axis: Any) -> tuple[str, ...]:
    """The names of the axis, or of the axes."""
    if not isinstance(mesh, Mesh):
        raise TypeError(f"{caller}: mesh was {describe(mesh)}; wanted a jax.sharding.Mesh")
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    if not axes or len(set(axes)) < len(axes) or not set(axes) <= set(mesh.axis_names):
        raise ValueError(f"{caller}: axis was {axis!r}; wanted one or several of "
                         f"{', '.join(map(repr, mesh.axis_names))}")
    return axes


def is_inside(loss: str, mesh: Mesh, axes: tuple[str, ...]) -> bool:
    """Whether this is a call inside `jax.shard_map` over the axes; refused over some of them, or on another mesh."""
    context = jax.sharding.get_abstract_mesh()
    if not context.empty and any(context.shape.get(name) != mesh.shape[name] for name in axes):
        raise ValueError(f"{loss}: the mesh that is set was {dict(context.shape)}; wanted that of the loss, "
                         f"{dict(mesh.shape)}")
    inside = [name for name in axes if name in context.manual_axes]
    if inside and len(inside) < len(axes):
        raise ValueError(f"{loss}: it was called inside jax.shard_map over {', '.join(map(repr, inside))}; wanted it "
                         f"over all of {', '.join(map(repr, axes))}, or none")
    return bool(inside)


def devices_along(mesh: Mesh, axes: tuple[str, ...]) -> int:
    """How many there are."""
    return math.prod(mesh.shape[name] for name in axes)


class Named(NamedTuple):
    """A mesh by the numbers of its devices: devices themselves cannot be pickled."""

    platform: str
    devices: tuple[int, ...]
    shape: tuple[int, ...]
    names: tuple[str, ...]
    kinds: tuple[Any, ...]


def named(mesh: Mesh) -> Named:
    """The mesh as what can be pickled."""
    devices = mesh.devices.ravel().tolist()
    return Named(devices[0].platform, tuple(device.id for device in devices), mesh.devices.shape, mesh.axis_names,
                 mesh.axis_types)


def found(caller: str, mesh: Named) -> Mesh:
    """The mesh of the devices with these numbers here, whatever they are; refused where there is none."""
    here = {device.id: device for device in jax.devices(mesh.platform)}
    missing = [number for number in mesh.devices if number not in here]
    if missing:
        raise RuntimeError(f"{caller}: it was pickled with {mesh.platform} device {missing[0]}, and this process sees "
                           f"{len(here)}; wanted {caller} to be called again, with a mesh of these")
    devices = np.asarray([here[number] for number in mesh.devices], dtype=object).reshape(mesh.shape)
    return Mesh(devices, mesh.names, axis_types=mesh.kinds)
