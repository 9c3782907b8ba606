"""Losses of queries and keys that are a reduction of each row: keys are classes, and a query is a sample.

Its label is the number of its own key, or that of no column where keys come before negatives. Samples that are compared
with each other are both: a row's label is that of its class, and columns have the numbers of theirs. A tile holds all
columns against A rows, (N, A). Nothing is asked of its logits but what the reduction gathers of them, and its slopes,
so that a backend may make these of the product itself.
"""

from math import prod
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.monoid import SUM
from anglos.engines.exponentials import LogSumExp, certain_shift
from anglos.engines.numerics import Array, is_number
from anglos.engines.pairs.columns import COLUMNS, with_columns
from anglos.engines.pairs.key_tiles import Swept, Tiles
from anglos.engines.pairs.log_sum import LogSumOfRest, log_sum_of_negatives
from anglos.engines.pairs.partners import BY_PARTNERS, positives_of
from anglos.engines.pairs.positives import runs_of
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.saved import Saved
from anglos.engines.pairs.step import Step
from anglos.engines.pairs.terms import each_by_itself, one_of_many
from anglos.engines.reductions import CrossEntropy, ExcludedPositive
from anglos.engines.sums import Binary

REDUCTIONS: dict[Any, Any] = {
    one_of_many: CrossEntropy(), each_by_itself: Binary(), log_sum_of_negatives: LogSumOfRest()}
"""Terms of a row, and the same from parts of the row."""

_PLAIN = frozenset(("queries", "keys", "negatives", "negatives_mask", "false_negatives"))
"""Inputs that are arrays, by role, where no guide says of rows what it does not say of columns."""
_GUIDED = _PLAIN | {"guide_queries", "guide_keys", "guide_negatives", "bound"}

FEW = 1 << 18
"""Pairs of one set with another."""

_OF_GROUPS = frozenset(("embeddings", "labels", "reference_embeddings", "reference_labels"))


def reduction_of(backend: Backend, row: PairRow, inputs: dict[str, Array], saved: Saved | None = None,
                 anew: bool = False) -> Any:
    """What every row is reduced by, where every column but its positives is a negative; otherwise None.

    As in the forward pass that saved it, when the same labels might be read.
    """
    if row.symmetric and not (backend.turns_tiles and row.terms is one_of_many):
        return None
    if any(one is not None for one in (row.distance, row.log_noise, row.choose, row.hardness)):
        return None
    arrays = {role: array for role, array in inputs.items() if array.ndim > 0}
    if not row.has_groups:
        known = _PLAIN if row.symmetric else _GUIDED
        return REDUCTIONS.get(row.terms) if "queries" in inputs and arrays.keys() <= known else None
    finds = hasattr(backend.xp, "searchsorted")  # MLX does not
    if not (finds and _are_groups(row, arrays)):
        return None
    if row.partners is not None:  # anew it is differentiated, and that is done of pairs
        meets = _meet_partners(backend, row, arrays) if saved is None or anew else len(saved.chosen) > 0
        return BY_PARTNERS[row.partners] if meets else None
    are_few = _are_few(backend, arrays) if saved is None else len(saved.chosen) == 0
    return None if are_few else ExcludedPositive()


def _are_groups(row: PairRow, inputs: dict[str, Array]) -> bool:
    """Whether samples have one label each, nothing is said of pairs, and it is known how many there are."""
    labels = [array for role, array in inputs.items() if role in ("labels", "reference_labels")]
    return (row.normalize and row.bias is None and inputs.keys() <= _OF_GROUPS
            and bool(labels) and all(one.ndim == 1 and isinstance(one.shape[0], int) for one in labels))


def _are_few(backend: Backend, inputs: dict[str, Array]) -> bool:
    """Whether it takes longer to find what is positive to whom than to compare each pair, here and now."""
    many: Any = [inputs[role].shape[0] for role in ("labels", "reference_labels") if role in inputs]
    return backend.readable(inputs["labels"]) and many[0] * many[-1] < FEW


def _meet_partners(backend: Backend, row: PairRow, inputs: dict[str, Array]) -> bool:
    """Whether partners are to be gathered."""
    labels, vectors = inputs["labels"], inputs["embeddings"]
    others: Any = inputs.get("reference_labels", labels)
    of_others: Any = inputs.get("reference_embeddings", vectors)
    bits = {backend.xp.finfo(one.dtype).bits == 64 for one in (vectors, of_others)}
    if len(bits) > 1 or _are_few(backend, inputs):
        return False
    return bool(backend.meets_partners(
        of_others, lambda: runs_of(backend.xp, labels, others, row.ignore_index).number))


def forward(step: Step) -> tuple[Array, Saved]:
    """As of the engine; as what the rows chose, what the slopes need of them."""
    backend, reduction, tiles = step.backend, step.reduction, Tiles(step)
    packed = tiles.packed() if _keeps_bits(step) else None
    positives, like_rows = positives_of(step, tiles), step.sides.rows.points[:, 0]
    shift = _certain_shift(step, like_rows) if reduction.of_exponentials else None
    of_columns = _certain_shift(step, tiles.like_columns()) if step.row.symmetric else None

    def of_tile(first: Any, *of_rows: Any) -> tuple[Any, tuple[Array, ...]]:
        *swept, packed, shift = of_rows
        tile = tiles.tile(first, Swept(*swept), packed)
        if step.row.symmetric:
            state, others = backend.terms_both_ways(tile, shift, of_columns)
            return LogSumExp(*others) if of_columns is None else LogSumExp(None, others[1]), state
        known = {} if shift is None else {"shift": shift}
        state = reduction.gather(backend, tile, like_rows, **known)
        return {}, state[:2] if reduction.of_exponentials else (state,)

    monoid = COLUMNS if step.row.symmetric else SUM
    columns, found = backend.sweep(of_tile, monoid, (*tiles.rows, packed, shift), step.width)
    value, count, saved = positives.value(LogSumExp(*found) if reduction.of_exponentials else found[0])
    chosen, both = tuple([one for one in (*saved, packed) if one is not None]), None
    if step.row.symmetric:
        columns = columns if of_columns is None else columns._replace(shift=of_columns)
        value, count, both = with_columns(step, columns, value, count)
    return value, Saved(count, chosen, both)


KEPT = 1 << 26
"""So many bytes of what a guide says of all pairs are kept for the gradient; of more it is asked again."""


def _keeps_bits(step: Step) -> bool:
    sizes: Any = (step.swept.points.shape[0], step.columns.points.shape[0])
    known = step.swept.guide is not None and all(isinstance(size, int) for size in sizes)
    return known and type(step.reduction) is not LogSumOfRest and prod(sizes) <= 8 * KEPT


def _certain_shift(step: Step, like: Array) -> Array | None:
    """For logits that are known to be in range, cosines times a number, a shift without any maximum."""
    row = step.row
    if not (row.normalize and is_number(row.scale) and (row.bias is None or is_number(row.bias))):
        return None
    bound = abs(row.scale) + abs(row.bias or 0.0)
    return certain_shift(step.backend, like, bound, None)  # a graph does not know how many columns there are
