"""Train the network with one loss and setting, and verify by it."""

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anglos import evaluate
from anglos.losses import LOSSES
from anglos.tools.demo.backends import BACKENDS
from anglos.tools.demo.network import Array, Arrays, adam, adam_rate
from anglos.tools.study.glyphs import Glyphs
from anglos.tools.study.network import DIMENSION, LAYERS, STANDARDISED, outputs, patches
from anglos.tools.study.recipes import PER_CLASS, RATE, Options
from anglos.tools.study.tasks import batches

STEPS = 300
FAR = 1e-3
Floats = NDArray[np.float32]
State = tuple[Arrays, Arrays, Arrays]
"""Parameters, and Adam's two means."""


class Trained(NamedTuple):
    """What a training made."""

    parameters: dict[str, Floats]
    curve: list[float]
    """The loss of every step."""


def train(backend: str, loss: str, setting: Options, some: Glyphs, seed: int, steps: int = STEPS) -> Trained:
    """Start and batches are those of the seed, for every loss and library."""
    random = np.random.default_rng(seed)
    numbers = {name: value for name, value in setting.items() if type(value) is float and name != "rate"}
    words = tuple((name, value) for name, value in setting.items() if name not in numbers and name != "rate")
    library, step = _step(backend, loss, words)
    xp, classes = library.xp, int(some.labels.max()) + 1
    parameters = {part: xp.asarray(value) for part, value in initial(loss, classes, random).items()}
    zeros = {part: xp.zeros_like(value) for part, value in parameters.items()}
    state: State = (parameters, zeros, zeros)
    curve, peak = [], setting.get("rate", RATE)
    for count, (images, labels) in enumerate(batches(some, steps, random), 1):
        value, state = step(state, xp.asarray(patches(images)), xp.asarray(labels), numbers,
                            adam_rate(count, steps, peak))
        curve.append(float(value))
    return Trained({part: library.to_numpy(value) for part, value in state[0].items()}, curve)


def initial(loss: str, classes: int, random: np.random.Generator) -> dict[str, Floats]:
    """Prototypes of a length of about 1, and layers that keep the size of what they are given."""
    parameters: dict[str, Any] = {}
    for i, (rows, columns) in enumerate(LAYERS):
        parameters[f"kernel{i}"] = random.standard_normal((rows, columns)) * (2 / rows) ** 0.5
        parameters[f"bias{i}"] = np.zeros(columns)
    prototypes = random.standard_normal((classes, 1, DIMENSION)) * DIMENSION**-0.5
    if loss in PER_CLASS:  # from elsewhere, so that the batches that follow are those of the other losses
        more = random.spawn(1)[0].standard_normal((classes, PER_CLASS[loss] - 1, DIMENSION)) * DIMENSION**-0.5
        prototypes = np.concatenate([prototypes, more], axis=1)
    if "weights" in LOSSES[loss].arrays:
        parameters["weights"] = prototypes if loss in PER_CLASS else prototypes[:, 0]
    return {part: value.astype(np.float32) for part, value in parameters.items()}


@lru_cache(4)
def _step(backend: str, name: str, words: tuple[tuple[str, Hashable], ...]) -> tuple[Any, Any]:
    """Kept, since jax.jit compiles it."""
    library, loss = BACKENDS[backend](STANDARDISED), LOSSES[name]

    def step(state: State, images: Array, labels: Array, options: Options, rate: float) -> tuple[Array, State]:
        value, gradients = library.gradient(loss, state[0], images, labels, dict(words) | options)
        return value, adam(library.xp, *state, gradients, rate)

    return library, library.compile(step)


def embeddings(trained: Trained, learnt: Glyphs, judged: Glyphs) -> Floats:
    """(N, 64), standardised as in training: by mean and deviation of what was learnt, not of what is judged."""
    known = outputs(trained.parameters, learnt.images)
    return np.asarray((outputs(trained.parameters, judged.images) - known.mean(axis=0)) / (known.std(axis=0) + 1e-5))


def measure(found: Floats, labels: NDArray[np.int64]) -> dict[str, float]:
    """EER and TAR at a FAR of 0.1 % over all pairs, recall@1 and MAP@R."""
    verified = evaluate.verification(found, labels, far=FAR)
    retrieved = evaluate.retrieval(found, labels, k=1)
    return {"eer": verified.eer, "threshold": verified.eer_threshold, "tar": verified.tar_at_far[FAR].tar,
            "recall": retrieved.recall[1], "map_at_r": retrieved.map_at_r}


def by_class(found: Floats, labels: NDArray[np.int64], threshold: float) -> NDArray[np.float64]:
    """How each class moves the EER, (C,), to first order, if it counts more; their mean is the EER.

    (r + 2a − A) / 2, with r the share of the class's genuine pairs below the threshold, a that of its impostors at or
    above it, and A that of all.
    """
    unit = found / np.linalg.norm(found, axis=1, keepdims=True)
    classes = int(labels.max()) + 1
    member = (labels[:, None] == np.arange(classes)).astype(np.float32)
    rows = np.concatenate([(unit[first:first + 1000] @ unit.T >= threshold) @ member
                           for first in range(0, len(unit), 1000)])
    accepted, many = member.T @ rows, member.sum(axis=0)  # pairs of two classes; within one, with itself and both ways
    own = np.diagonal(accepted)
    rejected = 1 - (own - many) / (many * (many - 1))
    false = (accepted.sum(axis=1) - own) / (many * (many.sum() - many))
    return np.asarray((rejected + 2 * false - false.mean()) / 2, np.float64)
