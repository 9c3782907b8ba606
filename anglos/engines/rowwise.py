"""Engine 0: losses that need no tiles; each brings its value and its gradients, sample by sample."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, float_type


@dataclass(frozen=True)
class Direct:
    """value(backend, *arrays) -> (B,), and gradients(backend, g, *arrays) -> ∂(Σ g_i ℓ_i) by the array's name."""

    value: Callable[..., Array]
    gradients: Callable[..., dict[str, Array]]

SAMPLES_ARE_INDEPENDENT = True
INPUTS_BY_ROLE = False

_MAY_BE_INTEGERS = ("labels", "targets")
"""Arrays that do not decide the type of the arithmetic."""


class Step(NamedTuple):
    """What both passes start from."""

    backend: Backend
    row: Direct
    arrays: tuple[Array, ...]

    def remembered(self) -> None:
        """Nothing."""


def prepare(backend: Backend, row: Direct, inputs: dict[str, Array], **others: Any) -> Step:
    """The arrays in the type of the arithmetic."""
    return Step(backend, row, _upcast(backend.xp, inputs))


def unpack(row: Direct, arrays: tuple[Array, ...]) -> tuple[()]:
    return ()


def forward(step: Step) -> tuple[Array, tuple[()]]:
    """The loss of every sample, (B,)."""
    return step.row.value(step.backend, *step.arrays), ()


def backward(step: Step, saved: tuple[()], g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    gradients = step.row.gradients(step.backend, g, *step.arrays) if needs else {}
    return {name: gradients[name] for name in needs}


def _upcast(xp: Any, inputs: dict[str, Array]) -> tuple[Array, ...]:
    dtype = float_type(xp, *(array for name, array in inputs.items() if name not in _MAY_BE_INTEGERS))
    return tuple(array if name in _MAY_BE_INTEGERS else xp.astype(array, dtype, copy=False)
                 for name, array in inputs.items())


def count(saved: Any) -> None:
    """How many terms there are in the loss of each sample: one."""
