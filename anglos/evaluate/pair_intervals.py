"""Intervals of figures over pairs: each pair counts as often as both of its classes were drawn."""

import numpy as np

from anglos.evaluate.bootstrap import Interval, Resampling, draws, interval
from anglos.evaluate.curve import Rates, Steps, equal_error_rate, hull_equal_error_rate, least_cost, rates_of
from anglos.evaluate.given import Array, Points, beside, to_numpy
from anglos.evaluate.operating import Asked
from anglos.evaluate.similarity import Blocks

_LEVELS, _NUMBERS = 96, 1 << 24
"""At so many levels of FAR, and of FRR, the curve of a draw is known; of many classes at fewer."""


def intervals_of_pairs(points: Points, blocks: Blocks, classes: int, steps: Steps, asked: Asked,
                       how: Resampling) -> dict[str, Interval]:
    """By one more pass, which counts the pairs of each class between thresholds.

    A draw in which class c is there w_c times has Σ_c w_c G_c genuine pairs and Σ_{c<d} w_c w_d I_cd impostors. Of
    the latter only the sums of each class, I_c = Σ_d I_cd, are kept: (Σ_c w_c I_c)² / (2 Σ_c I_c) is the same to first
    order in w − 1.
    """
    if not how.replicates:
        return {}
    edges = _edges(rates_of(steps), asked, max(16, min(_LEVELS, _NUMBERS // classes)))
    genuine, impostor = _counts(points, blocks, classes, edges)
    among = (genuine.sum(axis=1) + impostor.sum(axis=1)) > 0  # the classes that are in a pair
    accepted = np.cumsum(impostor[among, ::-1], axis=1)[:, ::-1]
    found: list[dict[str, float]] = []
    for weights in draws(int(among.sum()), how):
        passed = (weights @ accepted) ** 2 / np.maximum(2.0 * accepted.sum(axis=0), 1.0)
        rejected = np.cumsum(weights @ genuine[among, :], axis=1)
        found += [_figures(*one, edges, asked) for one in zip(passed, rejected, strict=True)]
    return {name: interval(np.asarray([one[name] for one in found]), how) for name in found[0]}


def _edges(rates: Rates, asked: Asked, levels: int) -> np.ndarray:
    """Thresholds, where the curve is to be known."""
    least = 0.5 / rates.false_accepts[0]
    by_far = np.searchsorted(-rates.far, -np.geomspace(least, 1.0, levels))
    by_frr = np.searchsorted(rates.frr, np.linspace(0.0, 1.0, levels))
    places = np.unique(np.concatenate([by_far, by_frr]))
    there = [one.threshold for one in asked.found(rates, np.ones(len(rates.far) - 1, bool)).values()]
    edges = np.unique(np.concatenate([rates.threshold[np.minimum(places, len(rates.far) - 1)], there]))
    finite: np.ndarray = edges[np.isfinite(edges)]
    return finite


def _counts(points: Points, blocks: Blocks, classes: int, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each class, (C, K + 1), its genuine pairs between two thresholds, and its pairs with others."""
    genuine, every = (np.zeros((classes, len(edges) + 1), np.int64) for _ in range(2))
    limits: Array = None
    for block in blocks():
        if limits is None:
            limits = beside(points, edges.astype(str(block.scores.dtype).rpartition(".")[2]))
        place = to_numpy(points.xp.searchsorted(limits, points.xp.reshape(block.scores, (-1,)), side="right"))
        left, right = to_numpy(block.left), to_numpy(block.right)
        place = np.reshape(place, np.broadcast_shapes(left.shape, right.shape))
        same = left == right
        _add(genuine, np.broadcast_to(left, place.shape)[same], place[same])
        _add(every, left, place)
        _add(every, right, place)
    return genuine, every - 2 * genuine


def _add(counts: np.ndarray, codes: np.ndarray, place: np.ndarray) -> None:
    """One for every pair to its class."""
    names, local = np.unique(codes, return_inverse=True)
    width = counts.shape[1]
    found = np.bincount((np.reshape(local, codes.shape) * width + place).ravel(), minlength=len(names) * width)
    counts[names] += found.reshape(len(names), width)


def _figures(passed: np.ndarray, rejected: np.ndarray, edges: np.ndarray, asked: Asked) -> dict[str, float]:
    """Of one draw: impostors accepted from −∞ and from each threshold on, and genuine pairs rejected there."""
    names = ["eer", *(f"tar_at_far[{far!r}]" for far in asked.far), "min_dcf"]
    if not passed[0] or not rejected[-1]:
        return dict.fromkeys(names, np.nan)
    far = np.append(np.maximum.accumulate(passed[::-1])[::-1] / passed[0], 0.0)
    frr = np.append(0.0, rejected / rejected[-1])
    rates = Rates(np.concatenate([[-np.inf], edges, [np.inf]]), far, frr, 1.0 - frr, far)
    whole = np.ones(len(far) - 1, bool)
    eer = (hull_equal_error_rate if asked.hull else equal_error_rate)(rates, whole)
    tar = [_accepted(rates, rate) for rate in asked.far]
    costs = [least_cost(rates, whole, asked.cost, p).value for p in asked.cost.priors]
    return dict(zip(names, [eer.value, *tar, float(np.mean(costs))], strict=True))


def _accepted(rates: Rates, rate: float) -> float:
    """TAR at a FAR, between two thresholds on a line over the logarithm of FAR."""
    tar, place = rates.tar, int(np.flatnonzero(rates.far <= rate)[0])
    if not place or rates.far[place] <= 0.0:
        return float(tar[place])
    low, high = np.log(rates.far[[place, place - 1]])
    return float(tar[place] + (tar[place - 1] - tar[place]) * (np.log(rate) - low) / (high - low))
