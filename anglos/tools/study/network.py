"""The network of the study: each layer joins what stands in four neighbouring places. No framework's layers."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from anglos.tools.demo.network import Array, Arrays, Network

DIMENSION = 64
LAYERS = ((100, 32), (128, 64), (256, DIMENSION))
"""A convolution of 10 × 10 pixels, in steps of 6, makes 4 × 4 places with 32 numbers each; then 2 × 2, and one."""
_LAST = len(LAYERS) - 1
_INK = np.float32(0.15)  # of a glyph's pixels


def patches(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the first layer sees, (B, 16, 100), of images (B, 28, 28): places to be joined are neighbours."""
    seen = np.lib.stride_tricks.sliding_window_view(images, (10, 10), axis=(1, 2))[:, ::6, ::6]
    joined = seen.reshape(len(images), 2, 2, 2, 2, 10, 10).transpose(0, 1, 3, 2, 4, 5, 6)
    return joined.reshape(len(images), 16, 100).astype(np.float32) / np.float32(255) - _INK


def embed(xp: Any, parameters: Arrays, images: Array) -> list[Array]:
    """What enters each layer, then the deviations of what leaves the last, and that over these: the embeddings."""
    values = [images]
    for i, (rows, _) in enumerate(LAYERS):
        values[i] = xp.reshape(values[i], (-1, rows))
        value = values[i] @ parameters[f"kernel{i}"] + parameters[f"bias{i}"]
        values.append(xp.where(value > 0, value, 0.0) if i < _LAST else value - xp.mean(value, axis=0))
    deviation = xp.sqrt(xp.mean(values[-1] ** 2, axis=0) + 1e-5)
    return [*values[:-1], deviation, values[-1] / deviation]


def embed_pullback(xp: Any, parameters: Arrays, values: list[Array], g: Array) -> Arrays:
    """From the gradient of the embeddings to that of every kernel and bias."""
    *values, deviation, embeddings = values
    g = (g - xp.mean(g, axis=0) - embeddings * xp.mean(g * embeddings, axis=0)) / deviation
    gradients: Arrays = {}
    for i in reversed(range(len(LAYERS))):
        if i < _LAST:
            g = xp.where(xp.reshape(values[i + 1], (-1, LAYERS[i][1])) > 0, xp.reshape(g, (-1, LAYERS[i][1])), 0.0)
        gradients |= {f"kernel{i}": values[i].T @ g, f"bias{i}": xp.sum(g, axis=0)}
        if i:
            g = g @ parameters[f"kernel{i}"].T
    return gradients


def outputs(parameters: dict[str, NDArray[np.float32]], images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What leaves the last layer, (N, 64), before it is standardised: by NumPy, some images at a time."""
    found = []
    for first in range(0, len(images), 1000):
        value = patches(images[first:first + 1000])
        for i, (rows, _) in enumerate(LAYERS):
            value = value.reshape(-1, rows) @ parameters[f"kernel{i}"] + parameters[f"bias{i}"]
            value = value if i == _LAST else np.maximum(value, 0)
        found.append(value)
    return np.concatenate(found)


STANDARDISED = Network(embed, embed_pullback)
"""Its embeddings have mean 0 and deviation 1 over the batch, number by number."""
