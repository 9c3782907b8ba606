"""Error rates at every threshold, and the figures that are read from them.

A pair is accepted if its score is at least the threshold. Scores are kept as steps: what lies between two thresholds,
in rising order, with how many genuine and impostor pairs it holds. A step may hold several scores; each figure says
which steps it would want split before it can be exact.
"""

import math
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from anglos.call.kinds import Number, refuse


class Steps(NamedTuple):
    """All pairs by their scores, in rising order; no step is empty."""

    low: np.ndarray
    """The score of a step; a number near the lowest, of one that holds several."""
    genuine: np.ndarray
    impostor: np.ndarray
    whole: np.ndarray
    """Whether all in it have one score."""


class Rates(NamedTuple):
    """At the thresholds that are the lowest score of each step, and at infinity."""

    threshold: np.ndarray
    far: np.ndarray
    frr: np.ndarray
    tar: np.ndarray
    """1 − FRR, with its own rounding."""
    false_accepts: np.ndarray
    """How many impostors are accepted: FAR as a number."""


class Curve(NamedTuple):
    """Points of a DET curve, by rising thresholds; the last, at which nothing is accepted, is infinite."""

    threshold: np.ndarray
    far: np.ndarray
    """Of the impostor pairs, the share with a score of at least the threshold."""
    frr: np.ndarray
    """Of the genuine pairs, the share with a lower score."""

    def __repr__(self) -> str:
        return f"Curve({len(self.threshold)} points)"


class Found(NamedTuple):
    """A figure, and where it is read."""

    value: float
    threshold: float
    wants: np.ndarray
    """The steps that must be whole for this to be exact."""
    far: float = math.nan


_PRIOR = Number("a probability", 0.0, 1.0, above=True, below=True, shapes=())
_AMOUNT = Number("a number", 0.0, above=True, shapes=())


@dataclass(frozen=True)
class Cost:
    """What errors cost: C_miss P FRR + C_fa (1 − P) FAR, normalised by the smaller of C_miss P and C_fa (1 − P).

    Of several P, the prior probability of a genuine pair, the mean of the costs counts, as at NIST.

    >>> Cost(p_target=0.5, c_fa=4.0).weights(0.5)  # of FRR and of FAR
    (1.0, 4.0)
    """

    p_target: float | tuple[float, ...] = 0.01
    c_miss: float = 1.0
    c_fa: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no probability, and no cost."""
        if not self.priors:
            refuse("Cost", "p_target", ValueError, "was ()", "a probability, or a tuple of them")
        for name, given in (("p_target", p) for p in self.priors):
            _PRIOR.static(partial(refuse, "Cost", name), given)
        for name in ("c_miss", "c_fa"):
            _AMOUNT.static(partial(refuse, "Cost", name), getattr(self, name))
        costs = [cost for p in self.priors for cost in (self.c_miss * p, self.c_fa * (1.0 - p))]
        if max(costs) > 1e300 * min(costs):
            refuse("Cost", "c_fa", ValueError, f"was {self.c_fa:g}, with c_miss {self.c_miss:g} and p_target "
                   f"{self.p_target}", "costs whose ratio does not overflow")

    @property
    def priors(self) -> tuple[float, ...]:
        """The probabilities of a genuine pair."""
        return self.p_target if isinstance(self.p_target, tuple) else (self.p_target,)

    def weights(self, p_target: float) -> tuple[float, float]:
        """Of FRR and of FAR in the normalised cost."""
        miss, false_accept = self.c_miss * p_target, self.c_fa * (1.0 - p_target)
        least = min(miss, false_accept)
        return miss / least, false_accept / least

    def bayes_threshold(self, p_target: float) -> float:
        """From which on a log likelihood ratio is accepted."""
        return math.log(self.c_fa * (1.0 - p_target)) - math.log(self.c_miss * p_target)


DEFAULT_COST = Cost()

COSTS = {"SRE08": Cost(0.01, 10.0), "SRE10": Cost(0.001), "SRE12": Cost((0.01, 0.001)), "SRE16": Cost((0.01, 0.005)),
         "SRE18": Cost((0.01, 0.005)), "SRE18-VAST": Cost(0.05), "SRE19": Cost((0.01, 0.005)), "SRE21": Cost(0.05),
         "VoxSRC": Cost(0.05)}
"""Costs of evaluations, by their names."""


def steps_of(scores: np.ndarray, same: np.ndarray) -> Steps:
    """Of all scores, each its own step."""
    low, place = np.unique(scores, return_inverse=True)
    genuine = np.bincount(place[same], minlength=len(low))
    return Steps(low, genuine, np.bincount(place, minlength=len(low)) - genuine, np.ones(len(low), bool))


def rates_of(steps: Steps, genuine: np.ndarray | None = None, impostor: np.ndarray | None = None) -> Rates:
    """At all thresholds; counts in place of the steps' own may be weights."""
    genuine, impostor = steps.genuine if genuine is None else genuine, steps.impostor if impostor is None else impostor
    rejected = np.concatenate([[0], np.cumsum(genuine)])
    accepted = np.concatenate([np.cumsum(impostor[::-1])[::-1], [0]])
    return Rates(np.concatenate([steps.low, [np.inf]]), accepted / accepted[0], rejected / rejected[-1],
                 (rejected[-1] - rejected) / rejected[-1], accepted)


def equal_error_rate(rates: Rates, whole: np.ndarray) -> Found:
    """Where FAR and FRR are equal, on the line between the two points at which their difference changes its sign."""
    difference = rates.far - rates.frr
    last = int(np.flatnonzero(difference >= 0.0)[-1])
    first, second = difference[last], difference[last + 1]
    along = first / (first - second)
    wants = np.zeros(len(whole), bool)
    wants[last:last + 2] = True  # the scores at both points
    return Found(float(rates.far[last] + along * (rates.far[last + 1] - rates.far[last])), _between(
        rates.threshold[last], rates.threshold[last + 1], along), wants & ~whole)


def _between(low: float, high: float, along: float) -> float:
    """A threshold on the way; where the next is infinite, it is the lower."""
    return float(low + along * (high - low)) if high < np.inf and along > 0.0 else float(low)


def hull_equal_error_rate(rates: Rates, whole: np.ndarray) -> Found:
    """The same on the convex hull of the points (FAR, FRR), which mixing two thresholds attains."""
    corners = _lower_hull(rates.far, rates.frr)
    difference = (rates.far - rates.frr)[corners]
    place = int(np.flatnonzero(difference >= 0.0)[-1])
    left, right = corners[place], corners[place + 1]
    along = difference[place] / (difference[place] - difference[place + 1])
    far, frr = rates.far[left] - rates.far[right], rates.frr[right] - rates.frr[left]
    best = far * rates.frr[left] + frr * rates.far[left]  # the line: far · FRR + frr · FAR
    beyond = far * rates.frr[:-1] + frr * rates.far[1:] < best * (1.0 - 1e-12)
    at_ends = np.isin(np.arange(len(whole)), (left, right))
    return Found(float(rates.far[left] + along * (rates.far[right] - rates.far[left])), _between(
        rates.threshold[left], rates.threshold[right], along), (beyond | at_ends) & ~whole)


def _lower_hull(far: np.ndarray, frr: np.ndarray) -> np.ndarray:
    """The corners, by rising thresholds."""
    inner = (np.diff(far)[:-1] < 0.0) & (np.diff(frr)[1:] > 0.0)  # the others are above a line between their neighbours
    corners: list[int] = []
    for place in (0, *(np.flatnonzero(inner) + 1).tolist(), len(far) - 1):
        while len(corners) > 1 and _turns_away(far, frr, corners[-2], corners[-1], place):
            corners.pop()
        corners.append(place)
    return np.asarray(corners)


def _turns_away(far: np.ndarray, frr: np.ndarray, a: int, b: int, c: int) -> bool:
    """Whether b is on or above the line from a to c."""
    return bool((far[a] - far[b]) * (frr[c] - frr[a]) <= (far[a] - far[c]) * (frr[b] - frr[a]))


def accepted_at(rates: Rates, whole: np.ndarray, rate: float) -> Found:
    """TAR at the lowest threshold whose FAR is at most the rate; it is attained, and nothing is interpolated."""
    allowed = rate * rates.false_accepts[0] * (1.0 + 2.0**-50)  # 0.29 of 100 are 29, in floating point too
    place = int(np.flatnonzero(rates.false_accepts <= allowed)[0])
    wants = np.zeros(len(whole), bool)
    wants[max(place - 1, 0):place + 1] = True
    return Found(float(rates.tar[place]), float(rates.threshold[place]), wants & ~whole, float(rates.far[place]))


def least_cost(rates: Rates, whole: np.ndarray, cost: Cost, p_target: float) -> Found:
    """The least normalised cost of all thresholds; at most 1, since nothing need be accepted."""
    miss, false_accept = cost.weights(p_target)
    costs = miss * rates.frr + false_accept * rates.far
    place = int(np.argmin(costs))
    beyond = miss * rates.frr[:-1] + false_accept * rates.far[1:] < costs[place] * (1.0 - 1e-12)
    at_it = np.arange(len(whole)) == place
    return Found(float(costs[place]), float(rates.threshold[place]), (beyond | at_it) & ~whole)
