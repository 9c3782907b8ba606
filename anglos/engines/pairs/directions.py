"""The blocks of a loss of queries and keys, from the words that options have for them."""

from collections.abc import Mapping
from typing import Any

from anglos.engines.pairs.block_rows import Block, Group

DIRECTIONS = ("query_to_key", "key_to_query", "query_to_query", "key_to_key")

_SIDES = {"query": "queries", "key": "keys"}


def groups_of(directions: tuple[str, ...], *, joint: bool = True, once: bool = False, in_batch: bool = True,
              given: tuple[str, ...] = (), of_all: bool = False, hardness: Any = None, hardness_on: str = "all"
              ) -> tuple[Group, ...]:
    """Of all directions one denominator, or each its own; given negatives are among those of queries to keys.

    A key stands where its query is compared with keys, or it with queries: once for each of these, or once in all.
    """
    found = {}
    for direction in directions:
        rows, columns = (_SIDES[word] for word in direction.split("_to_"))
        forward = direction == "query_to_key"
        mask = "false_negatives" if forward else f"false_negatives_{direction}"
        of_batch, of_given = (hardness if hardness_on in ("all", which) else None for which in ("in_batch", "given"))
        found[direction] = (*[Block(rows, columns, of_batch, mask)] * (in_batch or not forward), *[
            Block(rows, one, of_given, "" if in_batch or one == "hard_negatives" else mask,
                  of_all=of_all and one == "hard_negatives") for one in given if forward])
    copies = [0 if direction in ("query_to_query", "key_to_key") else 1 for direction in found]
    if joint:
        return (Group(tuple([one for blocks in found.values() for one in blocks]), 1 if once else sum(copies)),)
    return tuple([Group(blocks, 1 if once else number) for blocks, number in zip(found.values(), copies, strict=True)])


def check_directions(caller: str, directions: tuple[str, ...], others: Mapping[str, Any], masks: Mapping[str, Any], *,
                     symmetric: bool, in_batch: bool, hardness_on: str) -> None:
    """Refuse what means nothing beside the rest; `masks` by direction."""
    given, one_way = [name for name, array in others.items() if array is not None], directions == ("query_to_key",)
    wrong = {
        f"symmetric was True; wanted False with {'hard_negatives' if given else 'directions'}; the mean "
        "of both ways is directions=('query_to_key', 'key_to_query'), partition='separate'":
            symmetric and (bool(given) or not one_way),
        f"directions was {directions}; wanted 'query_to_key' among them, with {' and '.join(given)}":
            bool(given) and "query_to_key" not in directions,
        "hardness_on was 'in_batch'; wanted 'all', or in_batch=True beside it":
            hardness_on == "in_batch" and not in_batch and one_way,
        **{f"false_negatives{'' if one == 'query_to_key' else f'_{one}'} was given; wanted None without {one!r} among "
           "directions": mask is not None and one not in directions for one, mask in masks.items()},
        "false_negatives was given; wanted None with hard_negatives alone: hard_negatives_mask":
            masks["query_to_key"] is not None and not in_batch and given == ["hard_negatives"],
    }
    for message, is_wrong in wrong.items():
        if is_wrong:
            raise ValueError(f"{caller}: {message}")
