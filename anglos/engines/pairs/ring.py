"""Losses of queries and keys where the keys of all ranks do not fit: they go round, and each rank sees them in turn.

With the keys of a rank goes what belongs to them: for the value their log-sum-exp over the queries, where the loss is
symmetric; for the gradient their slopes, and the gradient itself. A rank holds two ranks' keys at a time.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import largest_finite
from anglos.arrays.monoid import SUM
from anglos.arrays.tile import Tile, marked_tile
from anglos.engines.exponentials import LogSumExp
from anglos.engines.numerics import Array
from anglos.engines.pairs.columns import COLUMNS, gather, logits_of, with_columns
from anglos.engines.pairs.gradient import Gradient
from anglos.engines.pairs.keys import REDUCTIONS
from anglos.engines.pairs.row import PairRow, PairTile, Terms
from anglos.engines.pairs.saved import Saved
from anglos.engines.pairs.single import ROLES, SAMPLES_ARE_INDEPENDENT, count, unpack
from anglos.engines.pairs.step import Columns, Rows, Step, label_logit, step_of
from anglos.engines.pairs.tile import compare

__all__ = ["ROLES", "SAMPLES_ARE_INDEPENDENT", "backward", "count", "forward", "prepare", "unpack"]


class Ring(NamedTuple):
    """What both passes start from: the step of own queries and keys, and by whom the keys go round."""

    step: Step
    """Filled up, so that all ranks do the same with as many: rows that are compared with nothing."""
    reduction: Any
    ranks: Backend
    """The backend that knows them."""
    rows: Any
    """How many are the rank's own."""

    @property
    def row(self) -> PairRow:
        """Of the step."""
        return self.step.row

    def remembered(self) -> None:
        """Nothing: the keys go round again."""

    def against(self, place: Any, keys: Array, marks: Array) -> Step:
        """The step of own queries and the keys that came from so many ranks before."""
        step, many, left_out = self.step, keys.shape[0], self.step.swept.left_out
        if left_out is not None:
            left_out = self.ranks.columns_from(place, left_out, many)
        columns = Columns(keys, None, marks[:, 0] > 0.0 if marks.shape[1] else None, None)
        return step._replace(columns=columns, swept=step.swept._replace(left_out=left_out),
                             first_row=(place > 0) * many)

    def around(self, visit: Callable[..., tuple[Any, Array]], state: Any, home: Array, *beside: Array
               ) -> tuple[Any, Array]:
        """What own queries find of the keys of all, and what own keys bring home, (b, n).

        visit(step, state, home, *beside) of every rank in turn makes more of both. What is given beside them goes with
        the keys as it is.
        """
        points, mask = self.step.columns.points, self.step.swept.mask
        marks = points[:, :0] if mask is None else self.step.backend.xp.astype(mask, points.dtype)[:, None]

        def turn(place: Any, carry: Any) -> Any:
            state, (home, keys, marks, *beside) = carry
            state, home = visit(self.against(place, keys, marks), state, home, *beside)
            return state, self._shifted(home, keys, marks, *beside)

        state, (home, keys, marks, *beside) = self.ranks.turns(turn, (state, (home, points, marks, *beside)))
        state, home = visit(self.against(self.ranks.places - 1, keys, marks), state, home, *beside)
        return state, self._shifted(home)[0]

    def _shifted(self, *parts: Array) -> tuple[Array, ...]:
        """What the rank before has, sent at once."""
        moved = self.ranks.shift(self.step.backend.xp.concat(parts, axis=1))
        ends = accumulate(part.shape[1] for part in parts)
        return tuple([moved[:, end - part.shape[1]:end] for end, part in zip(ends, parts, strict=True)])


def prepare(backend: Backend, row: PairRow, inputs: dict[str, Array], **_: Any) -> Ring:
    """The step of own queries and keys."""
    of_keys = isinstance(row, PairRow) and row.terms in REDUCTIONS and row.length_penalty is None
    if not of_keys or not {"negatives", "guide_queries"}.isdisjoint(inputs):
        raise ValueError("batch_sharded: ring was True; wanted a loss of queries and keys alone, whose terms are "
                         "define.one_of_many or define.each_by_itself, as those of anglos.clip and anglos.siglip are, "
                         "and no guide")
    rows, counts = inputs["queries"].shape[0], backend.column_counts
    if counts is not None or rows == 0:
        most = max(1, *(counts or (1,)))
        inputs = {"row_mask": backend.xp.ones_like(inputs["queries"][:, 0], dtype=backend.xp.bool), **inputs}
        inputs = {role: backend.filled_up(one, most) if one.ndim else one for role, one in inputs.items()}
    return Ring(step_of(backend.alone, row, inputs), REDUCTIONS[row.terms], backend, rows)


def forward(ring: Ring) -> tuple[Array, Saved]:
    """As of the engine of pairs; as what the rows chose, what the slopes need of them."""
    step, reduction, symmetric, rows = ring.step, ring.reduction, ring.row.symmetric, ring.step.swept.points
    backend, xp = step.backend, step.backend.xp
    nothing = xp.zeros_like(rows[:, 0])
    lowest = LogSumExp(nothing - largest_finite(xp, rows.dtype), nothing)

    def visit(step: Step, state: Any, home: Array) -> tuple[Any, Array]:
        def of_tile(first: Any, *slices: Any) -> tuple[Any, tuple[Any, ...]]:
            tile = compare(step, first, Rows(*slices)).tile
            of_rows = reduction.gather(backend, _of_columns(backend, tile), None)
            return gather(backend, tile) if symmetric else {}, of_rows if reduction.of_exponentials else (of_rows,)

        columns, found = backend.sweep(of_tile, COLUMNS if symmetric else SUM, step.swept, step.width)
        state = reduction.combine(xp, state, LogSumExp(*found) if reduction.of_exponentials else found[0])
        if symmetric:
            home = _stacked(xp, COLUMNS.combine(xp, LogSumExp(*_parts(home)), columns))
        return state, home

    state, home = ring.around(visit, lowest if reduction.of_exponentials else nothing,
                              _stacked(xp, lowest) if symmetric else rows[:, :0])
    value, saved = reduction.value(backend, state, label_logit(step), 1)
    terms = xp.astype(state.total != 0.0, value.dtype) if reduction.of_exponentials else xp.ones_like(value)
    columns = None
    if symmetric:
        value, terms, columns = with_columns(step, LogSumExp(*_parts(home)), value, terms)
    return value[:ring.rows], Saved(terms[:ring.rows], tuple([one for one in saved if one is not None]), columns)


def backward(ring: Ring, saved: Saved, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    points, xp = ring.step.columns.points, ring.step.backend.xp
    g = ring.ranks.filled_up(g, points.shape[0])

    def visit(step: Step, of_rows: tuple[Any, ...], home: Array, *beside: Array) -> tuple[tuple[Any, ...], Array]:
        step = step._replace(row=replace(step.row, terms=partial(_terms, ring.reduction)))
        of_columns = _parts(beside[0]) if beside else ()
        here = saved._replace(columns=COLUMNS.saved(*of_columns[1:]) if beside else None)
        sums, found = Gradient(step, here, g, needs, *of_columns[:1]).swept()
        return (tuple([one if more is None else one + more for one, more in zip(of_rows, found, strict=True)]),
                home + sums["points"])

    beside = [_stacked(xp, (g, *saved.columns))] if saved.columns else []
    nothing = xp.zeros_like(points)
    of_rows, home = ring.around(visit, (nothing, None, xp.zeros_like(g), xp.zeros_like(g)), nothing, *beside)
    found = Gradient(ring.step, saved, g, needs).of_inputs({"points": home}, of_rows)
    return {role: one[:ring.rows] if role in ("queries", "keys") else one for role, one in found.items()}


def _stacked(xp: Any, numbers: Any) -> Array:
    """Numbers of every key side by side, as they travel."""
    return xp.stack([one for one in numbers if one is not None], axis=1)


def _parts(stacked: Array) -> tuple[Array, ...]:
    return tuple([stacked[:, place] for place in range(stacked.shape[1])])


def _of_columns(backend: Backend, tile: PairTile) -> Tile:
    """The logits as a tile of classes, the columns, against the rows as samples."""
    return marked_tile(backend.xp, logits_of(backend, tile).T, tile.positive.T)


def _terms(reduction: Any, backend: Backend, tile: PairTile) -> Terms:
    """Their slopes alone, from what the rows chose."""
    saved = reduction.saved(*tile.chosen)

    def slope() -> Array:
        of_label = reduction.label_slope(backend, saved, 1)[:, None]
        of_rest = reduction.rest_slope(backend, saved, _of_columns(backend, tile), 1).T
        return backend.xp.where(tile.positive, of_label, of_rest)

    return Terms(None, None, slope)
