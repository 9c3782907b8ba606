"""Engine 2: losses over pairs of vectors, a tile of rows against all columns at a time.

    S_ij = x_i · r_j,   v_ij = scale · S_ij + bias or d(S_ij),   ℓ_i = terms(v_i)

The values v are logits or distances. Columns are the same embeddings, reference embeddings, keys, or a row's key
followed by negatives. A row is complete in its tile, so that a loss supplies nothing but its terms and their slopes, in
its options and ∂ℓ/∂v. The value is written here and the gradient in `gradient.py`, once.
"""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.monoid import SUM
from anglos.engines.numerics import Array
from anglos.engines.pairs import key_slopes, keys
from anglos.engines.pairs.columns import COLUMNS, gather, with_columns
from anglos.engines.pairs.gradient import Gradient, lengths, terms_per_anchor
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.saved import Saved, unpack
from anglos.engines.pairs.step import Rows, Step, step_of
from anglos.engines.pairs.tile import compare

__all__ = ["ROLES", "SAMPLES_ARE_INDEPENDENT", "backward", "count", "forward", "prepare", "unpack"]

SAMPLES_ARE_INDEPENDENT = False
ROLES: tuple[tuple[str, ...], ...] = (("queries", "keys"), ("embeddings", "labels"), ("embeddings", "targets"))


def prepare(backend: Backend, row: PairRow, inputs: dict[str, Array], *, keep_bytes: int = 0,
            gradient_products: str = "full", saved: Saved | None = None, chosen: Saved | None = None,
            remembered: Any = None) -> Step:
    """The step that both passes start from."""
    reduction = keys.reduction_of(backend, row, inputs, chosen if saved is None else saved, chosen is not None)
    before = () if chosen is None or row.choose is None else chosen.chosen
    return step_of(backend, row, inputs, before, remembered, reduction)


def forward(step: Step) -> tuple[Array, Saved]:
    """The sum of the terms of every row, (B,), and how many they are; then what it chose, and what columns need."""
    row, xp = step.row, step.backend.xp
    if step.is_empty:
        nothing = xp.sum(step.swept.points[:, :0], axis=-1)
        return nothing, Saved(nothing, (), COLUMNS.saved(*[nothing] * 4) if row.symmetric else None)
    value, saved = _compared(step) if step.reduction is None else keys.forward(step)
    if row.length_penalty is not None:
        value, saved = value + row.length_penalty * lengths(step), saved._replace(count=xp.ones_like(value))
    if row.per_anchor is not None:
        value = value + terms_per_anchor(step, saved.count) * row.per_anchor(step.backend, step.swept.labels)[0]
    return value, saved


def _compared(step: Step) -> tuple[Array, Saved]:
    """The same of pairs that are compared one by one."""
    backend, row = step.backend, step.row

    def of_tile(first: Any, *slices: Any) -> tuple[Any, tuple[Array, ...]]:
        many = len(step.swept)
        tile = compare(step, first, Rows(*slices[:many]), slices[many:]).tile
        terms = row.terms(backend, tile)
        return gather(backend, tile) if row.symmetric else {}, (terms.value, terms.count, *tile.chosen)

    gathered, (value, count, *chosen) = backend.sweep(
        of_tile, COLUMNS if row.symmetric else SUM, (*step.swept, *step.chosen), step.width)
    columns = None
    if row.symmetric:
        value, count, columns = with_columns(step, gathered, value, count)
    return value, Saved(count, tuple(chosen), columns)


def backward(step: Step, saved: Saved, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    if step.is_empty:
        return {name: step.backend.xp.zeros_like(step.inputs[name]) for name in needs}
    gradient = Gradient(step, saved, g, needs)
    if step.reduction is not None:
        return key_slopes.backward(step, saved, gradient)
    return gradient.of_inputs(*gradient.swept())


def count(saved: Any) -> Array:
    """How many terms there are in the loss of every row."""
    return saved[0]
