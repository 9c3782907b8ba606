"""The row of a loss with what common options put into it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from anglos.call.kinds import describe, refuse
from anglos.engines.pairs.guide import Rule
from anglos.engines.reductions import CrossEntropy


def completed(name: str, row: Any, given: Mapping[str, Any]) -> Any:
    """The row with the common options that an engine looks for in it."""
    if "ignore_index" in given and hasattr(row, "ignore_index"):
        row = _replaced(row, ignore_index=given["ignore_index"])
    if "guide_margin" in given and hasattr(row, "guide"):
        row = _replaced(row, guide=Rule(given["guide_margin"], given["guide_kind"]))
    if "label_smoothing" in given:
        if type(row.reduction) is not CrossEntropy:
            refuse(name, "label_smoothing", TypeError, "was among its common options",
                   f"a row whose reduction is CrossEntropy, which was {describe(row.reduction)}")
        row = _replaced(row, reduction=CrossEntropy(given["label_smoothing"]))
    return row


def _replaced(row: Any, **fields: Any) -> Any:
    return row._replace(**fields) if hasattr(row, "_replace") else replace(row, **fields)
