"""Identification: whose embedding a probe is, by a gallery of known ones."""

import itertools
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np

from anglos.call.kinds import refuse
from anglos.evaluate.bootstrap import Interval, Resampling, draws, interval, intervals_of_means, resampling
from anglos.evaluate.curve import Rates, Steps, accepted_at, rates_of, steps_of
from anglos.evaluate.given import Array, two_sets, without_ignored
from anglos.evaluate.kinds import check_idle, integer, one_of, several
from anglos.evaluate.options import rates, warn_of_resolution
from anglos.evaluate.ranks import Standing, gallery_of, standings
from anglos.evaluate.retrieval import TIES
from anglos.evaluate.similarity import SIMILARITIES, block_size, prepared_both
from anglos.evaluate.ties import any_within


class OpenSetPoint(NamedTuple):
    """A threshold, and which probes find somebody at it."""

    threshold: float
    fpir: float
    """Of the non-mated probes, the share that finds an item with a score of at least the threshold."""
    tpir: float
    """Of the mated probes, the share whose mate has such a score, and the rank that is asked for."""


@dataclass(frozen=True)
class Identification:
    """What `identification` found."""

    rank: dict[int, float]
    """By k: of the mated probes, the share whose best mate is among the first k."""
    cmc: np.ndarray = field(compare=False)
    """The same for k = 1, 2, … to the largest: the cumulative match curve."""
    tpir_at_fpir: dict[float, OpenSetPoint]
    """By the FPIR that is allowed."""
    mated: int
    """How many probes have a mate in the gallery."""
    non_mated: int
    """How many do not."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """By the name of the figure, as "rank[1]" or "tpir_at_fpir[0.01]"; empty unless `replicates` were asked for."""


class _Seen(NamedTuple):
    """Of all probes."""

    best: np.ndarray
    """Of mated probes the score of the best mate, of others that of the best item."""
    hits: np.ndarray
    """How likely the best mate is among the first k, (Q, K)."""
    mated: np.ndarray
    codes: np.ndarray


def identification(probes: Array, probe_labels: Array, gallery: Array, gallery_labels: Array, *,
                   ranks: int | tuple[int, ...] = (1, 5, 10), fpir: float | tuple[float, ...] = (), tpir_rank: int = 1,
                   ties: str = "pessimistic", similarity: str = "cosine", ignore_index: int | None = -100,
                   replicates: int = 0, confidence: float = 0.95, seed: int = 0, block: int | None = None
                   ) -> Identification:
    """Rank-k and CMC of a closed set, TPIR at FPIR of an open one.

    Probes with a label of the gallery are mated. The rank of a probe is that of its best mate: one more than there are
    items of other labels with a higher score. Probes with other labels are non-mated, and items with a label that no
    probe has are distractors.

    Parameters
    ----------
    probes, probe_labels : array (Q, D), and array (Q,) or list
        Labels are integers or words. Arrays on a processor are computed with by NumPy; others where they are.
    gallery, gallery_labels : array (N, D), and array (N,) or list
        What probes are compared with; a label may have several items.
    ranks : integer of at least 1, or several, default (1, 5, 10)
        k.
    fpir : number from 0 to 1, or several, default none
        For `tpir_at_fpir`: the lowest threshold with at most this FPIR, a score that occurs, or infinite.
    tpir_rank : integer of at least 1, default 1
        The rank up to which a mate counts in `tpir_at_fpir`.
    ties : {"pessimistic", "optimistic", "expected"}, default "pessimistic"
        What stands first of equal scores: others, the mate, or the mean over all orders.
    similarity : {"cosine", "dot", "squared_euclidean"}, default "cosine"
        The score; the last is the negative of the distance.
    ignore_index : integer or None, default −100
        Embeddings with this label are left out, as if they were not there.
    replicates : integer of at least 0, default 0
        Draws of the probes' classes, for `intervals`; 1000 are usual. The gallery stays as it is.
    confidence : number from 0 to 1, default 0.95
        How much of the draws an interval holds.
    seed : integer of at least 0, default 0
        Of the draws.
    block : integer of at least 1, default 2**20, or 2**24 on a GPU
        How many scores are held at a time; not fewer than 32 probes have.

    Returns
    -------
    Identification

    Raises
    ------
    ValueError
        If a number or word is out of range, no probe is mated, or an FPIR is asked for and none is non-mated.
    TypeError
        If an array is none, or has another shape.

    Warns
    -----
    UserWarning
        If an FPIR is of less than one non-mated probe: what is found is TPIR at FPIR 0.

    References
    ----------
    Grother, Ngan & Hanaoka 2019, Face Recognition Vendor Test Part 2: Identification, NISTIR 8271

    Examples
    --------
    Angles in degrees; the first probe is nearest to its mate, the second has another item before it. The non-mated
    probe finds an item 10° away, so that with no false positive only a mate nearer than that counts.

    >>> import numpy as np
    >>> def at(*angles):
    ...     return np.stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))], axis=1)
    >>> found = identification(at(5, 60, 100), ["a", "b", "x"], at(0, 90, 55), ["a", "b", "c"], ranks=(1, 2), fpir=0.0)
    >>> found.rank, found.tpir_at_fpir[0.0].tpir, found.mated, found.non_mated
    ({1: 0.5, 2: 1.0}, 0.5, 2, 1)
    """
    caller = "identification"
    ks = several(caller, "ranks", ranks, partial(integer, low=1))
    allowed = rates(caller, "fpir", fpir)
    integer(caller, "tpir_rank", tpir_rank, 1)
    if not allowed:
        check_idle(caller, "tpir_rank", tpir_rank, 1, "fpir")
    one_of(caller, "ties", ties, TIES)
    one_of(caller, "similarity", similarity, SIMILARITIES)
    how = resampling(caller, replicates, confidence, seed)
    block = None if block is None else integer(caller, "block", block, 1)
    if gallery is None:
        refuse(caller, "gallery", TypeError, "was None", "an array (N, D)")
    sets = without_ignored(two_sets(caller, probes, probe_labels, gallery, gallery_labels, ignore_index,
                                    ("gallery", "gallery_labels"), ("probes", "probe_labels")))
    mated = np.bincount(sets.other_codes, minlength=sets.classes)[sets.codes] > 0
    _check(caller, mated, allowed)
    warn_of_resolution(caller, "fpir", allowed, int((~mated).sum()))
    wanted = np.asarray([*range(1, max(ks, default=0) + 1), tpir_rank])
    with sets.points.untracked():
        points, others = prepared_both(caller, sets.points, sets.others, similarity)
        parts = [_hits(one, wanted, ties) for one in standings(points, sets.codes, gallery_of(others, sets.other_codes,
                 sets.classes), similarity, block_size(points, block), itself=False, best_only=True)]
        best, hits = (np.concatenate(one) for one in zip(*parts, strict=True))
        return _result(_Seen(best, hits, mated, sets.codes), ks, allowed, how)


def _hits(standing: Standing, k: np.ndarray, ties: str) -> tuple[np.ndarray, np.ndarray]:
    """Of a block: the best scores, and how likely a mate is among the first k."""
    mated, scores, above, equal = standing.relevant > 0, standing.scores, standing.above[:, 0], standing.equal[:, 0]
    rank = 1 + above + (equal if ties == "pessimistic" else 0)
    hits = (rank[:, None] <= k) + 0.0
    if ties == "expected":
        for row in np.flatnonzero(mated & (equal > 0)):
            alike = int((scores[row] == scores[row, 0]).sum())
            hits[row] = [any_within(alike, int(equal[row]), int(above[row]), int(one)) for one in k]
    return np.where(mated, scores[:, 0], standing.best_other), hits


def _check(caller: str, mated: np.ndarray, allowed: tuple[float, ...]) -> None:
    count = int(mated.sum())
    if not count:
        refuse(caller, "probe_labels", ValueError, "had none that the gallery has", "at least one mated probe")
    if allowed and count == len(mated):
        refuse(caller, "probe_labels", ValueError, "were all in the gallery", "a probe whose label is not, for fpir")


def _result(seen: _Seen, ks: tuple[int, ...], allowed: tuple[float, ...], how: Resampling) -> Identification:
    hits = seen.hits[seen.mated]
    cmc = hits[:, :-1].mean(axis=0)
    intervals = intervals_of_means({f"rank[{k}]": hits[:, k - 1] for k in ks}, seen.codes[seen.mated], how)
    steps = steps_of(seen.best, seen.mated)
    points = _points(rates_of(steps), seen, seen.mated * 1.0, allowed) if allowed else {}
    if allowed and how.replicates:
        drawn = _drawn(seen, steps, allowed, how)
        intervals |= {f"tpir_at_fpir[{rate!r}]": interval(np.asarray([one[rate].tpir for one in drawn]), how)
                      for rate in allowed}
    return Identification({k: float(cmc[k - 1]) for k in ks}, cmc, points, len(hits), int((~seen.mated).sum()),
                          intervals)


def _points(found: Rates, seen: _Seen, weights: np.ndarray, allowed: tuple[float, ...]) -> dict[float, OpenSetPoint]:
    """At the threshold for each FPIR; weights are of mated probes."""
    points = {}
    for rate in allowed:
        at = accepted_at(found, np.ones(len(found.far) - 1, bool), rate)
        passed = weights * seen.hits[:, -1] * (seen.best >= at.threshold)
        points[rate] = OpenSetPoint(at.threshold, at.far, float(passed.sum() / weights.sum()))
    return points


def _drawn(seen: _Seen, steps: Steps, allowed: tuple[float, ...], how: Resampling) -> list[dict[float, OpenSetPoint]]:
    """The same of each draw; NaN where it has no probe of one of the kinds."""
    _, codes = np.unique(seen.codes, return_inverse=True)
    place, found = np.searchsorted(steps.low, seen.best), []
    for of_class in itertools.chain.from_iterable(draws(int(codes.max()) + 1, how)):
        mated, others = of_class[codes] * seen.mated, of_class[codes] * ~seen.mated
        if not mated.any() or not others.any():
            found.append(dict.fromkeys(allowed, OpenSetPoint(np.nan, np.nan, np.nan)))
            continue
        counts = (np.bincount(place, one, len(steps.low)) for one in (mated, others))
        found.append(_points(rates_of(steps, *counts), seen, mated, allowed))
    return found
