"""Which samples of a class with several prototypes are wrongly labelled."""

import math
from typing import NamedTuple

from anglos.arrays.library import Array
from anglos.call.arguments import Embeddings, Labels, SubWeights
from anglos.call.kinds import Number
from anglos.call.state import Batch, batch_of
from anglos.call.static_kinds import kind_of
from anglos.engines.numerics import unit_rows

_KINDS = {**{name: kind_of(annotation) for name, annotation in {
    "embeddings": Embeddings, "weights": SubWeights, "labels": Labels}.items()},
    "max_angle": Number("an angle in radians", 0.0, math.pi, shapes=())}

_TILE = 1 << 22
"""How many numbers of prototypes are looked up at a time."""


class Cleaning(NamedTuple):
    """Of N samples and C classes with K prototypes each."""

    keep: Array
    """Whether a sample is near the dominant prototype of its class, (N,)."""
    dominant: Array
    """Which prototype of a class most of its samples are nearest to, (C,); −1 for a class without samples."""
    counts: Array
    """How many samples of a class are nearest to each of its prototypes, (C, K)."""


def clean_subcenters(embeddings: Array, weights: Array, labels: Array, *, max_angle: float = math.radians(75.0)
                     ) -> Cleaning:
    """Which samples to keep, after a training with `subcenter_arcface`: those near the dominant prototype.

    A prototype of a class is dominant if most samples of the class are nearest to it; of equals the first. A sample
    whose angle to the dominant one is larger counts as wrongly labelled, near another prototype though it may be: train
    again, with one prototype per class, on the rest. The network must have been trained: at the start all are far.

    Parameters
    ----------
    embeddings : array (N, D)
        Of the whole training set; zero vectors are not kept.
    weights : array (C, K, D)
        The trained prototypes.
    labels : array (N,) of integers
        0 to C − 1; samples with −100 count for nothing, and are not kept.
    max_angle : angle in radians from 0 to π, default 75°
        An angle of just as much is kept.

    Returns
    -------
    Cleaning
        `keep` (N,), whether each is kept; `dominant` (C,), −1 for a class without samples; `counts` (C, K), how many of
        its samples are nearest to each prototype.

    References
    ----------
    Deng, Guo, Liu, Gong, Zafeiriou, "Sub-center ArcFace", ECCV 2020, section 3.4.

    Examples
    --------
    Two of three samples are nearest to the first prototype; the third is at 90° to it.

    >>> import numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    >>> keep, dominant, counts = clean_subcenters(embeddings, np.eye(2)[None], np.asarray([0, 0, 0]))
    >>> keep.tolist(), dominant.tolist(), counts.tolist()
    ([True, True, False], [0], [[2, 1]])
    """
    with batch_of("clean_subcenters", _KINDS, embeddings=embeddings, weights=weights, labels=labels,
                  max_angle=max_angle) as batch:
        return _cleaning(batch, **batch.values)


def _cleaning(batch: Batch, embeddings: Array, weights: Array, labels: Array, max_angle: float) -> Cleaning:
    backend, xp = batch.backend, batch.backend.xp
    classes, several, _ = weights.shape
    with backend.untracked((embeddings, weights)):
        cosines = _cosines(batch, embeddings, weights, labels)
        counted = batch.weight(cosines[:, 0]) == 1.0
        numbers = xp.arange(several, device=backend.device(labels), dtype=labels.dtype)
        nearest = xp.astype(xp.argmax(cosines, axis=1), labels.dtype)[:, None] == numbers
        counts = backend.sum_by_label(xp.astype(nearest & counted[:, None], cosines.dtype), labels, classes)
        first = xp.astype(xp.argmax(counts, axis=1), labels.dtype)
        of_class = xp.take(first, labels, axis=0)[:, None] == numbers
        cos = xp.sum(xp.where(of_class, cosines, 0.0), axis=1)
        dominant = xp.where(xp.max(counts, axis=1) > 0.0, first, -1)
        return Cleaning((cos >= math.cos(max_angle)) & counted, dominant, xp.astype(counts, labels.dtype))


def _cosines(batch: Batch, embeddings: Array, weights: Array, labels: Array) -> Array:
    """Of every sample with the prototypes of its class, (N, K)."""
    backend, xp = batch.backend, batch.backend.xp
    unit, _ = unit_rows(backend, embeddings)
    directions, _ = unit_rows(backend, weights)
    width = max(1, _TILE // max(weights.shape[1] * weights.shape[2], 1))
    parts = [xp.sum(unit[first:last, None, :] * backend.of_label(directions, labels[first:last]), axis=2)
             for first, last in backend.tiles(labels.shape[0], width) or [(0, 0)]]
    return xp.clip(xp.concat(parts, axis=0), -1.0, 1.0)
