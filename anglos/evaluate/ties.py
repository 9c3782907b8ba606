"""What retrieval counts, of one query and on average over all orders of equal scores."""

import math
from typing import NamedTuple

import numpy as np


class Figures(NamedTuple):
    """Of every query, (T,); those at k are (T, K)."""

    recall: np.ndarray
    recall_fraction: np.ndarray
    precision_at_1: np.ndarray
    r_precision: np.ndarray
    map_at_r: np.ndarray
    average_precision: np.ndarray
    reciprocal_rank: np.ndarray


def figures_of_ranks(ranks: np.ndarray, there: np.ndarray, k: np.ndarray) -> Figures:
    """Of the ranks of the relevant items, (T, R), from the best on."""
    relevant = there.sum(axis=1)
    precision = np.where(there, np.arange(1, ranks.shape[1] + 1) / ranks, 0.0)
    in_first_r = there & (ranks <= relevant[:, None])
    within = (there[:, :, None] & (ranks[:, :, None] <= k)).sum(axis=1)
    return Figures(np.minimum(within, 1.0), within / relevant[:, None], (ranks[:, :1] == 1) + 0.0,
                   in_first_r.sum(axis=1) / relevant, (precision * in_first_r).sum(axis=1) / relevant,
                   precision.sum(axis=1) / relevant, 1.0 / ranks[:, 0])


class _Tied(NamedTuple):
    """Items of one score: how many relevant ones and others, and how many of both are above."""

    relevant: int
    others: int
    relevant_above: int
    above: int


def expected_figures(scores: np.ndarray, above: np.ndarray, equal: np.ndarray, k: np.ndarray) -> Figures:
    """Of one query whose relevant items, (R,), have others above them, and beside them with the same score."""
    values, first, many = np.unique(-scores, return_index=True, return_counts=True)
    groups = [_Tied(int(many[g]), int(equal[first[g]]), int(first[g]), int(above[first[g]] + first[g]))
              for g in range(len(values))]
    r = len(scores)
    within = [sum(_within(group, one) for group in groups) for one in k]
    precision = [_precision(group) for group in groups]
    at_r = sum(part[:max(0, r - group.above)].sum() for group, part in zip(groups, precision, strict=True))
    whole = sum(part.sum() for part in precision)
    recall = [_any_within(groups[0], one) for one in k]
    rest = [sum(_within(group, r) for group in groups) / r, at_r / r, whole / r, _reciprocal_rank(groups[0])]
    return Figures(np.asarray(recall), np.asarray(within) / r, np.asarray([_within(groups[0], 1)]),
                   *map(np.asarray, rest))


def any_within(relevant: int, others: int, above: int, k: int) -> float:
    """How likely one of so many relevant items is among the first k, among others of the same score."""
    return _any_within(_Tied(relevant, others, 0, above), k)


def _within(group: _Tied, k: int) -> float:
    """How many of its relevant items are among the first k, on average."""
    size = group.relevant + group.others
    return group.relevant * min(max(k - group.above, 0), size) / size


def _any_within(group: _Tied, k: int) -> float:
    """How likely one of the first group is among the first k."""
    size, places = group.relevant + group.others, k - group.above
    if places > group.others:
        return 1.0
    return 0.0 if places <= 0 else 1.0 - math.comb(group.others, places) / math.comb(size, places)


def _precision(group: _Tied) -> np.ndarray:
    """Of each of its places: precision there, if the item is relevant, times how likely it is."""
    size = group.relevant + group.others
    place = np.arange(1, size + 1)
    before = (place - 1) * ((group.relevant - 1) / max(size - 1, 1))
    return group.relevant / size * (group.relevant_above + 1 + before) / (group.above + place)


def _reciprocal_rank(group: _Tied) -> float:
    """On average 1 / the rank of the first."""
    total, none_yet = 0.0, 1.0
    for place in range(group.others + 1):
        here = group.relevant / (group.relevant + group.others - place)
        total += none_yet * here / (group.above + place + 1)
        none_yet *= 1.0 - here
    return total
