"""Train the network with one loss, and measure what came of it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anglos import LOSSES
from anglos.demo.backends import Library
from anglos.demo.data import BATCH, Digits, batches, pixels
from anglos.demo.network import LAYERS, Array, Arrays, adam, adam_rate, embed
from anglos.demo.recipes import RECIPES, grown

Floats = NDArray[np.float32]


class Result(NamedTuple):
    """What one loss made of the digits. Directions are unit vectors."""

    loss: str
    seconds: float
    history: list[float]
    """The loss's mean over each epoch."""
    centres: Floats
    """(10, 3): the mean direction of the training digits of each kind."""
    test: Floats
    """(1000, 3): the directions of the test digits."""
    labels: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """The part of the test digits that are nearest to the centre of their own kind."""
        return float(np.mean(np.argmax(self.test @ self.centres.T, axis=1) == self.labels))

    @property
    def closest(self) -> tuple[int, int]:
        """The two digits whose centres are closest to each other."""
        first, second = divmod(int(np.argmax(self.centres @ self.centres.T - 2 * np.eye(10))), 10)
        return first, second

    @property
    def smallest_angle(self) -> float:
        """The angle between those two, in degrees."""
        first, second = self.centres[[*self.closest]].astype(np.float64)
        return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))


def train(name: str, library: Library, train_digits: Digits, test_digits: Digits, epochs: int, seed: int,
          report: Callable[[float], None] = lambda loss: None) -> Result:
    """Train from the start that belongs to the seed; `report` hears the loss after every epoch."""
    start = time.perf_counter()
    xp, random = library.xp, np.random.default_rng(seed)
    parameters = {name: xp.asarray(value) for name, value in _initial(random).items()}
    zeros = {name: xp.zeros_like(value) for name, value in parameters.items()}
    state, step = (parameters, zeros, zeros), _step(name, library)
    history, count = [], 0
    for epoch in range(epochs):
        options = RECIPES[name](grown(epoch, epochs))
        values = []
        for images, labels in batches(train_digits, random):
            count += 1
            rate = adam_rate(count, epochs * len(train_digits.labels) // BATCH)
            value, state = step(state, xp.asarray(images), xp.asarray(labels), options, rate)
            values.append(value)
        history.append(float(sum(values)) / len(values))
        report(history[-1])
    seconds = time.perf_counter() - start
    train_directions, test_directions = (
        _unit(library.to_numpy(embed(xp, state[0], xp.asarray(pixels(digits.images)))[-1]))
        for digits in (train_digits, test_digits))
    centres = _unit(np.stack([train_directions[train_digits.labels == digit].mean(axis=0) for digit in range(10)]))
    return Result(name, seconds, history, centres, test_directions, test_digits.labels)


def _initial(random: np.random.Generator) -> dict[str, Floats]:
    parameters = {"weights": random.standard_normal((10, LAYERS[-1][1]))}
    for i, (rows, columns) in enumerate(LAYERS):
        parameters[f"kernel{i}"] = random.standard_normal((rows, columns)) * (2 / rows) ** 0.5
        parameters[f"bias{i}"] = np.zeros(columns)
    return {name: value.astype(np.float32) for name, value in parameters.items()}


def _step(name: str, library: Library) -> Callable[..., tuple[Array, tuple[Arrays, Arrays, Arrays]]]:
    gradient = library.gradient(LOSSES[name])

    def step(state: tuple[Arrays, Arrays, Arrays], images: Array, labels: Array, options: dict[str, float],
             rate: float) -> tuple[Array, tuple[Arrays, Arrays, Arrays]]:
        value, gradients = gradient(state[0], images, labels, options)
        return value, adam(library.xp, *state, gradients, rate)

    return library.compile(step)


def _unit(vectors: Any) -> Floats:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
