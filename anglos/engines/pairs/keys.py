"""Losses of queries and keys that are a reduction of each row: keys are classes, and a query is a sample.

Its label is the number of its own key, or that of no column where keys come before negatives. A tile holds all columns
against A rows, (N, A). Nothing is asked of its logits but what the reduction gathers of them, and its slopes, so that a
backend may make these of the product itself.
"""

from typing import Any

from anglos.arrays.monoid import SUM
from anglos.arrays.scratch import Scratch
from anglos.arrays.tile import Product, Tile
from anglos.engines.exponentials import LogSumExp, certain_shift
from anglos.engines.numerics import Array, is_number
from anglos.engines.pairs.gradient import Gradient
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.saved import Saved
from anglos.engines.pairs.step import Step, label_logit
from anglos.engines.pairs.terms import each_by_itself, one_of_many
from anglos.engines.reductions import Binary, CrossEntropy

REDUCTIONS: dict[Any, Any] = {one_of_many: CrossEntropy(), each_by_itself: Binary()}
"""Terms of a row, and the same from parts of the row."""

_PLAIN = frozenset(("queries", "keys", "negatives"))
"""Of inputs with as many dimensions as vectors: others say that pairs are left out."""


def reduction_of(row: PairRow, inputs: dict[str, Array]) -> Any:
    """What every row is reduced by, where every column but its own key is a negative; otherwise None."""
    if row.symmetric or row.distance is not None or row.log_noise is not None or row.choose is not None:
        return None
    others = {role for role, array in inputs.items() if array.ndim > 0} - _PLAIN
    return None if others or "queries" not in inputs else REDUCTIONS.get(row.terms)


def forward(step: Step) -> tuple[Array, Saved]:
    """As of the engine; as what the rows chose, what the slopes need of them."""
    backend, reduction, tiles = step.backend, step.reduction, _Tiles(step)
    of_label = label_logit(step)
    shift = _certain_shift(step, of_label) if reduction.of_exponentials else None

    def of_tile(first: Any, x: Array, a: Array | None, shift: Array | None) -> tuple[Any, tuple[Array, ...]]:
        known = {} if shift is None else {"shift": shift}
        state = reduction.gather(backend, tiles.tile(first, x, a), of_label, **known)
        return {}, tuple(state[:2]) if reduction.of_exponentials else (state,)

    _, found = backend.sweep(of_tile, SUM, (*tiles.rows, shift), step.width)
    state = LogSumExp(*found) if reduction.of_exponentials else found[0]
    value, saved = reduction.value(backend, state, of_label, 1)
    xp = backend.xp
    count = xp.astype(state.total != 0.0, value.dtype) if reduction.of_exponentials else xp.ones_like(value)
    return value, Saved(count, tuple([one for one in saved if one is not None]))


def backward(step: Step, saved: Saved, gradient: Gradient) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input that is needed."""
    backend, xp, reduction, scale, g = step.backend, step.backend.xp, step.reduction, step.row.scale, gradient.g
    tiles, (queries, columns, key), fields = _Tiles(step), step.sides, gradient.fields

    def of_tile(first: Any, x: Array, a: Array | None, points: Array, g: Array, *chosen: Array
                ) -> tuple[dict[str, Array], tuple[Array | None, ...]]:
        """Σ_i g_i s G_ij x_i; and of every row Σ_j G_ij k_j and Σ_j G_ij, over the columns but its own."""
        tile = tiles.tile(first, x, a)
        slopes = reduction.rest_slope(backend, reduction.saved(*chosen), tile, 1)
        by_bias = xp.sum(slopes, axis=0) if "bias" in fields else None
        sums = {"points": tiles.product(slopes, points * (g * scale)[:, None])}
        return sums, (tiles.product(slopes.T, step.columns.points), by_bias)

    sums, (d_rows, by_bias) = backend.sweep(of_tile, SUM, (*tiles.rows, queries.points, g, *saved.chosen), step.width)
    of_label = g * reduction.label_slope(backend, reduction.saved(*saved.chosen), 1)
    d_rows = g[:, None] * d_rows + of_label[:, None] * (key or columns).points
    by_scale = backend.dot(queries.points, d_rows) if "scale" in fields else None
    by_bias = None if by_bias is None else g * by_bias + of_label
    d_keys = queries.points * (of_label * scale)[:, None]
    if key is None:
        sums["own"], d_keys = columns.scaled(d_keys) if step.as_is else d_keys, None
    return gradient.of_inputs(sums, (d_rows * scale, d_keys, by_scale, by_bias))


def _certain_shift(step: Step, like: Array) -> Array | None:
    """For logits that are known to be in range, cosines times a number, a shift without any maximum."""
    row = step.row
    if not (row.normalize and is_number(row.scale) and (row.bias is None or is_number(row.bias))):
        return None
    bound = abs(row.scale) + abs(row.bias or 0.0)
    return certain_shift(step.backend, like, bound, step.columns.points.shape[0])


class _Tiles:
    """Tiles of a step, one after the other in the same room."""

    def __init__(self, step: Step) -> None:
        self.step, self.backend, queries = step, step.backend, step.sides.rows
        self.rows: tuple[Array, Array | None] = (queries.points, None)
        """What is multiplied by the columns, and the factors of that."""
        if step.as_is:
            self.rows = step.inputs[queries.role], None if queries.inverse is None else queries.inverse[:, 0]
        several = step.backend.changes_arrays() and step.width < queries.points.shape[0]
        self.scratch = Scratch(step.backend, several)

    def tile(self, first: Any, x: Array, a: Array | None) -> Tile:
        """The rows from the first on against all columns."""
        step, backend, columns = self.step, self.backend, self.step.columns
        labels, own_keys = backend.numbers(x, step.numbers), step.sides.key is None
        labels = labels + (step.first_row + first) if own_keys else backend.xp.full_like(labels, -1)
        product = Product(columns.points, x, step.row.scale, a, columns.factor, step.row.bias, labels, 0)
        return backend.tile_of(None, labels, whole=own_keys, scratch=self._room(x), product=product)

    def product(self, slopes: Array, vectors: Array) -> Array:
        """A matrix product of the gradient."""
        if self.step.as_is:
            return self.backend.slope_product(slopes, vectors, self.step.columns.points.dtype)
        return self.backend.product(slopes, vectors)

    def _room(self, x: Array) -> Array | None:
        if not self.scratch.several:
            return None
        shape = self.step.columns.points.shape[0], x.shape[0]
        room: Any = self.scratch.take("product", self.step.sides.rows.points, shape[0] * shape[1])
        return self.backend.xp.reshape(room, shape)
