"""Engine 0 for losses of a batch as a whole: one number, which is no sum over samples."""

from anglos.engines import rowwise
from anglos.engines.numerics import Array
from anglos.engines.rowwise import ROLES, Step, count, prepare, unpack

__all__ = ["ROLES", "SAMPLES_ARE_INDEPENDENT", "backward", "count", "forward", "prepare", "unpack"]

SAMPLES_ARE_INDEPENDENT = False


def forward(step: Step) -> tuple[Array, tuple[()]]:
    """The loss, (1,)."""
    value, saved = rowwise.forward(step)
    return value[None, ...], saved


def backward(step: Step, saved: tuple[()], g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(g ℓ) for every input named in `needs`."""
    return rowwise.backward(step, saved, g[0, ...], needs)
