"""Arrays and options for any loss, made from the kinds of its arguments."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from anglos.call.kinds import ArrayOf, Number, Signs, has_gradient
from anglos.call.loss import Loss
from anglos.call.static_kinds import Integer, Words

BATCH, CLASSES, DIMENSION = 6, 5, 4
SIZES = {"B": BATCH, "C": CLASSES, "D": DIMENSION, "K": 3, "M": BATCH, "N": BATCH}
LABELS = np.asarray([0, 3, 0, 1, 4, 3])
COMMON = ("reduction", "ignore_index", "keep_bytes", "gradient_products", "sample_weight", "reference_embeddings",
          "reference_labels", "excluded_pairs", "row_mask", "guide_margin", "guide_kind")
"""What comes by itself, or is about samples: the library's own, not the formula's."""

STRAIGHT_THROUGH = "straight_through"
"""A word for what is not the gradient of the value."""

HARD = ("an aligned vector", "an opposite vector", "a long aligned vector", "a vector at 1e-4 rad",
        "a vector at π - 1e-4 rad", "a vector at 90°", "a zero vector", "a vector of length 1e-20",
        "a vector of length 1e18")
LONGEST = 1e18


def arrays_of(loss: Loss[...], seed: int = 0) -> list[np.ndarray]:
    """The arrays that a loss takes, at random, in float64."""
    random = np.random.default_rng(seed)
    return [_array(loss.kinds[name], random, LABELS) for name in loss.arrays]


def hard_arrays(loss: Loss[...]) -> list[np.ndarray]:
    """Vectors equal to, opposite to, near to and at right angles to each other; zero, tiny and huge ones."""
    random = np.random.default_rng(3)
    weights = random.normal(size=(CLASSES, DIMENSION))
    first = weights[0]
    across = weights[1] - first * (first @ weights[1]) / (first @ first)
    across *= np.linalg.norm(first) / np.linalg.norm(across)
    near = first * np.cos(1e-4) + across * np.sin(1e-4)
    vectors = np.stack([first, -first, 3.0 * first, near, -near, across, 0.0 * first, 1e-20 * across,
                        LONGEST * across])
    labels = np.asarray([0, 0, 0, 0, 0, 1, 1, 0, 0])
    found: list[np.ndarray] = []
    for name in loss.arrays:
        kind = loss.kinds[name]
        if kind.shapes[0] in ("B D", "M D"):
            found.append(vectors[::-1] if found else vectors)
        elif kind.shapes[0] == "C D":
            found.append(weights)
        elif kind.shapes[0] == "C K D":
            found.append(np.stack([weights, weights, -0.5 * weights], axis=1))
        elif kind.shapes[0] == "B C":
            found.append(np.clip(random.normal(size=(len(vectors), CLASSES)) * 2.0, -1.0, 1.0))
        else:
            found.append(_array(kind, random, labels))
    return found


def _array(kind: Any, random: Any, labels: np.ndarray) -> np.ndarray:
    if isinstance(kind, Signs):
        return np.where(np.arange(len(labels)) % 2, 1, -1)
    if kind.dtype == "integral":
        return labels
    shape = [{**SIZES, "B": len(labels)}[letter] for letter in kind.shapes[0].split()]
    array: np.ndarray = random.normal(size=shape)
    return np.tanh(array) if kind.shapes[0] == "B C" else array


def near(kind: Number, default: Any) -> float:
    """The default, or the next number at which differences are accurate: a scale of 64 bends too sharply for them."""
    start = default if isinstance(default, (int, float)) and not isinstance(default, bool) else 1.0
    return start if kind.high < math.inf else min(max(start, 0.5 if kind.above else -1.0), 6.0)


def others(kind: Number, default: Any) -> list[float]:
    """Numbers of a kind, not the default."""
    start = near(kind, default)
    some = [number for number in (start + 0.3, 0.8 * start, start - 0.3, start + 0.6)
            if kind.low < number < 0.9 * kind.high and number != default]  # at the end a tangent bends too sharply
    return some or [0.5 * (kind.low + kind.high)]


def gentle(loss: Loss[...]) -> dict[str, Any]:
    """Options for which differences are accurate."""
    kinds = {name: kind for name, kind in loss.kinds.items() if isinstance(kind, Number)}
    return {name: near(kind, loss.defaults[name]) for name, kind in kinds.items() if loss.defaults[name] is not None
            and near(kind, loss.defaults[name]) != loss.defaults[name]}


def learnt(loss: Loss[...]) -> dict[str, np.ndarray]:
    """Every option that may be an array and has a gradient, as one: one number per sample where that is allowed."""
    found: dict[str, np.ndarray] = {}
    for name, default in loss.defaults.items():
        kind = loss.kinds[name]
        if isinstance(kind, Number) and has_gradient(kind):
            some = others(kind, default)
            found[name] = np.linspace(some[0], some[-1], BATCH) if "B" in kind.shapes else np.asarray(some[0])
        elif isinstance(kind, ArrayOf) and has_gradient(kind) and kind.shapes[0] in ("B", "C"):
            first = -1.0 if kind.low < 0.0 else kind.low + 0.5
            found[name] = np.linspace(first, first + 2.0, SIZES[kind.shapes[0]])
    return found


def forms(loss: Loss[...], constants: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Beside `learnt`: nothing more, one number for all samples, no arrays, and every word and integer in turn."""
    arrays = learnt(loss)
    yield {}
    yield {name: np.asarray(array[0]) for name, array in arrays.items() if "" in loss.kinds[name].shapes and array.ndim}
    yield {name: gentle(loss).get(name, loss.defaults[name]) for name in arrays}
    for name in loss.defaults:
        if name not in (*COMMON, *constants) and not isinstance(loss.kinds[name], Number | ArrayOf):
            yield from ({name: choice} for choice in changes(loss, name) if choice != STRAIGHT_THROUGH)


def changes(loss: Loss[...], name: str) -> list[Any]:
    """Other values of an option."""
    kind, default = loss.kinds[name], loss.defaults[name]
    found: list[Any] = [choice for choice in getattr(kind, "choices", ()) if choice != default]
    if isinstance(kind, Number):
        found += [others(kind, default)[0], others(kind, default)[-1]]
    elif isinstance(kind, Words):
        found += [kind.words, kind.words[::2]]
    elif isinstance(kind, Integer):
        found.append(default + 1 if kind.low < default < 3 else kind.low + 1)
    elif isinstance(kind, ArrayOf) and kind.shapes[0] in ("B", "C") and kind.dtype == "real floating":
        found.append(np.linspace(0.5, 2.0, SIZES[kind.shapes[0]]))
    return found
