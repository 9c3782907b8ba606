"""What was measured, as a table and as JSON, with the machine it was measured on."""

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anglos.tools.bench.measure import STEADY, Row
from anglos.tools.bench.problem import Problem
from anglos.tools.bench.steps import PRODUCTS

_HEADINGS = ("library", "what", "ms", "× products", "MiB", "× B·C")
_NOTES = """\
ms: {repeats}, all rows in turn in one process, forward and backward
3 products: x Wᵀ, G W and Gᵀ x alone, 6·B·C·D operations, in the same library
MiB: peak of the resident set beyond inputs and gradients, in a fresh process per row, compilation left out,
     every large array in a mapping of its own (glibc: MALLOC_MMAP_THRESHOLD_){pool}
× products: to the median of 3 products; – where the quartiles of either are more than {steady:.0%} of it apart, or of
     fewer than 3 turns
× B·C: the same in arrays of {batch} × {classes:,} {dtype}"""
_PLAIN = "F.linear with F.cross_entropy, and F.linear_cross_entropy, are a softmax without normalisation or margin"


@dataclass(frozen=True)
class Run:
    """All that one command measured."""

    problem: Problem
    libraries: tuple[str, ...]
    repeats: int
    rows: Sequence[Row]

    def table(self) -> str:
        """The rows of the problem's own number of classes, and what they mean."""
        problem, rows = self.problem, [row for row in self.rows if row.classes == self.problem.classes]
        cells = [_HEADINGS, *(_cells(row) for row in rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join([*map(str.ljust, line[:2], widths), *map(str.rjust, line[2:], widths[2:])]).rstrip()
                 for line in cells]
        failed = [f"{row.library} {row.row}: left out" + f" at C = {row.classes:,}" * (row not in rows)
                  + f", {row.failure}" for row in self.rows if row.failure]
        notes = _NOTES.format(batch=problem.batch, classes=problem.classes, dtype=problem.dtype, steady=STEADY,
                              repeats=f"median of {self.repeats}" if self.repeats > 1 else "one run",
                              pool="; cupy: its pool on the GPU" * ("cupy" in self.libraries))
        steady = [_steadiness(row, self.repeats) for row in rows if row.row == PRODUCTS]
        title = (f"{problem.loss}, B = {problem.batch}, D = {problem.dimension}, C = {problem.classes:,}, "
                 f"{problem.dtype}")
        return "\n".join([title, *machine(self.libraries).values(), "", *lines, "", *failed, *steady, notes,
                          *[_PLAIN] * ("torch" in self.libraries)])

    def as_json(self) -> dict[str, Any]:
        """The same, numbers unrounded, for all numbers of classes."""
        return {"problem": asdict(self.problem), "repeats": self.repeats, "machine": machine(self.libraries),
                "rows": [asdict(row) for row in self.rows]}


def _steadiness(row: Row, repeats: int) -> str:
    """Of the products of a library, by which it is seen how busy the machine was."""
    if row.spread is None:
        return f"{row.library}: {repeats} turns do not say how steady times are; wanted --repeats of at least 3"
    busy = "" if row.is_steady else ": the machine was busy, or they are too short to be timed, so no ratio is said"
    return f"{row.library}: quartiles of 3 products {row.spread:.0%} of the median apart{busy}"


def _cells(row: Row) -> tuple[str, ...]:
    numbers = ((row.milliseconds, ",.1f"), (row.ratio, ".2f"), (row.mebibytes, ",.1f"), (row.buffers, ".2f"))
    return row.library, row.row, *("–" if number is None else format(number, how) for number, how in numbers)


def machine(libraries: Sequence[str]) -> dict[str, str]:
    """Where and when: processor, versions, date."""
    names = [*libraries, *["pytorch-metric-learning"] * ("torch" in libraries)]
    versions = [f"{name} {version_of(name)}" for name in ("anglos", *names)]
    return {"processor": f"{processor()}, {cores()} cores, {platform.system()}",
            "versions": ", ".join([f"Python {platform.python_version()}", *versions]),
            "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"}


def version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # CuPy's package is named after a version of CUDA
        return str(import_module(name).__version__) if name == "cupy" else "not installed"


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())
