"""Verification: whether two embeddings are of one class, decided by a threshold on their similarity."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from anglos.call.kinds import describe, refuse
from anglos.evaluate.bootstrap import resampling
from anglos.evaluate.curve import DEFAULT_COST, Cost
from anglos.evaluate.given import Array, TwoSets, host_array, two_sets, without_ignored
from anglos.evaluate.kinds import integer, one_of
from anglos.evaluate.operating import Verification, verification_of
from anglos.evaluate.options import asked_for, check_kinds, warn_of_resolution
from anglos.evaluate.pair_intervals import intervals_of_pairs
from anglos.evaluate.similarity import (
    SIMILARITIES,
    Blocks,
    block_size,
    listed_pairs,
    pairs_of_a_set,
    pairs_of_two_sets,
    prepared_both,
    scores,
)
from anglos.evaluate.splitting import Splitting

_SAMPLE = 1024
"""Of so many embeddings the scores say where cells are put."""


def verification(embeddings: Array, labels: Array, *, reference_embeddings: Array | None = None,
                 reference_labels: Array | None = None, pairs: Array | None = None,
                 far: float | tuple[float, ...] = (1e-3, 1e-2, 1e-1), cost: Cost = DEFAULT_COST, hull: bool = False,
                 similarity: str = "cosine", ignore_index: int | None = -100, replicates: int = 0,
                 confidence: float = 0.95, seed: int = 0, block: int | None = None) -> Verification:
    """EER, TAR at FAR and the least detection cost, of all pairs of embeddings or of those in a list.

    A pair is accepted if its score is at least the threshold. FAR is the share of impostor pairs that are accepted,
    FRR that of genuine pairs that are not, TAR = 1 − FRR. The figures are exact, and no matrix of all scores is held:
    scores are counted block by block into cells, and those in the cells where a figure lies are collected in a second
    pass.

    Parameters
    ----------
    embeddings : array (N, D)
        Of any library. Arrays on a processor are computed with by NumPy; others where they are.
    labels : array (N,), or list
        Integers or words. Pairs of one label are genuine, all others impostors.
    reference_embeddings, reference_labels : array (M, D) and (M,)
        If given, each embedding is paired with each of these, and not with the others.
    pairs : array (P, 2) of integers
        The pairs in place of all, as in a list of trials: rows of the embeddings, the second of the references if there
        are any.
    far : number from 0 to 1, or several, default (0.001, 0.01, 0.1)
        For `tar_at_far`: the lowest threshold with at most this FAR. It is a score that occurs, or infinite.
    cost : Cost, default Cost(p_target=0.01)
        What errors cost in `min_dcf`; `COSTS` has those of NIST's and other evaluations.
    hull : bool, default False
        Whether the EER is that of the convex hull of the curve, and not of the points joined by lines.
    similarity : {"cosine", "dot", "squared_euclidean"}, default "cosine"
        The score; the last is the negative of the distance.
    ignore_index : integer or None, default −100
        Embeddings with this label are in no pair.
    replicates : integer of at least 0, default 0
        Draws of the classes, for `intervals`; 1000 are usual.
    confidence : number from 0 to 1, default 0.95
        How much of the draws an interval holds.
    seed : integer of at least 0, default 0
        Of the draws.
    block : integer of at least 1, default 2**20, or 2**24 on a GPU
        How many scores are held at a time.

    Returns
    -------
    Verification

    Raises
    ------
    ValueError
        If a number or word is out of range, embeddings are not finite, or all pairs are of one kind.
    TypeError
        If an array is none, or has another shape.

    Warns
    -----
    UserWarning
        If a FAR is of less than one impostor pair: what is found is TAR at FAR 0.

    References
    ----------
    NIST 2016, Speaker Recognition Evaluation Plan (the cost); Brümmer & de Villiers 2013, The BOSARIS Toolkit,
    arXiv:1304.2865 (the hull)

    Examples
    --------
    Three directions at 0°, 60° and 90°: cosines are 1/2 (genuine), 0 and √3/2 (impostors). The impostor that is more
    alike than the genuine pair is rejected only with it.

    >>> import numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, 1.0]])
    >>> found = verification(embeddings, ["a", "a", "b"], far=0.5)
    >>> found.genuine, found.impostor, found.eer, found.tar_at_far[0.5].tar
    (1, 2, 0.5, 1.0)
    """
    caller = "verification"
    asked = asked_for(caller, far, cost, hull)
    how = resampling(caller, replicates, confidence, seed)
    one_of(caller, "similarity", similarity, SIMILARITIES)
    block = None if block is None else integer(caller, "block", block, 1)
    sets = two_sets(caller, embeddings, labels, reference_embeddings, reference_labels, ignore_index,
                    ("reference_embeddings", "reference_labels"))
    with sets.points.untracked():
        of = _all_pairs if pairs is None else partial(_listed, pairs=pairs)
        source = of(sets, similarity=similarity, block=block)
        check_kinds(caller, "labels", source.genuine, source.pairs - source.genuine)
        warn_of_resolution(caller, "far", asked.far, source.pairs - source.genuine)
        points = source.sets.points
        steps = Splitting(points, source.blocks, source.pairs, source.sample).exact(asked.wants)
        return verification_of(steps, asked, intervals_of_pairs(points, source.blocks, sets.classes, steps, asked, how))


class _Source(NamedTuple):
    """Pairs, and how many there are."""

    sets: TwoSets
    blocks: Blocks
    pairs: int
    genuine: int
    sample: Callable[[], Array]


def _all_pairs(sets: TwoSets, similarity: str, block: int | None) -> _Source:
    sets = without_ignored(sets)
    points, others = prepared_both("verification", sets.points, sets.others, similarity)
    size, many = block_size(points, block), [np.bincount(one, minlength=sets.classes).astype(object) for one in (
        sets.codes, sets.other_codes)]  # Python's integers, which do not overflow
    some, some_others = (one.x[::_step(one.x.shape[0]), ...] for one in (points, others))
    if sets.others is sets.points:
        blocks = pairs_of_a_set(points, sets.codes, similarity, size)
        pairs, genuine = (int(sum(one * (one - 1) // 2)) for one in (np.asarray([len(sets.codes)], object), many[0]))
    else:
        blocks = pairs_of_two_sets(points, sets.codes, others, sets.other_codes, similarity, size)
        pairs, genuine = len(sets.codes) * len(sets.other_codes), int(sum(many[0] * many[1]))
    return _Source(sets, blocks, pairs, genuine, lambda: scores(points.xp, similarity, some, some_others))


def _step(count: int) -> int:
    return max(1, -(-count // _SAMPLE))


def _listed(sets: TwoSets, similarity: str, block: int | None, pairs: Array) -> _Source:
    listed = _pairs_of(pairs, len(sets.codes), len(sets.other_codes))
    listed = listed[(sets.codes[listed[:, 0]] >= 0) & (sets.other_codes[listed[:, 1]] >= 0)]
    points, others = prepared_both("verification", sets.points, sets.others, similarity)
    of = partial(listed_pairs, points, sets.codes, others, sets.other_codes, similarity=similarity)
    genuine = int((sets.codes[listed[:, 0]] == sets.other_codes[listed[:, 1]]).sum())
    sample = of(pairs=listed[::_step(len(listed))], block=_SAMPLE * max(points.x.shape[1], 1))
    return _Source(sets, of(pairs=listed, block=block_size(points, block)), len(listed), genuine,
                   lambda: next(sample()).scores)


def _pairs_of(given: Any, rows: int, others: int) -> np.ndarray:
    """Indices (P, 2), if they are."""
    pairs = host_array("verification", "pairs", given)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        refuse("verification", "pairs", TypeError, f"was {describe(given)} of dtype {pairs.dtype} and shape "
               f"{pairs.shape}", "integers of shape (P, 2)")
    limits = np.asarray([rows, others])
    outside = (pairs < 0) | (pairs >= limits)
    if outside.any():
        where, column = np.argwhere(outside)[0]
        refuse("verification", "pairs", ValueError, f"held {pairs[where, column]} at position ({where}, {column})",
               f"0 to {limits[column] - 1}")
    return pairs.astype(np.int64)
