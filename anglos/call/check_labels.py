"""Checks of labels: of classes, of groups that are compared with each other, and of weights of positives."""

import math
from typing import Any

from anglos.arrays.backend import Backend
from anglos.call.kinds import refuse
from anglos.engines.groups import repeat_themselves


def check_labels(loss: str, backend: Backend, name: str, labels: Any, classes: int, ignore_index: int) -> bool:
    """Whether all labels can be read, and are classes; others are refused, if readable and not to be ignored."""
    if labels.shape[0] == 0:
        return True
    inside = backend.are_classes(labels, classes)
    if inside is None:
        return False
    if not inside:
        whole = backend.whole(labels)
        with backend.reading(whole):
            _check_outside(loss, backend, name, whole, classes, ignore_index)
    return inside and not 0 <= ignore_index < classes


def _check_outside(loss: str, backend: Backend, name: str, labels: Any, classes: int, ignore_index: int) -> None:
    xp = backend.xp
    outside = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
    if bool(xp.any(outside)):
        where = int(xp.argmax(xp.astype(outside, backend.index_type)))
        refuse(loss, name, ValueError, f"held {int(labels[where])} at position {where}",
               f"0 to {classes - 1}, or ignore_index = {ignore_index}")


def check_groups(loss: str, backend: Backend, name: str, labels: Any, index: Any, ignore_index: int) -> bool:
    """Whether all can be read, and stay apart as integers of the library's own; others are refused, if readable.

    Larger ones than the index, which they have become, could not be told apart. Where a sample has several, they must
    be able to differ, as those of a matrix of zeros and ones are not.
    """
    limits = backend.xp.iinfo(backend.index_type)
    bounds = backend.bounds(labels) if labels.shape[0] else None
    if labels.ndim == 2 and bounds is not None:
        low, high = (int(bound) for bound in bounds)
        if repeat_themselves(index, low, high, ignore_index):
            refuse(loss, name, ValueError, f"held {labels.shape[1]} labels per sample, all from {low} to {high}",
                    "labels of a sample that differ, padded with ignore_index; or weights of positives, of real "
                    f"floating dtype and shape (B, N){f' (one-hot: {name}.argmax(-1))' * ((low, high) == (0, 1))}")
    for bound in bounds or ():
        if not limits.min < bound < limits.max:
            refuse(loss, name, ValueError, f"held {int(bound)}, or one beyond it",
                    f"integers between {limits.min} and {limits.max}, which are not wrapped")
    return bounds is not None


def check_pair_weights(loss: str, backend: Backend, name: str, weights: Any) -> bool:
    """Whether weights of positives can be read, and are finite and at least 0; others are refused, if readable."""
    if 0 in weights.shape:
        return True
    bounds = backend.bounds(weights)
    if bounds is None:
        return False
    low, high = bounds
    if not 0.0 <= low <= high < math.inf:
        refuse(loss, name, ValueError, f"held {low if not low >= 0.0 else high:g}",
               "weights of positives from 0, and finite")
    return True
