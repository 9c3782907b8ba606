"""Losses of queries and their keys whose negatives come in blocks: in-batch and given ones, of both sides.

A block has R_i = lse of the row's negatives: `shared_negatives.py`, `own_negatives.py`. Blocks that share a denominator
are a group: with z_i the logit of a query and its key and R = lse of the group's R_i, ℓ_i = ς(R − z_i); of several
groups the mean. A key that stands twice in its denominator is one of the R_i; one that does not stand there makes
ℓ_i = R − z_i.
"""

import math
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import (
    Array,
    float_type,
    log_sum_exp,
    share,
    sigmoid,
    softplus,
    unit_rows,
    unit_rows_pullback,
)
from anglos.engines.pairs.block_rows import Blocks
from anglos.engines.pairs.guide import guides_of
from anglos.engines.pairs.own_negatives import OwnNegatives
from anglos.engines.pairs.shared_negatives import SharedNegatives


class Step(NamedTuple):
    """What both passes start from."""

    backend: Backend
    row: Blocks
    inputs: dict[str, Array]
    queries: tuple[Array, Array]
    """Unit vectors, and 1 / length."""
    keys: tuple[Array, Array]
    runs: tuple[Any, ...]
    """Of all blocks in turn: `SharedNegatives` or `OwnNegatives`."""

    def remembered(self) -> tuple[Any, ...]:
        """Of every run."""
        return tuple([run.remembered() for run in self.runs])


class Saved(NamedTuple):
    """What the forward pass leaves."""

    count: Array
    """1 where a row has a negative, (B,)."""
    sums: tuple[Array, ...]
    """R_i of every block, −∞ where it has no negative."""


def prepare(backend: Backend, row: Blocks, inputs: dict[str, Array], *, saved: Any = None, chosen: Any = None,
            remembered: Any = None, **how: Any) -> Step:
    """The step that both passes start from."""
    xp = backend.xp
    dtype = float_type(xp, *[inputs[role] for role in ("queries", "keys", "hard_negatives") if role in inputs])
    if "hard_negatives_mask" in inputs:  # padding may hold anything
        kept = xp.where(inputs["hard_negatives_mask"][:, :, None], inputs["hard_negatives"], 0.0)
        inputs = {**inputs, "hard_negatives": kept}
    units = {role: unit_rows(backend, xp.astype(inputs[role], dtype, copy=False)) for role in ("queries", "keys")}
    inputs = _with_bound(backend, row, inputs)
    runs: list[Any] = []
    for block, known in zip(row.blocks, remembered or [None] * len(row.blocks), strict=True):
        if block.columns == "hard_negatives" and not block.of_all:
            runs.append(OwnNegatives(backend, row, block.hardness, units["queries"], inputs))
        else:
            runs.append(SharedNegatives(backend, row, block, inputs, remembered=known, **how))
    return Step(backend, row, inputs, units["queries"], units["keys"], tuple(runs))


def forward(step: Step) -> tuple[Array, Saved]:
    """The loss of every query, (B,), and what the gradient can use again."""
    sums = []
    for run in step.runs:
        value, of_run = run.forward()
        sums.append(step.backend.xp.where(of_run.count > 0.0, value, -math.inf))
    value, count, _, _ = _slopes(step, tuple(sums))
    return value, Saved(count, tuple(sums))


def backward(step: Step, saved: Saved, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input named in `needs`."""
    backend, xp, (queries, of_queries), (keys, of_keys) = step.backend, step.backend.xp, step.queries, step.keys
    _, _, by_sums, by_logit = _slopes(step, saved.sums)
    by_cos = g * by_logit
    pull = (step.row.scale * by_cos)[:, None]
    gradients = [("queries", unit_rows_pullback(backend, queries, of_queries, pull * keys)),
                 ("keys", unit_rows_pullback(backend, keys, of_keys, pull * queries))]
    gradients += [(name, xp.sum(by_cos * backend.dot(queries, keys) * slope))
                  for name, fields in step.row.names.items() for _, slope in fields]
    for run, total, by_sum in zip(step.runs, saved.sums, by_sums, strict=True):
        gradients += run.backward(total, g * by_sum, needs)
    found: dict[str, Array] = {}
    for name, gradient in gradients:
        if name in needs:
            found[name] = found[name] + gradient if name in found else gradient
    return found


def unpack(row: Blocks, arrays: tuple[Array, ...]) -> Saved:
    """The record whose arrays these are."""
    return Saved(arrays[0], tuple(arrays[1:]))


def _slopes(step: Step, sums: tuple[Array, ...]) -> tuple[Array, Array, list[Array], Array]:
    """ℓ_i; 1 where there is a negative; ∂ℓ_i/∂R_i of every block; ∂ℓ_i/∂z_i."""
    backend, xp, groups, rest = step.backend, step.backend.xp, len(step.row.groups), list(sums)
    logit = step.row.scale * backend.dot(step.queries[0], step.keys[0])
    value, by_logit, by_sums, some = xp.zeros_like(logit), xp.zeros_like(logit), [], xp.zeros_like(logit) > 0.0
    for blocks, copies in step.row.groups:
        own, rest = rest[:len(blocks)], rest[len(blocks):]
        many = xp.stack([*own, *[logit] * (copies == 2)], axis=1)
        here = xp.any(xp.stack(own, axis=1) != -math.inf, axis=1)
        total = log_sum_exp(xp, many, many != -math.inf)
        excess = xp.where(here, total[:, 0] - logit, -math.inf if copies else 0.0)
        missed = (sigmoid(backend, excess) if copies else xp.astype(here, value.dtype)) / groups
        parts = missed[:, None] * share(xp, many, total, many != -math.inf)
        value, some = value + (softplus(backend, excess) if copies else excess) / groups, some | here
        by_sums += [parts[:, place] for place in range(len(own))]
        by_logit = by_logit - (missed - parts[:, len(own)] if copies == 2 else missed)
    return value, xp.astype(some, value.dtype), by_sums, by_logit


def _with_bound(backend: Backend, row: Blocks, inputs: dict[str, Array]) -> dict[str, Array]:
    """Of a guide, what all blocks have in common: the cosines of queries with their keys say what is a negative."""
    if "guide_queries" not in inputs:
        return inputs
    own = {role: inputs[role] for role in ("guide_queries", "guide_keys")}
    (_, bound), _ = guides_of(backend, row.guide, own)
    return {**inputs, "bound": bound}
