"""Engine 2: losses over pairs of vectors, by one run over them (`single.py`) or one for each block (`blocks.py`)."""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array
from anglos.engines.pairs import blocks, single
from anglos.engines.pairs.block_rows import Blocks
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.single import ROLES, SAMPLES_ARE_INDEPENDENT, count

__all__ = ["ROLES", "ROWS", "SAMPLES_ARE_INDEPENDENT", "backward", "count", "forward", "prepare", "unpack"]

ROWS = (PairRow, Blocks)


def prepare(backend: Backend, row: Any, inputs: dict[str, Array], **how: Any) -> Any:
    """The step that both passes start from."""
    return _kind(row).prepare(backend, row, inputs, **how)


def forward(step: Any) -> tuple[Array, Any]:
    """The loss of every row, (B,), and what the gradient can use again."""
    found: tuple[Array, Any] = _kind(step.row).forward(step)
    return found


def backward(step: Any, saved: Any, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    found: dict[str, Array] = _kind(step.row).backward(step, saved, g, needs)
    return found


def unpack(row: Any, arrays: tuple[Array, ...]) -> Any:
    """The record that was packed."""
    return _kind(row).unpack(row, arrays)


def _kind(row: Any) -> Any:
    return blocks if isinstance(row, Blocks) else single
