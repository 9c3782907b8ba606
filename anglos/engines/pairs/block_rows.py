"""What a loss of queries and keys in blocks puts into the scheme of `blocks.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anglos.engines.pairs.guide import RULE, Rule


class Block(NamedTuple):
    """Which vectors are compared with which, by the roles of the inputs."""

    rows: str
    columns: str
    """Queries or keys, where the row's own is no negative; "negatives"; or "hard_negatives", its own or `of_all`."""
    hardness: Any = None
    """As of a `PairRow`."""
    mask: str = ""
    """Which input says what is no negative."""
    of_all: bool = False
    """Whether every row is compared with the hard negatives of all rows."""


class Group(NamedTuple):
    """Blocks of one denominator."""

    blocks: tuple[Block, ...]
    copies: int
    """How often the row's key stands in it: 0, 1 or 2."""


@dataclass(frozen=True)
class Blocks:
    """The row of such a loss."""

    groups: tuple[Group, ...]
    scale: Any = 1.0
    names: Mapping[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    guide: Rule = RULE
    """As of a `PairRow`."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Of all groups in turn."""
        return tuple([block for group in self.groups for block in group.blocks])
