"""Engine 0 for losses of a batch as a whole: one number, which is no sum over samples."""

from collections.abc import Callable
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines import rowwise
from anglos.engines.numerics import Array
from anglos.engines.rowwise import ROLES, Direct, Step, count, unpack

__all__ = ["ROLES", "SAMPLES_ARE_INDEPENDENT", "backward", "count", "forward", "prepare", "unpack"]

SAMPLES_ARE_INDEPENDENT = False


def prepare(backend: Backend, row: Direct, inputs: dict[str, Array], **others: Any) -> Step:
    """The arrays in the type of the arithmetic; without samples, a loss that is 0."""
    step = rowwise.prepare(backend, row, inputs, **others)
    if next(iter(inputs.values())).shape[0] != 0:
        return step
    return step._replace(row=Direct(
        lambda _, first, *rest: backend.xp.sum(first),
        lambda _, g, *arrays: {name: 0.0 * g * one for name, one in zip(inputs, arrays, strict=True)
                               if backend.xp.isdtype(one.dtype, "real floating")}))


def forward(step: Step) -> tuple[Array, tuple[()]]:
    """The loss, (1,)."""
    value, saved = rowwise.forward(step)
    return value[None, ...] if hasattr(value, "shape") else value, saved


def backward(step: Step, saved: tuple[()], g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(g ℓ) for every input named in `needs`."""
    return rowwise.backward(step, saved, g[0, ...], needs)


def of_parts(parts: Callable[..., tuple[Any, ...]], gradients: Callable[..., dict[str, Array]],
             typeless: tuple[str, ...] = Direct.typeless) -> Direct:
    """A loss of which parts(backend, *arrays) are the value and what gradients(backend, g, *others) are made of."""
    return Direct(lambda *inputs: parts(*inputs)[0],
                  lambda backend, g, *arrays: gradients(backend, g, *parts(backend, *arrays)[1:]), typeless)
