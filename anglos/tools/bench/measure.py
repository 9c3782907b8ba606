"""From a problem to the measured rows of its table."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from types import MappingProxyType

from anglos.tools.bench.memory import memory
from anglos.tools.bench.problem import Problem
from anglos.tools.bench.steps import LIBRARIES, PRODUCTS, Step

Say = Callable[[str], None]
"""Hears what is being done."""


@dataclass(frozen=True)
class Row:
    """What was measured of one step; None where nothing could be."""

    library: str
    row: str
    classes: int
    milliseconds: float | None = None
    """The median."""
    ratio: float | None = None
    """Of the time to that of the three products in the same library."""
    mebibytes: float | None = None
    """Beyond inputs and gradients."""
    buffers: float | None = None
    """The same in arrays of (B, C)."""
    failure: str | None = None


def measure(problem: Problem, libraries: Sequence[str], repeats: int, say: Say,
            left_out: Mapping[tuple[str, str], str] = MappingProxyType({})) -> list[Row]:
    """All rows of the libraries; what is left out has the reason, and so has one whose process for memory fails."""
    drawn = problem.draw()
    makers = {(library, row): make for library in libraries
              for row, make in LIBRARIES[library].rows(problem, drawn).items()}
    needs: dict[tuple[str, str], int | None] = {}
    failures = dict(left_out)
    for number, key in enumerate(makers, 1):
        if key in left_out:
            continue
        say(f"C = {problem.classes:,}: memory, {number} of {len(makers)}: {' '.join(key)}")
        try:
            needs[key] = memory(problem, *key)
        except MemoryError as failure:
            failures[key] = str(failure)
    steps = {key: makers[key]() for key in needs}
    times = interleaved(steps, repeats, lambda turn: say(f"C = {problem.classes:,}: time, turn {turn} of {repeats}"))
    medians = {key: median(taken) for key, taken in times.items()}
    say("")
    return [_row(problem, key, medians, needs.get(key), failures.get(key)) for key in makers]


def interleaved(steps: Mapping[tuple[str, str], Step], repeats: int, turn: Callable[[int], None]
                ) -> dict[tuple[str, str], list[float]]:
    """Milliseconds of every step, all of them in turn: what slows the machine for a while slows them all.

    A turn before the first warms up.
    """
    times: dict[tuple[str, str], list[float]] = {key: [] for key in steps}
    for number in range(repeats + 1):
        turn(number)
        for key, step in steps.items():
            start = time.perf_counter()
            step()
            times[key].append(1000 * (time.perf_counter() - start))
    return {key: taken[1:] for key, taken in times.items()}


def _row(problem: Problem, key: tuple[str, str], medians: Mapping[tuple[str, str], float], need: int | None,
         failure: str | None) -> Row:
    taken, products = medians.get(key), medians.get((key[0], PRODUCTS))
    return Row(*key, problem.classes, taken, taken / products if taken and products else None,
               None if need is None else need / 2**20, None if need is None else need / problem.buffer_bytes, failure)
