"""Arrays for a loss, made from the names of its arguments."""

from typing import Any

import numpy as np
from libraries import Array, Library

from anglos import Loss
from anglos.call.kinds import Number, Pair

BATCH, CLASSES, DIMENSION = 6, 5, 4
LABELS = np.asarray([0, 3, 0, 1, 4, 3])

# Values for options that may be arrays: one number, and one per row where that is allowed.
OPTION_VALUES: dict[str, list[Any]] = {
    "scale": [6.0],
    "concentration": [6.0],
    "bias": [0.7],
    "annealing": [0.7],
    "t": [0.4],
    "penalty": [0.2, np.linspace(0.1, 0.4, BATCH)],
    "temperature": [0.5],
    "log_scale": [0.8],
    "log_normalizer": [0.3],
    "margin": [1.2, np.linspace(1.0, 1.4, BATCH)],
    "m1": [1.2, np.linspace(0.8, 1.4, BATCH)],
    "m2": [0.3, np.linspace(0.1, 0.5, BATCH)],
    "m3": [0.2, np.linspace(-0.1, 0.3, BATCH)],
    "sample_weight": [np.linspace(0.5, 2.0, BATCH)],
    "alpha": [0.7],
    "beta": [3.0],
    "base": [0.4],
    "tau_plus": [0.2],
    "regularizer": [0.1],
    "circle margin": [0.4],
    "proxy_anchor margin": [0.2],
    "label_smoothing": [0.3],
    "balance": [0.6],
    "gamma": [2.0],
    "h": [0.5],
    "negative_weight": [0.5],
}
# Values, other than the defaults, of options that are no arrays and are not one of a few.
OTHER_VALUES: dict[str, Any] = {
    "label_smoothing": 0.3, "norm_range": (1.0, 3.0), "k": 2, "negative_weight": 0.5, "h": 1.0,
    "detach_centroids": True, "semi_hard": False, "symmetric": True, "normalize": True, "squared": False, "swap": True,
    "tau_plus": 0.3, "epsilon": 0.3, "regularizer": 0.1, "soft": True,
}

# The numbers that may not be arrays, with what the docstring says of it.
NUMBERS_ONLY = {
    ("magface", "norm_range"): "that the first is the smaller is checked before any arithmetic",
    ("magface", "margin_range"): "for the same reason",
}

# Part of the value is a constant to the gradient: compare with autodiff of `plain`, which knows, not with differences.
FROZEN = {"adaface", "angular_triplet", "circle", "circle_softmax", "ranked_list"}


def known_values(loss: Loss[...], name: str) -> list[Any]:
    """Of an option: those for this loss, or else those for all."""
    return OPTION_VALUES.get(f"{loss.name} {name}") or OPTION_VALUES[name]


def array_options(loss: Loss[...]) -> dict[str, list[Any]]:
    """The options that may be arrays and have a gradient, with values for them."""
    values = {}
    for name in loss.defaults:
        kind = loss.kinds[name]
        if getattr(kind, "dtype", "") == "real floating" and not kind.frozen and name != "reference_embeddings" and (
                kind.shapes):
            known = [np.linspace(-1.0, 1.0, CLASSES)] if kind.shapes == ("C",) else known_values(loss, name)
            values[name] = known[: len(kind.shapes)]
    return values


def numbers(loss: Loss[...]) -> dict[str, float]:
    """A value for every option that may be a number or an array and has a gradient; others must be on the list."""
    kinds = {name: loss.kinds[name] for name in loss.defaults if isinstance(loss.kinds[name], (Number, Pair))}
    fixed = {name for name, kind in kinds.items() if not getattr(kind, "shapes", ())}
    assert fixed == {name for owner, name in NUMBERS_ONLY if owner == loss.name}
    return {name: known_values(loss, name)[0] for name, kind in kinds.items() if name not in fixed and not kind.frozen}


def other_options(loss: Loss[...]) -> list[dict[str, Any]]:
    """Calls that between them take every choice, and another value of every number that is no array."""
    calls: list[dict[str, Any]] = []
    for name, default in loss.defaults.items():
        kind = loss.kinds[name]
        choices = [] if name in ("reduction", "gradient_products") else getattr(kind, "choices", ())
        calls += [{name: choice} for choice in choices if choice != default]
        if getattr(kind, "optional", False) and default is not None:
            calls.append({name: None})
        if getattr(kind, "word", None):
            calls.append({name: kind.word})
        if name in OTHER_VALUES:
            calls.append({name: OTHER_VALUES[name]})
    return calls + [{"soft": True, **call} for call in calls if "mining" in call]


def made(loss: Loss[...], named: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Of arrays by name those that a loss takes; with three prototypes per class, if it asks for several."""
    embeddings, logits = named["embeddings"], named.get("logits", named["embeddings"])
    made_of = {"prototypes": named["weights"], "centers": named["weights"], "cosines": np.tanh(logits),
               "queries": embeddings, "anchors": embeddings, "keys": embeddings[::-1],
               "others": embeddings[::-1], "targets": np.where(np.arange(len(embeddings)) % 2, 1, -1),
               "positives": embeddings[::-1], "negatives": np.roll(embeddings, 1, axis=0)}
    chosen = {name: np.ascontiguousarray({**made_of, **named}[name]) for name in loss.arrays}
    if getattr(loss.kinds.get("weights"), "shape", "") == "C K D":
        weights = named["weights"]
        across = weights[:, ::-1] * np.where(np.arange(weights.shape[1]) % 2, 1.0, -1.0)
        chosen["weights"] = np.stack([weights, across, -0.5 * weights], axis=1)
    return list(chosen.values())


def arrays(loss: Loss[...], library: Library, seed: int = 0, dtype: str = "float64") -> list[Array]:
    """The arrays that a loss takes, at random."""
    random = np.random.default_rng(seed)
    named = {
        "embeddings": random.normal(size=(BATCH, DIMENSION)),
        "weights": random.normal(size=(CLASSES, DIMENSION)),
        "logits": random.normal(size=(BATCH, CLASSES)),
        "labels": LABELS,
    }
    named |= {name: random.normal(size=(BATCH, DIMENSION)) for name in ("keys", "others", "positives", "negatives")}
    return [library.array(array.astype(dtype) if array.dtype.kind == "f" else array) for array in made(loss, named)]


def gentle(loss: Loss[...]) -> dict[str, Any]:
    """Options for which finite differences are accurate: a scale of 64 bends too sharply for them."""
    values = {"scale": 6.0, "gamma": 2.0, "temperature": 0.5, "beta": 5.0}
    return {name: value for name, value in values.items() if name in loss.defaults}


def rowwise(loss: Loss[...]) -> dict[str, Any]:
    """Options with which no row depends on the others of its batch."""
    return {"norm_mean": 2.0, "norm_std": 1.0} if "norm_mean" in loss.defaults else {}


def float_arrays(loss: Loss[...]) -> list[str]:
    """The arrays that have a gradient."""
    return [name for name in loss.arrays if name != "labels" and not loss.kinds[name].frozen]


def leaves(loss: Loss[...], inputs: list[Array]) -> list[Array]:
    """Of its arrays those that have a gradient."""
    return [array for name, array in zip(loss.arrays, inputs, strict=False) if name in float_arrays(loss)]


def fitting(inputs: list[Array], options: dict[str, Any]) -> list[Array]:
    """Without negatives of their own, where both directions are asked for."""
    return inputs[:2] if options.get("symmetric") else inputs


def per_class(name: str) -> bool:
    return name in ("weights", "centers", "prototypes")


def references(loss: Loss[...], library: Library) -> dict[str, Any]:
    """A second batch to compare with, for losses that take one."""
    if "reference_embeddings" not in loss.defaults:
        return {}
    random = np.random.default_rng(7)
    return {"reference_embeddings": library.array(random.normal(size=(BATCH + 3, DIMENSION))),
            "reference_labels": library.array(np.asarray([3, 0, 0, 1, 4, 3, 0, 2, -100]))}


def hard_embeddings() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Prototypes, and embeddings equal to, opposite to and 1e-4 rad from their own; zero; tiny; huge."""
    random = np.random.default_rng(3)
    weights = random.normal(size=(CLASSES, DIMENSION))
    own = weights[0]
    across = weights[1] - own * (own @ weights[1]) / (own @ own)
    across *= np.linalg.norm(own) / np.linalg.norm(across)
    near = own * np.cos(1e-4) + across * np.sin(1e-4)
    rows = [own, -own, 3.0 * own, near, -near, across, 0.0 * own, 1e-20 * across, 1e18 * across]
    weights[4] = 0.0
    weights[3] *= 1e-20
    weights[2] *= 1e18
    embeddings = np.stack([*rows, *rows[:3], *rows[:3], *rows[:3]])
    labels = np.asarray([0] * 9 + [4] * 3 + [3] * 3 + [2] * 3)
    return embeddings, weights, labels
