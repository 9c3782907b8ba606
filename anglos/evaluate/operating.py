"""The figures of verification from its steps, all at once."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from anglos.evaluate.bootstrap import Interval
from anglos.evaluate.curve import (
    Cost,
    Curve,
    Found,
    Rates,
    Steps,
    accepted_at,
    equal_error_rate,
    hull_equal_error_rate,
    least_cost,
    rates_of,
)


class OperatingPoint(NamedTuple):
    """A threshold, and what it accepts."""

    threshold: float
    far: float
    tar: float


@dataclass(frozen=True)
class Verification:
    """What `verification` found."""

    eer: float
    eer_threshold: float
    tar_at_far: dict[float, OperatingPoint]
    """By the FAR that is allowed."""
    min_dcf: float
    """The least normalised detection cost, at most 1; of several priors the mean."""
    min_dcf_threshold: dict[float, float]
    """By the prior: where its cost is least; infinite where it is best to accept nothing."""
    genuine: int
    """How many pairs are of one class."""
    impostor: int
    """How many are not."""
    curve: Curve = field(compare=False)
    """For a DET plot. Of more than 4 million pairs not all points, but those at some 260,000 scores or fewer."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """By the name of the figure, as "eer" or "tar_at_far[0.001]"; empty unless `replicates` were asked for."""


class Asked(NamedTuple):
    """What is to be read from the steps."""

    far: tuple[float, ...]
    cost: Cost
    hull: bool

    def found(self, rates: Rates, whole: np.ndarray) -> dict[str, Found]:
        """Every figure by its name."""
        eer = hull_equal_error_rate if self.hull else equal_error_rate
        return {"eer": eer(rates, whole),
                **{f"tar_at_far[{far!r}]": accepted_at(rates, whole, far) for far in self.far},
                **{f"min_dcf[{p!r}]": least_cost(rates, whole, self.cost, p) for p in self.cost.priors}}

    def wants(self, steps: Steps) -> np.ndarray:
        """The steps that some figure must have whole."""
        every = self.found(rates_of(steps), steps.whole).values()
        wanted: np.ndarray = np.any([one.wants for one in every], axis=0)
        return wanted

    def values(self, rates: Rates, whole: np.ndarray) -> dict[str, float]:
        """The figures as numbers, the costs as their mean."""
        found = self.found(rates, whole)
        costs = [one.value for name, one in found.items() if name.startswith("min_dcf")]
        return {name: one.value for name, one in found.items() if not name.startswith("min_dcf")} | {
            "min_dcf": float(np.mean(costs))}


def verification_of(steps: Steps, asked: Asked, intervals: dict[str, Interval]) -> Verification:
    """The figures, with what they are read from."""
    rates = rates_of(steps)
    found = asked.found(rates, steps.whole)
    at_far = {far: found[f"tar_at_far[{far!r}]"] for far in asked.far}
    curve = Curve(np.maximum.accumulate(rates.threshold), *rates[1:3])  # of steps that are split only the rounding
    costs = {p: found[f"min_dcf[{p!r}]"] for p in asked.cost.priors}
    return Verification(
        found["eer"].value, found["eer"].threshold,
        {far: OperatingPoint(one.threshold, one.far, one.value) for far, one in at_far.items()},
        float(np.mean([one.value for one in costs.values()])), {p: one.threshold for p, one in costs.items()},
        int(steps.genuine.sum()), int(steps.impostor.sum()), curve, intervals)
