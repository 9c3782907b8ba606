"""What a loss made of the digits: where they lie on the sphere, and what can be measured there."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int64]


class Result(NamedTuple):
    """What one loss made of the digits."""

    loss: str
    seconds: float
    centres: Floats
    """(10, 3): the mean direction of the training digits of each kind."""
    test: Floats
    """(N, 3): the directions of the test digits, unit vectors like the centres."""
    labels: Labels
    """(N,): which digits those are."""
    accuracy: float
    """The part of the test digits that are nearest to the centre of their own kind."""
    closest: tuple[int, int]
    """The two digits whose centres are closest to each other."""
    smallest_angle: float
    """The angle between those two, in degrees."""


def measure(loss: str, seconds: float, train: Floats, train_labels: Labels, test: Floats, test_labels: Labels
            ) -> Result:
    """The result, from the embeddings (N, 3) of the digits. Their lengths are left out of it."""
    train, test = _unit(train), _unit(test)
    centres = _unit(np.stack([train[train_labels == digit].mean(axis=0) for digit in range(10)]))
    accuracy = float(np.mean(np.argmax(test @ centres.T, axis=1) == test_labels))
    cos = centres @ centres.T - 2 * np.eye(10)
    first, second = divmod(int(np.argmax(cos)), 10)
    return Result(loss, seconds, centres, test, test_labels, accuracy, (first, second),
                  float(np.degrees(np.arccos(cos[first, second]))))


def _unit(vectors: Any) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
