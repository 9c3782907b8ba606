"""Arguments of losses over pairs where one has some of the rows, and is to compare them with the columns of all."""

from dataclasses import replace
from typing import Any

from anglos.call.kinds import ArrayOf, by_role, describe, refuse
from anglos.call.loss import Loss
from anglos.engines.pairs import engine as _pairs
from anglos.engines.pairs import means as _means
from anglos.engines.prototypes import centroids as _centroids

_OF_ALL = {"B B": "B R", "B M": "B A", "B N": "B A"}
"""Shapes of what is said of pairs with own rows or columns, and of the same with the R rows or A columns of all."""


def check_shares_batch(loss: Any, ring: bool) -> None:
    """Refuse a loss whose samples are independent, and a ring for one of other columns than keys."""
    if not isinstance(loss, Loss) or loss.engine not in (_pairs, _means, _centroids):
        what = loss.name if isinstance(loss, Loss) else describe(loss)
        raise TypeError(f"batch_sharded: loss was {what}; wanted a loss that compares samples of a batch with each "
                        "other, such as anglos.info_nce: others are of own rows as they are")
    if ring and not (loss.engine is _pairs and {"queries", "keys"} <= by_role(loss.kinds).keys()):
        raise ValueError(f"batch_sharded: ring was True, and loss {loss.name}; wanted one of queries and keys, as "
                         "anglos.clip and anglos.siglip are")


def against_all_columns(kind: Any) -> Any:
    """The kind of an argument; of one that has a number for every pair of own rows and columns, with those of all."""
    if not isinstance(kind, ArrayOf):
        return kind
    other, without = against_all_columns(kind.other), kind.without
    if without is not None:
        without = without[0], against_all_columns(without[1])
    return replace(kind, shape=_OF_ALL.get(kind.shape, kind.shape), other=other, without=without)


def rows_and_columns(call: Any) -> tuple[int, int]:
    """How many rows and columns are one's own."""
    inputs = dict(zip(call.plan.roles, call.arrays, strict=True))
    rows = inputs["queries" if "queries" in inputs else "embeddings"]
    columns = next((inputs[role] for role in ("negatives", "reference_embeddings") if role in inputs), rows)
    return rows.shape[0], columns.shape[0]


def check_columns(call: Any, rows: int, columns: int) -> None:
    """Refuse what is said of pairs with another number of columns, or of rows, than all have together."""
    numbers = {"B R": rows, "B A": columns}
    for name, array in zip(call.plan.names, call.arrays, strict=True):
        kind = call.plan.contents.kinds[name]
        number = numbers.get(getattr(kind, "shape", ""))
        if number is not None and array.shape[1] != number:
            refuse(call.plan.loss.name, name, ValueError, f"was of shape {tuple(array.shape)}",
                   f"{(array.shape[0], number)}: own rows against the {number} columns of all")
