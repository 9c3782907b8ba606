"""Losses of queries and keys where the keys of all ranks do not fit: they go round, and each rank sees them in turn.

With the keys of a rank goes what belongs to them: for the value their log-sum-exp over the queries, where the loss is
symmetric; for the gradient their slopes, and the gradient itself. A rank holds two ranks' keys at a time.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad

from anglos.arrays.monoid import SUM
from anglos.engines.exponentials import LogSumExp
from anglos.engines.numerics import largest_finite
from anglos.engines.pairs.columns import COLUMNS, gather, label_logit, with_columns
from anglos.engines.pairs.engine import ROLES, SAMPLES_ARE_INDEPENDENT, count, unpack
from anglos.engines.pairs.gradient import Gradient
from anglos.engines.pairs.row import PairRow, PairTile, Terms
from anglos.engines.pairs.saved import Saved
from anglos.engines.pairs.step import Columns, Rows, Step, step_of
from anglos.engines.pairs.terms import each_by_itself, one_of_many
from anglos.engines.pairs.tile import compare
from anglos.engines.reductions import Binary, CrossEntropy
from anglos.engines.tile import Tile, marked_tile

from .. import _namespace as xp
from .._backend import backend as _own
from .columns import filled

__all__ = ["ROLES", "SAMPLES_ARE_INDEPENDENT", "backward", "count", "forward", "prepare", "unpack"]

_REDUCTIONS: dict[Any, Any] = {one_of_many: CrossEntropy(), each_by_itself: Binary()}
"""Terms of a row, and the same from parts of the row."""


class Ring(NamedTuple):
    """What both passes start from: the step of own queries and keys, and by whom the keys go round."""

    step: Step
    """Filled up, so that all ranks do the same with as many: rows that are compared with nothing."""
    reduction: Any
    ranks: Any
    """The backend that knows them."""
    rows: Any
    """How many are the rank's own."""

    @property
    def row(self) -> PairRow:
        """Of the step."""
        return self.step.row

    def remembered(self) -> None:
        """Nothing: the keys go round again."""

    def against(self, keys: torch.Tensor, mask: torch.Tensor, place: int) -> Step:
        """The step of own queries and the keys that came from so many ranks before."""
        step, group, counts, many = self.step, self.ranks.group, self.ranks.column_counts, keys.shape[0]
        number, left_out = (group.rank - place) % group.size, step.swept.left_out
        if left_out is not None:
            first, count = (number * many, many) if counts is None else (sum(counts[:number]), counts[number])
            left_out = left_out[:, first:first + count]
            left_out = pad(left_out, (0, many - left_out.shape[1]))
        columns = Columns(keys, None, mask[:, 0] > 0.0 if mask.shape[1] else None, None)
        return step._replace(columns=columns, swept=step.swept._replace(left_out=left_out),
                             first_row=many if place else 0)

    def around(self, visit: Callable[..., torch.Tensor], home: torch.Tensor, *beside: torch.Tensor) -> torch.Tensor:
        """What own keys bring home, (b, n): visit(step, home, *beside) of every rank in turn makes more of it.

        What is given beside them goes with them as it is.
        """
        group, points, mask = self.ranks.group, self.step.columns.points, self.step.swept.mask
        marks = points[:, :0] if mask is None else mask.to(points.dtype)[:, None]
        parts = [home, points, marks, *beside]
        for place in range(group.size):
            home = visit(self.against(parts[1], parts[2], place), parts[0], *parts[3:])
            moved = [home] if place == group.size - 1 else [home, *parts[1:]]
            parts = list(group.shift(torch.cat(moved, dim=1)).split([one.shape[1] for one in moved], dim=1))
        found: torch.Tensor = parts[0]
        return found


def prepare(backend: Any, row: PairRow, inputs: dict[str, torch.Tensor], **_: Any) -> Ring:
    """The step of own queries and keys."""
    if row.terms not in _REDUCTIONS or "negatives" in inputs or row.length_penalty is not None:
        raise ValueError("batch_sharded: ring was True; wanted a loss of queries and keys alone, whose terms are "
                         "define.one_of_many or define.each_by_itself, as those of anglos.clip and anglos.siglip are")
    rows, counts = inputs["queries"].shape[0], backend.column_counts
    if counts is not None or rows == 0:
        most = max(1, *(counts or (1,)))
        inputs = {"row_mask": torch.ones_like(inputs["queries"][:, 0], dtype=torch.bool), **inputs}
        inputs = {role: filled(one, most) if one.ndim else one for role, one in inputs.items()}
    return Ring(step_of(_own, row, inputs), _REDUCTIONS[row.terms], backend, rows)


def forward(ring: Ring) -> tuple[torch.Tensor, Saved]:
    """As of the engine of pairs; as what the rows chose, what the slopes need of them."""
    step, reduction, symmetric, rows = ring.step, ring.reduction, ring.row.symmetric, ring.step.swept.points
    nothing = rows.new_zeros(rows.shape[:1])
    lowest = LogSumExp(nothing - largest_finite(xp, rows.dtype), nothing)
    state = lowest if reduction.of_exponentials else nothing

    def visit(step: Step, home: torch.Tensor) -> torch.Tensor:
        nonlocal state

        def of_tile(first: Any, *slices: Any) -> tuple[Any, tuple[Any, ...]]:
            tile = compare(step, first, Rows(*slices)).tile
            of_rows = reduction.gather(_own, _of_columns(tile), None)
            return gather(_own, tile) if symmetric else {}, of_rows if reduction.of_exponentials else (of_rows,)

        columns, found = _own.sweep(of_tile, COLUMNS if symmetric else SUM, step.swept, step.width)
        state = reduction.combine(xp, state, LogSumExp(*found) if reduction.of_exponentials else found[0])
        return torch.stack(COLUMNS.combine(xp, LogSumExp(*home.unbind(1)), columns)[:2], dim=1) if symmetric else home

    home = ring.around(visit, torch.stack(lowest[:2], dim=1) if symmetric else rows[:, :0])
    value, saved = reduction.value(_own, state, label_logit(step), 1)
    terms = (state.total != 0.0).to(value.dtype) if reduction.of_exponentials else torch.ones_like(value)
    columns = None
    if symmetric:
        value, terms, columns = with_columns(step, LogSumExp(*home.unbind(1)), value, terms)
    return value[:ring.rows], Saved(terms[:ring.rows], tuple([one for one in saved if one is not None]), columns)


def backward(ring: Ring, saved: Saved, g: torch.Tensor, needs: frozenset[str]) -> dict[str, torch.Tensor]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    points = ring.step.columns.points
    g = filled(g, points.shape[0])
    of_rows: list[Any] = [torch.zeros_like(points), None, torch.zeros_like(g), torch.zeros_like(g)]

    def visit(step: Step, home: torch.Tensor, *beside: torch.Tensor) -> torch.Tensor:
        step = step._replace(row=replace(step.row, terms=partial(_terms, ring.reduction)))
        of_columns = beside[0].unbind(1) if beside else ()
        here = saved._replace(columns=COLUMNS.saved(*of_columns[1:]) if beside else None)
        sums, found = Gradient(step, here, g, needs, *of_columns[:1]).swept()
        of_rows[:] = [one if more is None else one + more for one, more in zip(of_rows, found, strict=True)]
        of_keys: torch.Tensor = sums["points"]
        return home + of_keys

    beside = [torch.stack([g, *[one for one in saved.columns if one is not None]], dim=1)] if saved.columns else []
    home = ring.around(visit, torch.zeros_like(points), *beside)
    found = Gradient(ring.step, saved, g, needs).of_inputs({"points": home}, tuple(of_rows))
    return {role: one[:ring.rows] if role in ("queries", "keys") else one for role, one in found.items()}


def _of_columns(tile: PairTile) -> Tile:
    """The logits as a tile of classes, the columns, against the rows as samples; a pair that is neither is left out."""
    logits = torch.where(tile.positive | tile.negative, tile.values, -math.inf)
    return marked_tile(xp, logits.T, tile.positive.T)


def _terms(reduction: Any, backend: Any, tile: PairTile) -> Terms:
    """Their slopes alone, from what the rows chose."""
    saved = reduction.saved(*tile.chosen)

    def slope() -> torch.Tensor:
        of_label = reduction.label_slope(backend, saved, 1)[:, None]
        return torch.where(tile.positive, of_label, reduction.rest_slope(backend, saved, _of_columns(tile), 1).T)

    return Terms(None, None, slope)
