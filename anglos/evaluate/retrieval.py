"""Retrieval: how many of the relevant items are found, and how early."""

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from anglos.call.kinds import refuse
from anglos.evaluate.bootstrap import Interval, Resampling, intervals_of_means, resampling
from anglos.evaluate.given import Array, two_sets, without_ignored
from anglos.evaluate.kinds import integer, one_of, several
from anglos.evaluate.ranks import Standing, gallery_of, standings
from anglos.evaluate.similarity import SIMILARITIES, block_size, prepared_both
from anglos.evaluate.ties import Figures, expected_figures, figures_of_ranks

TIES = ("pessimistic", "optimistic", "expected")


@dataclass(frozen=True)
class Retrieval:
    """What `retrieval` found: means over the queries that have a relevant item."""

    recall: dict[int, float]
    """By k: the share of queries with a relevant item among the first k."""
    precision_at_1: float
    r_precision: float
    """Of the first R items, where R are relevant, the share that is."""
    map_at_r: float
    """Mean average precision at R (Musgrave et al. 2020): (1/R) Σ_{i ≤ R} P(i) rel(i)."""
    mean_average_precision: float
    """(1/R) Σ_i P(i) rel(i), over the whole gallery."""
    mrr: float
    """Mean of 1 / the rank of the first relevant item."""
    recall_fraction: dict[int, float]
    """By k: the share of the relevant items that are among the first k, which information retrieval calls recall."""
    queries: int
    """How many are in the means."""
    left_out: int
    """How many are not, since nothing in the gallery is relevant to them."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """By the name of the figure, as "map_at_r" or "recall[1]"; empty unless `replicates` were asked for."""


def retrieval(embeddings: Array, labels: Array, *, gallery: Array | None = None, gallery_labels: Array | None = None,
              k: int | tuple[int, ...] = (1, 2, 4, 8), ties: str = "pessimistic", similarity: str = "cosine",
              ignore_index: int | None = -100, replicates: int = 0, confidence: float = 0.95, seed: int = 0,
              block: int | None = None) -> Retrieval:
    """Recall@k, precision@1, R-precision, MAP@R and mean average precision.

    Every embedding is a query; relevant are the others of its label. All ranks are exact, and counted a block of
    queries at a time.

    Parameters
    ----------
    embeddings : array (Q, D)
        Of any library. Arrays on a processor are computed with by NumPy; others where they are.
    labels : array (Q,), or list
        Integers or words.
    gallery, gallery_labels : array (N, D) and (N,)
        What the queries are compared with, if not with each other.
    k : integer of at least 1, or several, default (1, 2, 4, 8)
        For `recall` and `recall_fraction`.
    ties : {"pessimistic", "optimistic", "expected"}, default "pessimistic"
        What stands first of equal scores: what is not relevant; what is; or the mean over all orders. By the first,
        embeddings that are all the same find nothing.
    similarity : {"cosine", "dot", "squared_euclidean"}, default "cosine"
        By which items are ranked; the last from the nearest on.
    ignore_index : integer or None, default −100
        Embeddings with this label are left out, as if they were not there.
    replicates : integer of at least 0, default 0
        Draws of the queries' classes, for `intervals`; 1000 are usual. The gallery stays as it is.
    confidence : number from 0 to 1, default 0.95
        How much of the draws an interval holds.
    seed : integer of at least 0, default 0
        Of the draws.
    block : integer of at least 1, default 2**20, or 2**24 on a GPU
        How many scores are held at a time; not fewer than 32 queries have.

    Returns
    -------
    Retrieval

    Raises
    ------
    ValueError
        If a number or word is out of range, or no query has a relevant item.
    TypeError
        If an array is none, or has another shape.

    References
    ----------
    Musgrave et al. 2020, A Metric Learning Reality Check, arXiv:2003.08505 (R-precision, MAP@R)

    Examples
    --------
    On a line; to the first the nearest are 1 (relevant), 2 (not) and 3 (relevant): R = 2, so that MAP@R is
    (1/1 + 0) / 2 and mean average precision (1/1 + 2/3) / 2.

    >>> import numpy as np
    >>> found = retrieval(np.asarray([[0.0]]), [7], gallery=np.asarray([[1.0], [2.0], [3.0]]), gallery_labels=[7, 5, 7],
    ...                   similarity="squared_euclidean", k=1)
    >>> found.recall[1], found.r_precision, found.map_at_r, round(found.mean_average_precision, 4)
    (1.0, 0.5, 0.5, 0.8333)
    """
    asked = partial(integer, low=1)
    ks = np.asarray(several("retrieval", "k", k, asked), np.int64)
    one_of("retrieval", "ties", ties, TIES)
    one_of("retrieval", "similarity", similarity, SIMILARITIES)
    how = resampling("retrieval", replicates, confidence, seed)
    block = None if block is None else integer("retrieval", "block", block, 1)
    sets = two_sets("retrieval", embeddings, labels, gallery, gallery_labels, ignore_index,
                    ("gallery", "gallery_labels"))
    points, codes, others, other_codes, classes = without_ignored(sets)
    itself = gallery is None
    many = np.bincount(other_codes, minlength=classes)[codes] - itself
    asking = np.flatnonzero(many > 0)
    if not len(asking):
        refuse("retrieval", "labels", ValueError, "were of no two items" if itself else "had none that the gallery has",
               "at least one query with a relevant item")
    with points.untracked():
        points, others = prepared_both("retrieval", points, others, similarity)
        parts = [_figures(one, ks, ties) for one in standings(points, codes, gallery_of(others, other_codes, classes),
                                                              similarity, block_size(points, block), itself=itself)]
        found = Figures(*(np.concatenate(one) for one in zip(*parts, strict=True)))
        return _result(found, ks, codes[asking], len(codes) - len(asking), how)


def _result(found: Figures, k: np.ndarray, codes: np.ndarray, left_out: int, how: Resampling) -> Retrieval:
    values = {"r_precision": found.r_precision, "map_at_r": found.map_at_r,
              "mean_average_precision": found.average_precision, "mrr": found.reciprocal_rank,
              "precision_at_1": found.precision_at_1[:, 0]}
    at_k = {name: dict(zip(k.tolist(), getattr(found, name).T, strict=True)) for name in ("recall", "recall_fraction")}
    every = values | {f"{name}[{one}]": row for name, rows in at_k.items() for one, row in rows.items()}
    means: dict[str, Any] = {name: float(one.mean()) for name, one in values.items()}
    means |= {name: {one: float(row.mean()) for one, row in rows.items()} for name, rows in at_k.items()}
    return Retrieval(**means, queries=len(codes), left_out=left_out, intervals=intervals_of_means(every, codes, how))


def _figures(standing: Standing, k: np.ndarray, ties: str) -> Figures:
    """Of the queries of a block that have a relevant item."""
    asking = standing.relevant > 0
    relevant, scores, above, equal = (one[asking] for one in standing[1:5])
    place = np.arange(scores.shape[1])
    there = place < relevant[:, None]
    ranks = place + 1 + above + (equal if ties == "pessimistic" else 0)
    found = figures_of_ranks(np.where(there, ranks, np.iinfo(np.int64).max), there, k)
    if ties == "expected":
        for row in np.flatnonzero((equal * there).any(axis=1)):
            some = there[row]
            for whole, one in zip(found, expected_figures(scores[row, some], above[row, some], equal[row, some], k),
                                  strict=True):
                whole[row] = one
    return found
