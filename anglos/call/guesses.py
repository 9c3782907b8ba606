"""What a user may have meant by a call that is refused: hints, which end the refusal."""

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from anglos.arrays.library import Spec
from anglos.call.kinds import by_role, is_dtype

# What papers and other libraries call an argument, and what it may be called here.
_ALSO_CALLED = {
    "s": ("scale", "concentration"), "m": ("margin", "m2", "samples"), "gamma": ("scale", "temperature"),
    "kappa": ("concentration",), "logit_scale": ("scale", "log_scale"), "logit_bias": ("bias",),
    "radius": ("scale",), "r": ("scale",),
    "tau": ("temperature",), "t": ("temperature",), "T": ("temperature",), "temp": ("temperature",),
    "eps": ("label_smoothing",), "epsilon": ("label_smoothing",), "smoothing": ("label_smoothing",),
    "weight": ("weights", "class_weight", "sample_weight"), "easy_margin": ("past_pi",),
    "ref_emb": ("reference_embeddings",), "ref_labels": ("reference_labels",),
    "k": ("samples",), "p": ("classes",), "batch_size": ("classes",), "length_before_new_iter": ("batches",),
    **dict.fromkeys(("W", "w", "kernel", "proxies", "prototypes"), ("weights",)),
    **dict.fromkeys(("target", "targets", "label", "y"), ("labels", "targets")),
    **dict.fromkeys(("input", "inputs", "features", "x"), ("embeddings", "queries", "logits", "anchors")),
}

# How each library makes an array one of integers.
_INTEGERS = {"numpy": ".astype(int)", "jax": ".astype(int)", "cupy": ".astype(int)", "torch": ".long()"}

# Names that are looked for in the package, and where they are.
_ELSEWHERE = {
    "anglos.backends.torch, anglos.backends.flax and anglos.backends.equinox": ("Head",),
    "anglos.backends.torch and anglos.backends.jax": ("batch_sharded", "class_sharded"),
    "anglos.backends.torch": ("SampledRows",), "anglos.backends.equinox": ("carry_state",),
    "anglos.classes": ("effective_number_weights", "kappaface_margins", "ldam_margins", "log_prior", "minmax_margins",
                       "power_margins"),
    "anglos.evaluate": ("det_curve", "eer", "identification", "min_dcf", "retrieval", "tar_at_far", "verification"),
    "anglos.memory": ("Memory", "enqueue"), "anglos.mining": ("batch_hard", "guided_false_negatives", "semi_hard"),
}
# What others call the class of a loss, without "Loss".
_CLASSES = {"arcmarginproduct": "arcface", "addmarginproduct": "cosface", "normalizedsoftmax": "normface",
            "softmax": "crossentropy", "supervisedcontrastive": "supcon"}


def of_name(name: str, names: Collection[str], arrays: tuple[str, ...] = ()) -> str:
    """For an option that there is not: one of another name, or of nearly the same, or an array that is missing."""
    every = [*arrays, *names]
    called = [one for one in _ALSO_CALLED.get(name, ()) if one in every]
    close = called or difflib.get_close_matches(name, every, 1)
    place = ", by position" if close and close[0] in arrays else ""
    return f" (did you mean {close[0]}{place}?)" if close else ""


def of_attribute(name: str, losses: Collection[str]) -> str:
    """For a name that the package does not have: where it is, or the function that others have as a class."""
    for module, names in _ELSEWHERE.items():
        if name in names:
            return f" (it is in {module})"
    plain = name.replace("_", "").lower().removesuffix("loss")
    plain = _CLASSES.get(plain, plain)
    found = next((one for one in losses if one.replace("_", "") in (plain, plain.removesuffix("s"))), None)
    return f" (losses are functions: anglos.{found})" if found else ""


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
    if len(spec.shape) == 1 and not is_dtype(spec.library.xp, spec.dtype, "integral"):
        cast = _INTEGERS.get(spec.library.name)
        return f" (if those are numbers of classes: {name}{cast})" if cast else ""
    if len(spec.shape) != 2:
        return ""
    rows, columns = spec.shape
    if columns == 1:
        return f" (in one column: {name}[:, 0])"
    one_hot = "one-hot" if columns == sizes.get("C") else "if one-hot" if "C" not in sizes and columns != rows else ""
    return f" ({one_hot}: {name}.argmax(-1))" if one_hot else ""
