"""A small network and its optimiser, once for all array libraries. Each value is followed by its derivative."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

Array = Any
Arrays = dict[str, Array]


class Network(NamedTuple):
    """From images to embeddings, and back."""

    embed: Callable[[Any, Arrays, Array], list[Array]]
    """(xp, parameters, images) -> all that the way back needs; the last entry is the embeddings."""
    pullback: Callable[[Any, Arrays, list[Array], Array], Arrays]
    """(xp, parameters, what `embed` gave, gradient of the embeddings) -> that of every parameter."""


LAYERS = ((784, 128), (128, 64), (64, 3))
_LAST = len(LAYERS) - 1


def embed(xp: Any, parameters: Arrays, images: Array) -> list[Array]:
    """What enters each layer, from the images (B, 784) on; the last entry is the embeddings (B, 3)."""
    values = [images]
    for i in range(len(LAYERS)):
        value = values[i] @ parameters[f"kernel{i}"] + parameters[f"bias{i}"]
        values.append(value if i == _LAST else xp.where(value > 0, value, 0.0))
    return values


def embed_pullback(xp: Any, parameters: Arrays, values: list[Array], g: Array) -> Arrays:
    """From the gradient of the embeddings to that of every kernel and bias."""
    gradients: Arrays = {}
    for i in reversed(range(len(LAYERS))):
        g = g if i == _LAST else xp.where(values[i + 1] > 0, g @ parameters[f"kernel{i + 1}"].T, 0.0)
        gradients |= {f"kernel{i}": values[i].T @ g, f"bias{i}": xp.sum(g, axis=0)}
    return gradients


SMALL = Network(embed, embed_pullback)
"""The demo's."""


def adam(xp: Any, parameters: Arrays, means: Arrays, squares: Arrays, gradients: Arrays, rate: float
         ) -> tuple[Arrays, Arrays, Arrays]:
    """One step of Adam (Kingma & Ba 2014, arXiv:1412.6980); its bias correction is part of the rate."""
    means = {name: 0.9 * mean + 0.1 * gradients[name] for name, mean in means.items()}
    squares = {name: 0.99 * square + 0.01 * gradients[name] ** 2 for name, square in squares.items()}
    parameters = {name: parameter - rate * means[name] / (xp.sqrt(squares[name]) + 1e-8)
                  for name, parameter in parameters.items()}
    return parameters, means, squares


def adam_rate(step: int, steps: int, peak: float = 1e-2) -> float:
    """Up over the first 50 steps, then down to nothing; times Adam's bias correction. Steps count from 1."""
    bias = math.sqrt(1 - 0.99**step) / (1 - 0.9**step)
    return peak * min(1.0, step / 50) * (1 - (step - 1) / steps) * bias
