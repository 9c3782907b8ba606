"""Arrays for a loss, made from the names of its arguments."""

from typing import Any

import numpy as np
from libraries import Array, Library

from anglos import Loss

BATCH, CLASSES, DIMENSION = 6, 5, 4
LABELS = np.asarray([0, 3, 0, 1, 4, 3])

# Options that may be arrays, and values for them: one each, and one per row where that is allowed.
OPTION_VALUES: dict[str, list[Any]] = {
    "scale": [6.0],
    "bias": [np.linspace(-1.0, 1.0, CLASSES)],
    "annealing": [0.7],
    "margin": [1.2, np.linspace(1.0, 1.4, BATCH)],
    "m1": [1.2, np.linspace(0.8, 1.4, BATCH)],
    "m2": [0.3, np.linspace(0.1, 0.5, BATCH)],
    "m3": [0.2, np.linspace(-0.1, 0.3, BATCH)],
    "sample_weight": [np.linspace(0.5, 2.0, BATCH)],
}


def arrays(loss: Loss[...], library: Library, seed: int = 0, dtype: str = "float64") -> list[Array]:
    """The arrays that a loss takes, at random."""
    random = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {
        "embeddings": random.normal(size=(BATCH, DIMENSION)),
        "weights": random.normal(size=(CLASSES, DIMENSION)),
        "logits": random.normal(size=(BATCH, CLASSES)),
    }
    return [library.array(LABELS if name == "labels" else made[name].astype(dtype)) for name in loss.arrays]


def gentle(loss: Loss[...]) -> dict[str, Any]:
    """Options for which finite differences are accurate: a scale of 64 bends too sharply for them."""
    return {"scale": 6.0} if "scale" in loss.defaults else {}


def float_arrays(loss: Loss[...]) -> list[str]:
    return [name for name in loss.arrays if name != "labels"]
