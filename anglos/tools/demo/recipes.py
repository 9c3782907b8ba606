"""With which options each loss is trained. All else is the same for all: network, start, batches, optimiser."""

from collections.abc import Callable

from anglos.losses import LOSSES

# The papers' 30 to 64 are for hundreds of dimensions and thousands of classes: they overcome more there.
_SCALE = 10.0
_COSFACE_MARGIN = LOSSES["cosface"].defaults["margin"]
_ARCFACE_MARGIN = LOSSES["arcface"].defaults["margin"]

RECIPES: dict[str, Callable[[float], dict[str, float]]] = {
    "linear_cross_entropy": lambda grown: {},
    "normface": lambda grown: {"scale": _SCALE},
    "cosface": lambda grown: {"scale": _SCALE, "margin": _COSFACE_MARGIN * grown},
    "arcface": lambda grown: {"scale": _SCALE, "margin": _ARCFACE_MARGIN * grown},
    "sphereface": lambda grown: {"annealing": 1 / grown - 1},  # so that φ = (1 − grown)·cos θ + grown·ψ
    "triplet": lambda grown: {},
    "supcon": lambda grown: {},
}
"""Options by loss, for a margin grown to a part of its full size. The full size is the library's default."""

WORDS: dict[str, dict[str, str]] = {
    # From a cold start the hardest triplets, the default, draw all digits into one point, and the loss rests at m.
    "triplet": {"mining": "semi_hard"},
}
"""Options that are words. They are apart because jax.jit takes numbers only."""

PROTOTYPES = tuple(name for name in RECIPES if "weights" in LOSSES[name].arrays)
"""The losses with a prototype per class, which are trained by default; the others compare the digits of a batch."""


def grown(epoch: int, epochs: int) -> float:
    """The part of the margin in force: it grows over the first four fifths of the training.

    From a cold start a full margin can push two digits into one place and hold them there.
    """
    return min(1.0, (epoch + 1) / (0.8 * epochs))
