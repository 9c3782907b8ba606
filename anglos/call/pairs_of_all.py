"""Arguments of losses over pairs where one has some of the rows, and is to compare them with the columns of all."""

from dataclasses import replace
from typing import Any

from anglos.call.kinds import ArrayOf, refuse


def against_all_columns(kind: Any) -> Any:
    """The kind of an argument; of one that has a number for every pair of own rows and columns, with A for all."""
    if not isinstance(kind, ArrayOf):
        return kind
    shape = "B A" if kind.shape in ("B B", "B M", "B N") else kind.shape
    other, without = against_all_columns(kind.other), kind.without
    if without is not None:
        without = without[0], against_all_columns(without[1])
    return replace(kind, shape=shape, other=other, without=without)


def rows_and_columns(call: Any) -> tuple[int, int]:
    """How many rows and columns are one's own."""
    inputs = dict(zip(call.plan.roles, call.arrays, strict=True))
    rows = inputs["queries" if "queries" in inputs else "embeddings"]
    columns = next((inputs[role] for role in ("negatives", "reference_embeddings") if role in inputs), rows)
    return rows.shape[0], columns.shape[0]


def check_columns(call: Any, number: int) -> None:
    """Refuse what is said of pairs with another number of columns than all have together."""
    for name, array in zip(call.plan.names, call.arrays, strict=True):
        if getattr(call.plan.contents.kinds[name], "shape", "") == "B A" and array.shape[1] != number:
            refuse(call.plan.loss.name, name, ValueError, f"was of shape {tuple(array.shape)}",
                   f"{(array.shape[0], number)}: own rows against the {number} columns of all")
