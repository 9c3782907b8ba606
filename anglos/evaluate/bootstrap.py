"""Intervals by drawing classes anew.

Samples of one class resemble each other, and pairs share samples: neither are independent draws. Classes are, if new
ones (people, products) are what the figure is to hold for. So classes are drawn with replacement, with all that they
have, and a class that is drawn twice counts twice.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anglos.evaluate.kinds import check_idle, integer, number

_NUMBERS = 1 << 22
"""How many weights are held at a time."""


class Interval(NamedTuple):
    """Where the figure lies in so many of 100 draws of the classes."""

    low: float
    high: float

    def __repr__(self) -> str:
        return f"[{self.low:.4g}, {self.high:.4g}]"


class Resampling(NamedTuple):
    """How many draws, how much of them an interval holds, and the seed."""

    replicates: int
    confidence: float
    seed: int


def resampling(caller: str, replicates: int, confidence: float, seed: int) -> Resampling:
    """As they were given, if they can be."""
    how = Resampling(integer(caller, "replicates", replicates, 0),
                     number(caller, "confidence", confidence, 0.0, 1.0, "a part of the draws"),
                     integer(caller, "seed", seed, 0))
    if not how.replicates:
        check_idle(caller, "confidence", how.confidence, 0.95, "replicates")
        check_idle(caller, "seed", how.seed, 0, "replicates")
    return how


def draws(count: int, how: Resampling) -> Iterator[np.ndarray]:
    """How often each of so many classes was drawn, (some, C): all replicates, a few at a time."""
    random, step = np.random.default_rng(how.seed), max(1, _NUMBERS // max(count, 1))
    for first in range(0, how.replicates, step):
        some = min(step, how.replicates - first)
        places = random.integers(0, count, (some, count)) + count * np.arange(some)[:, None]
        yield np.bincount(places.ravel(), minlength=some * count).reshape(some, count).astype(np.float64)


def interval(values: np.ndarray, how: Resampling) -> Interval:
    """The middle of the values; draws that have none, since nothing was left to count, are not among them."""
    values = values[~np.isnan(values)]
    if not len(values):
        return Interval(np.nan, np.nan)
    low, high = np.quantile(values, [(1.0 - how.confidence) / 2.0, (1.0 + how.confidence) / 2.0])
    return Interval(float(low), float(high))


def intervals_of_means(values: dict[str, np.ndarray], codes: np.ndarray, how: Resampling) -> dict[str, Interval]:
    """Of means over queries, whose classes are drawn; what they are compared with stays."""
    if not how.replicates or not len(codes):
        return {}
    _, codes = np.unique(codes, return_inverse=True)
    many = np.bincount(codes).astype(np.float64)
    sums = np.stack([np.bincount(codes, one) for one in values.values()], axis=1)
    means = np.concatenate([(weights @ sums) / (weights @ many)[:, None] for weights in draws(len(many), how)])
    return {name: interval(means[:, place], how) for place, name in enumerate(values)}
