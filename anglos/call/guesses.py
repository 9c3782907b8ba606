"""What a user may have meant by a call that is refused: hints, which end the refusal."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from anglos.arrays.library import Spec
from anglos.call.kinds import by_role, is_dtype

# What papers and other libraries call an option, and what it may be called here.
_ALSO_CALLED = {
    "s": ("scale", "concentration"), "m": ("margin", "m2"), "gamma": ("scale", "temperature"),
    "kappa": ("concentration",), "logit_scale": ("scale", "log_scale"), "logit_bias": ("bias",),
    "radius": ("scale",), "r": ("scale",),
    "tau": ("temperature",), "t": ("temperature",), "T": ("temperature",), "temp": ("temperature",),
    "eps": ("label_smoothing",), "epsilon": ("label_smoothing",), "smoothing": ("label_smoothing",),
    "weight": ("class_weight", "sample_weight"), "easy_margin": ("past_pi",), "ref_emb": ("reference_embeddings",),
    "ref_labels": ("reference_labels",),
}


def of_name(name: str, names: Collection[str]) -> str:
    """For an option that there is not: one of another name, or of nearly the same."""
    called = [one for one in _ALSO_CALLED.get(name, ()) if one in names]
    close = called or difflib.get_close_matches(name, names, 1)
    return f" (did you mean {close[0]}?)" if close else ""


def of_count(arrays: tuple[str, ...], given: int) -> str:
    """For arrays that are too few, as for a layer with weights of its own, or too many: options, or chosen pairs."""
    if "weights" in arrays:
        return (" (a layer that keeps the weights: Head, of anglos.backends.torch, flax or equinox)"
                if given == len(arrays) - 1 else " (options go by name)" if given > len(arrays) else "")
    chosen = arrays == ("embeddings", "labels") and given == 3
    return " (chosen triplets or pairs: triplet_margin, pair_margin)" if chosen else ""


def of_dtype(kinds: Mapping[str, Any], name: str, spec: Spec, sizes: Mapping[str, int]) -> str:
    """For an array of another type: labels in its place, or one-hot labels."""
    labels = by_role(kinds).get("labels", "")
    if name == labels:
        return _of_labels(name, spec, sizes)
    early = labels and name in kinds and [*kinds].index(name) < [*kinds].index(labels)
    are_labels = early and len(spec.shape) == 1 and is_dtype(spec.library.xp, spec.dtype, "integral")
    return f" ({labels} come last)" if are_labels else ""


def of_shape(kinds: Mapping[str, Any], name: str, spec: Spec, sizes: Mapping[str, int]) -> str:
    """For an array of another shape: a transpose, or one-hot labels."""
    kind, shape = kinds[name], tuple(spec.shape)
    if name == by_role(kinds).get("labels"):
        return _of_labels(name, spec, sizes)
    letters = kind.shapes[0].split()
    turned = len(kind.shapes) == 1 and len(shape) == len(letters) == 2 and all(
        sizes.get(letter, size) == size for letter, size in zip(letters, reversed(shape), strict=True))
    return f" (as {name}.T is)" if turned else ""


def _of_labels(name: str, spec: Spec, sizes: Mapping[str, int]) -> str:
    if len(spec.shape) != 2:
        return ""
    columns = spec.shape[1]
    return (f" (in one column: {name}[:, 0])" if columns == 1 else
            f" (one-hot: {name}.argmax(-1))" if columns == sizes.get("C") else "")
