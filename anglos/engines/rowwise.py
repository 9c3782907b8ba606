"""Engine 0: losses that need no tiles; each brings its value and its gradients, row by row."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anglos.engines.numerics import Array, float_type


@dataclass(frozen=True)
class Direct:
    """value(backend, *arrays) -> (B,), and gradients(backend, g, *arrays) -> ∂(Σ g_i ℓ_i) by the array's name."""

    value: Callable[..., Array]
    gradients: Callable[..., dict[str, Array]]

ROWS_ARE_INDEPENDENT = True

_TOLD_APART = ("labels", "targets")
"""Arrays that do not tell the type of the arithmetic: they may be integers."""


def forward(backend: Any, row: Direct, inputs: dict[str, Array], means: Any, memo: dict[str, Any]
            ) -> tuple[Array, tuple[Array, ...]]:
    """The loss of every row, (B,)."""
    return row.value(backend, *_upcast(backend.xp, inputs)), ()


def backward(backend: Any, row: Direct, inputs: dict[str, Array], residuals: tuple[Array, ...], g: Array,
             needs: frozenset[str], means: Any, memo: dict[str, Any]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    gradients = row.gradients(backend, g, *_upcast(backend.xp, inputs)) if needs else {}
    return {name: gradients[name] for name in needs}


def _upcast(xp: Any, inputs: dict[str, Array]) -> tuple[Array, ...]:
    dtype = float_type(xp, *(array for name, array in inputs.items() if name not in _TOLD_APART))
    return tuple(array if name in _TOLD_APART else xp.astype(array, dtype, copy=False)
                 for name, array in inputs.items())


def count(residuals: Any) -> None:
    """How many terms there are in each row's loss: one."""
