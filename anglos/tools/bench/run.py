"""The command itself: measure, print, save."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anglos.tools.bench.measure import Row, measure
from anglos.tools.bench.problem import Problem
from anglos.tools.bench.report import Run
from anglos.tools.bench.steps import PRODUCTS

PATIENCE = 10.0
"""How many seconds a step may take."""


def run(problem: Problem, libraries: Sequence[str], repeats: int, series: Sequence[int] = (), save: str | None = None
        ) -> Run:
    """Measure the problem, and with as many classes as the series says; print the table, or JSON if `save` is "-".

    Where a step takes longer than `PATIENCE`, its row ends, but that of the products, and the table says so.
    """
    rows: list[Row] = []
    for count in sorted({problem.classes, *series}):
        slow = {(row.library, row.row): f"took {seconds:,.0f} s at C = {row.classes:,}" for row in rows
                if (seconds := (row.milliseconds or 0.0) / 1000) > PATIENCE and row.row != PRODUCTS}
        rows += measure(replace(problem, classes=count), libraries, repeats, _say, slow)
    done = Run(problem, tuple(libraries), repeats, rows)
    text = json.dumps(done.as_json(), indent=2)
    print(text if save == "-" else done.table())
    if save not in (None, "-"):
        Path(save).write_text(text + "\n")
    return done


def sizes(most: int) -> list[int]:
    """1,000, 3,000, 10,000 and so on, and the last."""
    return [*(size for power in range(3, 10) for size in (10 ** power, 3 * 10 ** power) if size < most), most]


def _say(text: str) -> None:
    """One line, written again and again, if standard error is a terminal; else a line each, at once."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
