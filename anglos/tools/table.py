"""The table of losses as text: `python -m anglos losses`."""

from collections.abc import Mapping
from typing import Any

from anglos.losses import LOSSES

_NO_PART = ("ignore_index", "keep_bytes", "gradient_products")


def losses_table() -> str:
    """One line per loss: name, formula, defaults, paper."""
    rows = [("loss", "formula", "defaults", "paper")]
    rows += [(loss.name, loss.formula, spell_numbers(loss.defaults), loss.paper) for loss in LOSSES.values()]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join((*lines, "", "All options of one loss: help(anglos.NAME)"))


def spell_numbers(options: Mapping[str, Any]) -> str:
    """The numbers in force. Zero and None mean that an option is off; others are no part of a formula."""
    return " ".join(f"{name}={value:g}" for name, value in options.items()
                    if type(value) in (int, float) and value != 0 and name not in _NO_PART)
