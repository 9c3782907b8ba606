"""Train the network with one loss."""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from anglos.losses import LOSSES
from anglos.tools.demo.backends import AnyLoss, Library, Options
from anglos.tools.demo.data import BATCH, Digits, batches, pixels
from anglos.tools.demo.network import LAYERS, Array, Arrays, adam, adam_rate, embed
from anglos.tools.demo.recipes import RECIPES, WORDS, grown
from anglos.tools.demo.result import Floats, Result, measure

State = tuple[Arrays, Arrays, Arrays]
"""Parameters, and Adam's two means."""


def train(name: str, library: Library, train_digits: Digits, test_digits: Digits, epochs: int, seed: int,
          report: Callable[[float], Any]) -> Result:
    """Start and batches are those of the seed, for every loss and library. `report` hears the loss of every epoch."""
    started = time.perf_counter()
    xp, random, loss = library.xp, np.random.default_rng(seed), LOSSES[name]
    step = library.compile(partial(_step, library, loss, WORDS.get(name, {})))
    parameters = {part: xp.asarray(value) for part, value in _initial(random).items()
                  if part != "weights" or part in loss.arrays}
    zeros = {part: xp.zeros_like(value) for part, value in parameters.items()}
    state: State = (parameters, zeros, zeros)
    per_epoch = len(train_digits.labels) // BATCH
    for epoch in range(epochs):
        options, total = RECIPES[name](grown(epoch, epochs)), 0.0
        for count, (images, labels) in enumerate(batches(train_digits, random), 1 + epoch * per_epoch):
            rate = adam_rate(count, epochs * per_epoch)
            value, state = step(state, xp.asarray(images), xp.asarray(labels), options, rate)
            total = total + value
        report(float(total) / per_epoch)
    train_embeddings, test_embeddings = (library.to_numpy(embed(xp, state[0], xp.asarray(pixels(digits)))[-1])
                                         for digits in (train_digits.images, test_digits.images))
    seconds = time.perf_counter() - started
    return measure(name, seconds, train_embeddings, train_digits.labels, test_embeddings, test_digits.labels)


def _step(library: Library, loss: AnyLoss, words: Options, state: State, images: Array, labels: Array,
          options: Options, rate: float) -> tuple[Array, State]:
    value, gradients = library.gradient(loss, state[0], images, labels, words | options)
    return value, adam(library.xp, *state, gradients, rate)


def _initial(random: np.random.Generator) -> dict[str, Floats]:
    parameters = {"weights": random.standard_normal((10, LAYERS[-1][1]))}
    for i, (rows, columns) in enumerate(LAYERS):
        parameters[f"kernel{i}"] = random.standard_normal((rows, columns)) * (2 / rows) ** 0.5
        parameters[f"bias{i}"] = np.zeros(columns)
    return {part: value.astype(np.float32) for part, value in parameters.items()}
