"""Steps of a curve from pairs that are never held together: counted into cells, and split where a figure wants it.

In the first pass each score falls into one of 2¹⁸ cells of equal width. The counts give exact points of the curve at
the edges of all cells. A figure lies in one cell, or in few: their scores are collected in a second pass, and what is
read from the curve is then exact. A cell that holds too many to collect is divided into cells again.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from anglos.evaluate.curve import Steps, steps_of
from anglos.evaluate.given import Array, Points, beside, to_numpy
from anglos.evaluate.similarity import Blocks

CELLS = 1 << 18
COLLECTED = 1 << 22
"""How many scores are held at most: of so few pairs all are."""


class Window(NamedTuple):
    """A range that is divided into cells, and which of these are looked at."""

    low: float
    width: float
    cells: Array = None
    """Truth values, (CELLS,); None for all."""


Chain = tuple[Window, ...]
"""Each divides what is in the cells that are looked at of the one before."""


def _cells_of(xp: Any, scores: Array, window: Window) -> Array:
    """The cell of each score, as a number of the scores' type; those beyond the ends are in the first and the last."""
    return xp.clip(xp.floor((scores - window.low) / window.width * CELLS), 0.0, CELLS - 1.0)


def _seen(xp: Any, blocks: Blocks, chain: Chain) -> Iterator[tuple[Array, Array]]:
    """The scores that all windows look at, (M,), and whether they are of genuine pairs."""
    index = np.int64 if xp is np else xp.int32
    for block in blocks():
        scores = xp.reshape(block.scores, (-1,))
        same = xp.reshape(block.left == block.right, (-1,))
        for window in chain:
            seen = xp.take(window.cells, xp.astype(_cells_of(xp, scores, window), index), axis=0)
            scores, same = scores[seen], same[seen]
        yield scores, same


def _histogram(xp: Any, cells: Array) -> np.ndarray:
    """How many are in each of the cells."""
    if xp is np:
        return np.bincount(cells.astype(np.int64), minlength=CELLS)
    edges = xp.arange(CELLS + 1, dtype=cells.dtype, device=array_api_compat.device(cells))
    return np.diff(to_numpy(xp.searchsorted(xp.sort(cells), edges)).astype(np.int64))


class _Divided(NamedTuple):
    """Steps, and the cells that they are: of which division, and which of its cells; −1 for a single score."""

    steps: Steps
    division: np.ndarray
    cell: np.ndarray


class Splitting:
    """All pairs of a source, as steps that are split where a figure wants it."""

    def __init__(self, points: Points, blocks: Blocks, pairs: int, sample: Callable[[], Array]) -> None:
        self._points, self._blocks = points, blocks
        self._divisions: list[Chain] = []
        if pairs <= COLLECTED:
            self._now = self._collected(())
        else:
            self._now = self._divided((), *_range(points.xp, sample()))

    def exact(self, wants: Callable[[Steps], np.ndarray]) -> Steps:
        """The steps, after all that are wanted whole are."""
        while (wanted := np.flatnonzero(wants(self._now.steps))).size:
            many = (self._now.steps.genuine + self._now.steps.impostor)[wanted]
            if many.sum() <= COLLECTED:
                self._split(wanted[self._now.division[wanted] == self._now.division[wanted[0]]], self._collected)
            else:
                self._split(wanted[[np.argmax(many)]], self._redivided)
        return self._now.steps

    def _split(self, wanted: np.ndarray, split: Callable[[Chain], _Divided]) -> None:
        """Steps of one division become those that they hold."""
        now = self._now
        *before, window = self._divisions[now.division[wanted[0]]]
        chosen = np.zeros(CELLS, bool)
        chosen[now.cell[wanted]] = True
        parts = split((*before, window._replace(cells=chosen)))
        kept = np.flatnonzero(~np.isin(np.arange(len(now.cell)), wanted))
        place = np.searchsorted(now.cell[wanted], _cells_of(np, parts.steps.low, window)) if len(wanted) > 1 else 0
        order = np.argsort(np.concatenate([kept, wanted[place] + np.zeros(len(parts.cell), np.int64)]), kind="stable")
        joined = [np.concatenate([one[kept], other])[order] for one, other in
                  zip((*now.steps, *now[1:]), (*parts.steps, *parts[1:]), strict=True)]
        self._now = _Divided(Steps(*joined[:4]), *joined[4:])

    def _collected(self, chain: Chain) -> _Divided:
        """Every score of a chain as a step."""
        parts = [tuple(map(to_numpy, one)) for one in self._scores(chain)]
        steps = steps_of(*(np.concatenate(one) for one in zip(*parts, strict=True)))
        nowhere = np.full(len(steps.low), -1)
        return _Divided(steps, nowhere, nowhere)

    def _redivided(self, chain: Chain) -> _Divided:
        """Cells from the lowest score of a chain to the highest."""
        ranges = [_range(self._points.xp, one) for one, _ in self._scores(chain) if one.shape[0]]
        return self._divided(chain, min(low for low, _ in ranges), max(high for _, high in ranges))

    def _divided(self, chain: Chain, low: float, high: float) -> _Divided:
        """Cells between two scores; one score is a step."""
        xp, window = self._points.xp, Window(low, (high - low) or 1.0)
        genuine, impostor = np.zeros(CELLS, np.int64), np.zeros(CELLS, np.int64)
        for scores, same in self._scores(chain):
            cells = _cells_of(xp, scores, window)
            genuine += _histogram(xp, cells[same])
            impostor += _histogram(xp, cells[~same])
        cell = np.flatnonzero(genuine + impostor)
        steps = Steps(low + cell * (window.width / CELLS), genuine[cell], impostor[cell],
                      np.full(len(cell), bool(chain) and low == high))
        self._divisions.append((*chain, window))
        return _Divided(steps, np.full(len(cell), len(self._divisions) - 1), cell)

    def _scores(self, chain: Chain) -> Iterator[tuple[Array, Array]]:
        """One pass over all blocks."""
        there = tuple(window._replace(cells=beside(self._points, window.cells)) for window in chain)
        return _seen(self._points.xp, self._blocks, there)


def _range(xp: Any, scores: Array) -> tuple[float, float]:
    return float(xp.min(scores)), float(xp.max(scores))
