"""From a problem to the measured rows of its table."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median, quantiles
from types import MappingProxyType

from anglos.tools.bench.memory import memory
from anglos.tools.bench.problem import Problem
from anglos.tools.bench.steps import LIBRARIES, PRODUCTS, Step

STEADY = 0.1
"""How far apart, as a part of the median, the quartiles of a time may be that a ratio is made of."""

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
    """Of the time to that of the three products in the same library; None where either time is not steady."""
    mebibytes: float | None = None
    """Beyond inputs and gradients."""
    buffers: float | None = None
    """The same in arrays of (B, C)."""
    failure: str | None = None
    spread: float | None = None
    """Between the quartiles of the time, as a part of the median; None of fewer than three turns."""

    @property
    def is_steady(self) -> bool:
        return self.spread is not None and self.spread <= STEADY


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
    say("")
    return [_row(problem, key, times, needs.get(key), failures.get(key)) for key in makers]


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


def spread(taken: Sequence[float]) -> float | None:
    """Between the quartiles of times, as a part of the median."""
    if len(taken) < 3:
        return None
    first, middle, third = quantiles(taken, method="inclusive")
    return (third - first) / middle


def _row(problem: Problem, key: tuple[str, str], times: Mapping[tuple[str, str], Sequence[float]], need: int | None,
         failure: str | None) -> Row:
    taken, products = times.get(key), times.get((key[0], PRODUCTS))
    row = Row(*key, problem.classes, None if taken is None else median(taken), None,
              None if need is None else need / 2**20, None if need is None else need / problem.buffer_bytes, failure,
              None if taken is None else spread(taken))
    base = spread(products) if products else None
    if taken is None or products is None or base is None or not (base <= STEADY and row.is_steady):
        return row
    return replace(row, ratio=median(taken) / median(products))
