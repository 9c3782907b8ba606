"""What is learnt, what settings are chosen by, and what is verified."""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anglos.tools.demo import data as digits
from anglos.tools.study.glyphs import Glyphs, train_and_test

BATCH, TOGETHER = 240, 4
"""Images in a batch, of which so many are of one character."""
_SHIFT = 2


class Task(NamedTuple):
    """Images to learn and to judge by, twice: to choose a setting, and to report."""

    tune: tuple[Glyphs, Glyphs]
    test: tuple[Glyphs, Glyphs]


def _characters(learnt: int = 800) -> Task:
    """Settings are chosen by 160 of the 800 training characters, which are not learnt then; none of the test's."""
    train, test = train_and_test()
    held = train.of(np.arange(640, 800))
    return Task((train.of(np.arange(min(learnt, 640))), held), (train.of(np.arange(learnt)), test))


def _digits() -> Task:
    """Ten classes, and other images of the same ten to verify. Settings are chosen by 1,000 of the 4,000 to learn."""
    train, test = (Glyphs(*some) for some in digits.train_and_test(0))
    held = np.arange(len(train.labels)) % 4 == 0
    tune = (Glyphs(train.images[rows], train.labels[rows]) for rows in (~held, held))
    return Task((*tune,), (train, test))  # type: ignore[arg-type]


TASKS: dict[str, Callable[[], Task]] = {
    "characters": _characters,
    "characters-longer": _characters,
    "characters-200": lambda: _characters(200),
    "characters-20": lambda: _characters(20),
    "digits": _digits,
}


LONGER = {"characters-longer": 3}
"""How many times as many steps, where they are not those of the others."""


@lru_cache(2)
def task(name: str) -> Task:
    return TASKS[name]()


def batches(some: Glyphs, steps: int, random: np.random.Generator
            ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """The same for every loss: four images of each of 60 characters, each moved by up to two pixels.

    All images are seen before one is seen again.
    """
    padded = np.pad(some.images, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)))
    moved = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), axis=(1, 2))
    groups, groups_each = _groups(some.labels, random), BATCH // TOGETHER
    for _ in range(steps):
        chosen = np.concatenate([next(groups) for _ in range(groups_each)])
        down, right = random.integers(0, 2 * _SHIFT + 1, (2, BATCH))
        yield moved[chosen, down, right], some.labels[chosen]


def _groups(labels: NDArray[np.int64], random: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    by_class = [np.flatnonzero(labels == label) for label in range(labels.max() + 1)]
    while True:
        groups = [random.permutation(rows)[:len(rows) // TOGETHER * TOGETHER].reshape(-1, TOGETHER)
                  for rows in by_class]
        yield from random.permutation(np.concatenate(groups))
