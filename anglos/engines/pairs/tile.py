"""A tile of pairs: values and masks, before any loss is taken."""

from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.engines.numerics import Array
from anglos.engines.pairs.distances import of_products
from anglos.engines.pairs.masks import masks_of
from anglos.engines.pairs.row import PairTile
from anglos.engines.pairs.step import Rows, Step


class Compared(NamedTuple):
    """A tile of pairs."""

    rows: Rows
    tile: PairTile
    similarity: Array
    """S, (A, N)."""
    slope: Callable[[], Any]
    """∂values/∂S."""


def compare(step: Step, first: Any, rows: Rows, chosen: tuple[Array, ...] = ()) -> Compared:
    """The rows from the first on against all columns; what they choose is chosen here, unless it was before."""
    similarity = _similarity(step, rows)
    values, slope = (_logits if step.row.distance is None else _distances)(step, rows, similarity)
    positive, negative, weight, of_columns = masks_of(step, first, rows)
    if step.row.hardness is not None:
        hardness = step.row.hardness * step.backend.stop_gradient(similarity)
        values = values + step.backend.xp.where(positive, 0.0, hardness)
    tile = PairTile(values, positive, negative, weight, step.between, step.part, chosen, rows.labels, of_columns)
    if step.row.choose is not None and not chosen:
        tile = tile._replace(chosen=step.row.choose(step.backend, tile))
    return Compared(rows, tile, similarity, slope)


def _similarity(step: Step, rows: Rows) -> Array:
    """S_ij = x_i · r_j; before them x_i · k_i of the row's key."""
    similarity = step.backend.product(rows.points, step.columns.points.T)
    if rows.keys is None:
        return similarity
    return _behind(step, step.backend.xp.sum(rows.points * rows.keys, axis=-1), similarity)


def _logits(step: Step, rows: Rows, similarity: Array) -> tuple[Array, Callable[[], Any]]:
    """Logits z = scale · S + bias − log M p, and ∂z/∂S = scale."""
    row, logits = step.row, step.row.scale * similarity
    if row.bias is not None:
        logits = logits + row.bias
    if row.log_noise is not None:
        xp = step.backend.xp
        many = _number(step, logits)
        nothing = xp.zeros_like(logits)
        of_key = nothing[:, 0] if rows.key_noise is None else rows.key_noise
        of_others = nothing[:, 1:] + (0.0 if step.columns.noise is None else step.columns.noise)
        logits = logits - xp.log(many) - _behind(step, of_key, of_others)
    return logits, lambda: row.scale


def _number(step: Step, like: Array) -> Array:
    """How many negatives there are, at least 1: with a mask, those that it counts."""
    xp, mask = step.backend.xp, None if step.sides.key is None else step.columns.mask
    if mask is not None:
        return xp.clip(xp.sum(xp.astype(mask, like.dtype)), 1.0)
    return step.backend.asarray(step.columns.points.shape[0], like, like.dtype)  # unknown to a compiler


def _distances(step: Step, rows: Rows, similarity: Array) -> tuple[Array, Callable[[], Any]]:
    """Distances d, and ∂d/∂S."""
    lengths = _squares(step, rows) if step.free_lengths else 2.0
    return of_products(step.backend, step.row.distance or "", similarity, lengths)


def _squares(step: Step, rows: Rows) -> Any:
    """|x|² + |r|²."""
    xp, columns = step.backend.xp, step.columns.points
    of_rows = xp.sum(rows.points * rows.points, axis=-1)
    squares = of_rows[:, None] + xp.sum(columns * columns, axis=-1)[None, :]
    if rows.keys is None:
        return squares
    return _behind(step, of_rows + xp.sum(rows.keys * rows.keys, axis=-1), squares)


def _behind(step: Step, of_key: Array, of_columns: Array) -> Array:
    """The key's column, and behind it the others."""
    return step.backend.xp.concat([of_key[:, None], of_columns], axis=1)
