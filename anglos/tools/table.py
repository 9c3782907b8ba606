"""The table of losses as text: `python -m anglos losses`."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from anglos.losses import LOSSES

_NO_PART = ("ignore_index", "keep_bytes", "gradient_products")
_LEAST = 20  # columns for a cell, on however narrow a terminal


def losses_table(width: int | None = None) -> str:
    """One line per loss: name, formula, defaults, paper; where they are wider than so many columns, some lines."""
    rows = [("loss", "formula", "defaults", "paper")]
    rows += [(loss.name, loss.formula, spell_numbers(loss.defaults), loss.paper) for loss in LOSSES.values()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    if width is not None and sum(widths) + 2 * len(widths[1:]) > width:
        lines = (line for row in rows[1:] for line in _block(row, widths[0], width))
    return "\n".join((*lines, "", "All options of one loss: help(anglos.NAME)"))


def _block(row: Sequence[str], indent: int, width: int) -> Iterator[str]:
    """The name, and beside it the other cells below each other, broken where they are too long."""
    name, *cells = row
    for line in (line for cell in cells for line in textwrap.wrap(cell, max(width - indent - 2, _LEAST))):
        yield f"{name:{indent}}  {line}"
        name = ""


def spell_numbers(options: Mapping[str, Any]) -> str:
    """The numbers in force. Zero and None mean that an option is off; others are no part of a formula."""
    return " ".join(f"{name}={value:g}" for name, value in options.items()
                    if type(value) in (int, float) and value != 0 and name not in _NO_PART)
