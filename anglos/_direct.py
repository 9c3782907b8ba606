"""Engine 0: losses on logits, which are given whole."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from anglos._numerics import Array, float_type


@dataclass(frozen=True)
class Direct:
    """value(backend, logits[, labels]) -> (B,), and its slope in the logits -> (B, C)."""

    value: Callable[..., Array]
    slope: Callable[..., Array]


def forward(backend: Any, row: Direct, inputs: dict[str, Array]) -> tuple[Array, tuple[Array, ...]]:
    """The loss of every row, (B,)."""
    return row.value(backend, *_upcast(backend.xp, inputs)), ()


def backward(backend: Any, row: Direct, inputs: dict[str, Array], residuals: tuple[Array, ...], g: Array,
             needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i)/∂logits."""
    return {"logits": g[:, None] * row.slope(backend, *_upcast(backend.xp, inputs))} if needs else {}


def _upcast(xp: Any, inputs: dict[str, Array]) -> tuple[Array, ...]:
    logits, *labels = inputs.values()
    return xp.astype(logits, float_type(xp, logits), copy=False), *labels
