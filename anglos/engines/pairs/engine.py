"""Engine 2: losses over pairs of vectors, a tile of rows against all columns at a time.

    S_ij = x_i · r_j,   the values are logits z = scale · S + bias or distances d(S),   ℓ_i = terms(values_i)

Columns are the same embeddings, reference embeddings, keys, or a row's own key followed by negatives; a row is complete
in its tile, so a loss supplies nothing but its terms and their slopes, in its options and K = ∂ℓ/∂values. With
G = g_i K ∂values/∂S: ∂x = G r and ∂r = Gᵀ x, and for distances of free lengths, D² = |x|² + |r|² − 2 S, −x Σ_j G_ij
and −r Σ_i G_ij besides.
"""

import math
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.monoid import SUM
from anglos.engines.numerics import Array
from anglos.engines.pairs.row import PairRow, PairTile, Terms
from anglos.engines.pairs.step import Sides, Tiles, sides_of
from anglos.engines.reductions import CrossEntropy
from anglos.engines.tile import Tile, marked_tile

SAMPLES_ARE_INDEPENDENT = False
INPUTS_BY_ROLE = True

_COLUMNS = CrossEntropy()


class Step(NamedTuple):
    """What both passes start from."""

    backend: Backend
    row: PairRow
    inputs: dict[str, Array]
    chosen: Any

    def remembered(self) -> None:
        """Nothing."""


def prepare(backend: Backend, row: PairRow, inputs: dict[str, Array], *, keep_bytes: int = 0,
            gradient_products: str = "full", saved: Any = None, chosen: Any = None, remembered: Any = None) -> Step:
    """The step that both passes start from."""
    return Step(backend, row, inputs, chosen)


def unpack(row: PairRow, arrays: tuple[Array, ...]) -> Any:
    return arrays


def forward(step: Step) -> tuple[Array, tuple[Array, ...]]:
    """The sum of the terms of every row, (B,), and how many they are; then what a symmetric loss needs of columns."""
    backend, row, inputs, chosen_before = step
    xp, sides = backend.xp, sides_of(backend, row, inputs)
    if 0 in (sides.rows.points.shape[0], sides.columns.points.shape[0]):
        nothing = xp.sum(sides.rows.points[:, :0], axis=-1)
        return nothing, (nothing, nothing, nothing, nothing)[: 4 if row.symmetric else 1]
    tiles = Tiles(backend, row, inputs, sides, _chosen(row, () if chosen_before is None else chosen_before))

    def visit(first: Any, *slices: Any) -> tuple[Any, tuple[Array, ...]]:
        tile, _, _ = tiles.visit(first, *slices)
        terms = row.terms(backend, tile)
        column = _COLUMNS.gather(backend, _by_column(xp, tile), None) if row.symmetric else {}
        return column, (terms.value, terms.count, *tile.chosen)

    columns, (value, count, *chosen) = backend.sweep(visit, _COLUMNS if row.symmetric else SUM, tiles.swept,
                                                     tiles.width)
    residuals: tuple[Array, ...] = (count, *chosen)
    if row.symmetric:
        label_logit = row.scale * xp.sum(sides.rows.points * sides.columns.points, axis=-1)
        column_value, of_columns = _COLUMNS.value(backend, columns, label_logit, count.shape[0])
        count = xp.where((count == 0.0) & (columns.total == 0.0), 0.0, 1.0 + xp.zeros_like(count))
        value, residuals = 0.5 * (value + column_value), (count, *of_columns)
    if row.length_penalty is not None:
        residuals = (xp.ones_like(count), *residuals[1:])
        value = value + row.length_penalty * _squares(xp, sides)
    return value, residuals


def backward(step: Step, residuals: Any, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    backend, row, inputs, _ = step
    xp, sides = backend.xp, sides_of(backend, row, inputs)
    if 0 in (sides.rows.points.shape[0], sides.columns.points.shape[0]):
        return {name: xp.zeros_like(inputs[name]) for name in needs}
    tiles = Tiles(backend, row, inputs, sides, _chosen(row, residuals))
    columns = sides.columns.points
    of_columns: Any = _COLUMNS.saved(*residuals[1:]) if row.symmetric else None
    fields = {row.names[name][0] for name in needs if name in row.names}
    options = needs - {side.name for side in sides if side is not None}

    def visit(first: Any, x: Array, *slices: Any) -> tuple[dict[str, Array], tuple[Array | None, ...]]:
        *others, g_tile = slices
        g_rows = g_tile[:, None]
        tile, similarity, square_slope = tiles.visit(first, x, *others)
        terms: Terms = row.terms(backend, tile)
        slope = g_rows * terms.slope()
        if row.symmetric:
            by_column = _by_column(xp, tile)
            other = xp.where(tile.positive, _COLUMNS.label_slope(backend, of_columns, 1),
                             _COLUMNS.rest_slope(backend, of_columns, by_column, 1))
            slope = 0.5 * (slope + other * g[None, :])
        d_scale = xp.sum(slope * similarity, axis=1) if "scale" in fields else None
        d_bias = xp.sum(slope, axis=1) if "bias" in fields else None
        slope = slope * (row.scale if square_slope is None else -2.0 * square_slope())
        d_own = None
        if sides.own is not None:
            d_own, slope = slope[:, 0], slope[:, 1:]
        d_rows, state = slope @ columns, {"columns": slope.T @ x}
        if tiles.free_lengths:
            d_rows = d_rows - x * xp.sum(slope, axis=1)[:, None]
            state["lengths"] = xp.sum(slope, axis=0)
        if terms.between_slope is not None:
            state["between"] = terms.between_slope(g_rows) * row.scale
        if options:
            state |= {name: xp.sum(g_tile * slope) for name, slope in terms.option_slopes().items() if name in options}
        return state, (d_rows, d_own, d_scale, d_bias)

    state, (d_rows, d_own, d_scale, d_bias) = backend.sweep(visit, SUM, (*tiles.swept, g), tiles.width)
    d_columns = state["columns"]
    if tiles.free_lengths:
        d_columns = d_columns - columns * state["lengths"][:, None]
    if "between" in state:
        d_columns = d_columns + (state["between"] + state["between"].T) @ columns
    d_points = {"rows": d_rows, "columns": d_columns, "own": None}
    if sides.own is not None:
        d_points["rows"] = d_rows + d_own[:, None] * sides.own.points
        d_points["own"] = d_own[:, None] * sides.rows.points
    if row.length_penalty is not None:
        for which in ("rows", "own" if sides.own else "columns"):
            d_points[which] = d_points[which] + 2.0 * row.length_penalty * g[:, None] * getattr(sides, which).points
    gradients: dict[str, Array] = {}
    for which, d_side in d_points.items():
        side = getattr(sides, which)
        if side is not None and side.name in needs:
            d_input = side.pullback(backend, d_side)
            gradients[side.name] = gradients[side.name] + d_input if side.name in gradients else d_input
    by_field = {"scale": d_scale, "bias": d_bias}
    if "length_penalty" in fields:
        by_field["length_penalty"] = g * _squares(xp, sides)
    for name in options:
        gradients[name] = state.get(name, 0.0)
        if name in row.names:
            field_name, slope = row.names[name]
            gradients[name] = gradients[name] + xp.sum(by_field[field_name] * slope)
    return gradients


def _chosen(row: PairRow, residuals: Any) -> tuple[Array, ...]:
    """What the rows chose, of the residuals."""
    return () if row.choose is None else tuple(residuals[1:])


def count(residuals: Any) -> Array:
    """How many terms there are in each row's loss."""
    return residuals[0]


def _squares(xp: Any, sides: Sides) -> Array:
    """|q|² + |k|² of every pair of rows."""
    return sum(xp.sum(side.points * side.points, axis=-1) for side in (sides.rows, sides.own or sides.columns))


def _by_column(xp: Any, tile: PairTile) -> Tile:
    """The same logits as a tile of A classes against N samples; a pair that is neither is left out."""
    logits = xp.where(tile.positive | tile.negative, tile.values, -math.inf)
    return marked_tile(xp, logits, tile.positive)
