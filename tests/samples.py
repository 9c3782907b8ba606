"""Arrays and options for a loss, made from the kinds of its arguments."""

from typing import Any

import numpy as np
from libraries import Array, Library

from anglos import Loss
from anglos.call.kinds import ArrayOf, Number, Signs, has_gradient
from anglos.call.static_kinds import Integer, Pair, Words
from anglos.call.together import check_idle
from anglos.checks.samples import near
from anglos.checks.samples import others as values

BATCH, CLASSES, DIMENSION = 6, 5, 4
LABELS = np.asarray([0, 3, 0, 1, 4, 3])

# Of every engine and reduction, of two towers, given pairs and labels: a loss for each way through what is JAX's own.
OF_EVERY_KIND = ("entropy", "linear_cross_entropy", "arcface", "magface", "sphereface2", "sface", "mv_softmax",
                 "subcenter_arcface", "c_triplet", "center", "angular_triplet", "batch_coco", "ge2e", "proxy_anchor",
                 "cosent", "koleo", "info_nce", "siglip", "supcon", "nt_xent", "triplet", "fast_ap", "triplet_margin")

# Part of the value is a constant to the gradient: compare with autodiff of `plain`, which knows, not with differences.
FROZEN = {
    "adaface": "the margin follows lengths, which learn nothing from it",
    "angular_triplet": "prototypes are given, and what they select stays selected",
    "arcnegface": "the factors of the other classes",
    "circle": "the weights of pairs",
    "circle_softmax": "the weights of cosines",
    "dynamic_soft_margin": "the weights of triplets",
    "ranked_list": "the weights of negatives",
    "sface": "the factors of the cosines",
}

# What comes by itself, is the same for every loss, and has tests of its own.
COMMON = ("reduction", "ignore_index", "keep_bytes", "gradient_products", "guide_margin", "guide_kind")

# What is a choice only beside another one.
DIRECTIONS = ("query_to_key", "key_to_query", "query_to_query", "key_to_key")
TOGETHER: dict[str, dict[str, Any]] = {"mining": {"soft": True}, "partition": {"directions": DIRECTIONS}, "positive": {
    "directions": DIRECTIONS}, "past_pi": {"kind": "arc"}}

# What is refused without arrays beside it.
NOT_ALONE = ("hardness_on", "hard_negatives_of")

SIZES = {"B": BATCH, "C": CLASSES, "D": DIMENSION, "K": 3}


def array_options(loss: Loss[...]) -> dict[str, list[Any]]:
    """The options that may be arrays and have a gradient, with a value of every shape that is allowed."""
    options: dict[str, list[Any]] = {}
    for name, default in loss.defaults.items():
        kind = loss.kinds[name]
        if isinstance(kind, Number) and has_gradient(kind):
            some = values(kind, default)
            options[name] = [np.linspace(some[0], some[-1], SIZES[shape]) if shape else some[0]
                             for shape in kind.shapes]
        elif isinstance(kind, ArrayOf) and has_gradient(kind) and kind.shapes[0] in SIZES:
            first = -1.0 if kind.low < 0.0 else kind.low + 0.5
            options[name] = [np.linspace(first, first + 2.0, SIZES[kind.shapes[0]])]
    return options


def numbers(loss: Loss[...]) -> dict[str, float]:
    """A value for every number that has a gradient."""
    return {name: values(kind, loss.defaults[name])[0] for name, kind in loss.kinds.items()
            if isinstance(kind, Number) and has_gradient(kind)}


def other_options(loss: Loss[...]) -> list[dict[str, Any]]:
    """Calls that between them take every choice; and one with another value of every number."""
    calls: list[dict[str, Any]] = []
    other: dict[str, Any] = {}
    for name, default in loss.defaults.items():
        kind = loss.kinds[name]
        if name in (*COMMON, *NOT_ALONE):
            continue
        calls += [{name: choice} for choice in getattr(kind, "choices", ()) if choice not in (default, None)]
        if getattr(kind, "optional", False) and default is not None:
            calls.append({name: None})
        if getattr(kind, "word", None):
            calls.append({name: kind.word})
        if isinstance(kind, Number):
            other[name] = values(kind, default)[-1]
        elif isinstance(kind, Integer):
            other[name] = default + 1 if kind.low < default < 3 else kind.low + 1
        elif isinstance(kind, Words):
            calls += [{name: kind.words}, {name: kind.words[::2]}]
        elif isinstance(kind, Pair):
            low, high = kind.number.low, min(kind.number.high, 10.0)
            other[name] = (low + 0.1 * (high - low), low + 0.3 * (high - low))
    more = [{**beside, **call} for name, beside in TOGETHER.items() for call in calls
            if name in call and beside.keys() <= loss.defaults.keys()]
    return [*[call for call in calls if not is_idle(loss, call)], *more, *([other] if other else [])]


def is_idle(loss: Loss[...], call: dict[str, Any]) -> bool:
    """Whether it is refused, since an option means nothing beside the others."""
    try:
        check_idle(loss.name, loss.kinds, call, loss.defaults)
    except ValueError:
        return True
    return False


def made(loss: Loss[...], named: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Arrays for a loss, by what they are: vectors are embeddings, others, and others again.

    With three prototypes per class, if it asks for several.
    """
    embeddings, weights = named["embeddings"], named["weights"]
    logits = named.get("logits", embeddings)
    vectors = iter((embeddings, named.get("others", embeddings[::-1]),
                    named.get("more", np.roll(embeddings, 1, axis=0))))
    signs = np.where(np.arange(len(embeddings)) % 2, 1, -1)
    across = weights[:, ::-1] * np.where(np.arange(weights.shape[1]) % 2, 1.0, -1.0)

    def one(name: str) -> np.ndarray:
        kind = loss.kinds[name]
        if kind.shapes[0] in ("B D", "M D"):
            return next(vectors)
        if isinstance(kind, Signs):
            return signs
        return {"C D": weights, "C K D": np.stack([weights, across, -0.5 * weights], axis=1), "B": named["labels"],
                "B C": np.tanh(logits) if name == "cosines" else logits}[kind.shapes[0]]

    return [np.ascontiguousarray(one(name)) for name in loss.arrays]


def arrays(loss: Loss[...], library: Library, seed: int = 0, dtype: str = "float64") -> list[Array]:
    """The arrays that a loss takes, at random."""
    random = np.random.default_rng(seed)
    named = {
        "embeddings": random.normal(size=(BATCH, DIMENSION)),
        "weights": random.normal(size=(CLASSES, DIMENSION)),
        "logits": random.normal(size=(BATCH, CLASSES)),
        "labels": LABELS,
    }
    named |= {name: random.normal(size=(BATCH, DIMENSION)) for name in ("others", "more")}
    return [library.array(array.astype(dtype) if array.dtype.kind == "f" else array) for array in made(loss, named)]


def each(loss: Loss[...], reduction: str = "none") -> dict[str, Any]:
    """The option by which samples have losses of their own; none where the batch has one alone."""
    return {"reduction": reduction} if "reduction" in loss.defaults else {}


def gentle(loss: Loss[...]) -> dict[str, Any]:
    """Options for which finite differences are accurate, and nothing is taken from the batch as a constant."""
    kinds = {name: kind for name, kind in loss.kinds.items() if isinstance(kind, Number)}
    defaults = {name: loss.defaults[name] for name in kinds}
    options = {name: near(kind, defaults[name]) for name, kind in kinds.items() if defaults[name] is not None}
    return {name: value for name, value in options.items() if value != defaults[name]} | rowwise(loss)


def rowwise(loss: Loss[...]) -> dict[str, Any]:
    """Options with which no row depends on the others of its batch: what would be taken from it, as a constant."""
    return {name: 1.0 for name, kind in loss.kinds.items()
            if isinstance(kind, Number) and kind.frozen and loss.defaults[name] is None}


def float_arrays(loss: Loss[...]) -> list[str]:
    """The arrays that have a gradient."""
    return [name for name in loss.arrays if has_gradient(loss.kinds[name])]


def leaves(loss: Loss[...], inputs: list[Array]) -> list[Array]:
    """Of its arrays those that have a gradient."""
    return [array for name, array in zip(loss.arrays, inputs, strict=False) if name in float_arrays(loss)]


def fitting(inputs: list[Array], options: dict[str, Any]) -> list[Array]:
    """Without negatives of their own, where both directions are asked for."""
    return inputs[:2] if options.get("symmetric") is True else inputs


def per_class(loss: Loss[...], name: str) -> bool:
    return bool(loss.kinds[name].shapes[0].startswith("C"))


def is_labels(loss: Loss[...], name: str) -> bool:
    return bool(loss.kinds[name].role == "labels")


def takes_labels(loss: Loss[...]) -> bool:
    return any(is_labels(loss, name) for name in loss.arrays)


def has_several(loss: Loss[...]) -> bool:
    """Whether every class has several prototypes."""
    return any("K" in loss.kinds[name].shapes[0] for name in loss.arrays)


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
