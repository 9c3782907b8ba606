"""What a loss of queries and keys in blocks puts into the scheme of `blocks.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anglos.engines.pairs.guide import RULE, Rule


class Block(NamedTuple):
    """Which vectors are compared with which, by the roles of the inputs.

    Attributes
    ----------
    rows
        "queries" or "keys".
    columns
        Queries or keys, where the row's own is no negative; "negatives"; or "hard_negatives", its own or `of_all`.
    hardness
        As of a `PairRow`.
    mask
        Which input says what is no negative.
    of_all
        Whether every row is compared with the hard negatives of all rows.
    """

    rows: str
    columns: str
    hardness: Any = None
    mask: str = ""
    of_all: bool = False


class Group(NamedTuple):
    """Blocks of one denominator.

    Attributes
    ----------
    blocks
        What is compared with the rows.
    copies
        How often the row's key stands in it: 0, 1 or 2.
    """

    blocks: tuple[Block, ...]
    copies: int


@dataclass(frozen=True)
class Blocks:
    """The row of such a loss.

    Attributes
    ----------
    groups
        Of each denominator its blocks.
    scale
        By which similarities are multiplied.
    names
        For an option on which fields of the row depend: these fields, each with its slope.
    guide
        As of a `PairRow`.
    """

    groups: tuple[Group, ...]
    scale: Any = 1.0
    names: Mapping[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    guide: Rule = RULE

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Of all groups in turn."""
        return tuple([block for group in self.groups for block in group.blocks])
