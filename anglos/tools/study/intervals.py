"""How far to believe a mean over seeds: intervals that hold 95 of 100."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_T = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t by the number of seeds."""
SEEDS = range(2, 11)
_DRAWS = 2000


class Estimate(NamedTuple):
    """A mean, and between what it lies."""

    mean: float
    low: float
    high: float

    def apart(self, other: "Estimate") -> bool:
        """Whether the two intervals do not touch."""
        return self.high < other.low or other.high < self.low


def over_seeds(values: list[float]) -> Estimate:
    """Student's interval of the mean: for these characters, other starts and batches."""
    half = _T[len(values)] * float(np.std(values, ddof=1)) / len(values) ** 0.5
    mean = float(np.mean(values))
    return Estimate(mean, mean - half, mean + half)


def draws(records: dict[str, list[dict[str, Any]]]) -> dict[str, NDArray[np.float64]]:
    """The EER of every loss in draws of seeds and of characters, the same for all losses: for others of either.

    A character that is drawn twice counts twice, in every pair that it is in.
    """
    if not records:
        return {}
    some = next(iter(records.values()))
    seeds, classes, random = len(some), len(some[0]["classes"]), np.random.default_rng(0)
    of_classes = random.multinomial(classes, np.full(classes, 1 / classes), _DRAWS) / classes
    of_seeds = random.multinomial(seeds, np.full(seeds, 1 / seeds), _DRAWS) / seeds
    return {loss: np.einsum("rs,sc,rc->r", of_seeds, [one["classes"] for one in many], of_classes, optimize=True) / 1e5
            for loss, many in records.items()}


def of_draws(mean: float, values: NDArray[np.float64]) -> Estimate:
    low, high = np.quantile(values, [0.025, 0.975])
    return Estimate(mean, float(low), float(high))
