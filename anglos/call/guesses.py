"""What a user may have meant by a call that is refused: hints, which end the refusal."""

import difflib
import sys
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
    "kind": ("form", "variant"), "variant": ("form", "kind"), "form": ("variant", "kind"),
    **dict.fromkeys(("negatives", "queue", "memory"), ("reference_embeddings",)),
    "ref_emb": ("reference_embeddings",), "ref_labels": ("reference_labels",),
    "k": ("samples",), "p": ("classes",), "batch_size": ("classes",), "length_before_new_iter": ("batches",),
    **dict.fromkeys(("W", "w", "kernel", "proxies", "prototypes"), ("weights",)),
    **dict.fromkeys(("target", "targets", "label", "y"), ("labels", "targets")),
    **dict.fromkeys(("input", "inputs", "features", "x"), ("embeddings", "queries", "logits", "anchors")),
}

# One is the inverse of the other: names that stand for one, and how the kind of the other begins.
_INVERSE = {**dict.fromkeys(("temperature", "tau", "t", "T", "temp"), "a scale "),
            **dict.fromkeys(("scale", "s", "logit_scale", "concentration", "kappa"), "a temperature ")}

# What has a number for each class where an option has one for each sample.
_OF_CLASSES = {"margin": "class_margin", "m2": "class_margin", "sample_weight": "class_weight"}

_TWO_TOWERS = ("queries", "keys")

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


def of_name(name: str, kinds: Mapping[str, Any], arrays: tuple[str, ...], missing: tuple[str, ...]) -> str:
    """For an option that there is not: one of another name, or of nearly the same, or an array that is missing.

    Or the inverse of one; or what another loss takes, or is.
    """
    if arrays == _TWO_TOWERS and name.startswith(("negatives", "hard_negatives")):
        return " (given negatives: info_nce, nce)"
    every = [*missing, *(one for one in kinds if one not in arrays)]
    called = [one for one in _ALSO_CALLED.get(name, ()) if one in every]
    if not called:
        for one, start in ((one, _INVERSE.get(name)) for one in every):
            if start and str(kinds[one]).startswith(start):
                return f" (did you mean {one} = 1 / {name}?)"
        if "log_scale" in every and name in _INVERSE:
            return f" (did you mean log_scale = {'-' * (_INVERSE[name] == 'a scale ')}log({name})?)"
    close = called or difflib.get_close_matches(name, every, 1)
    place = ", by position" if close and close[0] in missing else ""
    return f" (did you mean {close[0]}{place}?)" if close else of_word(name)


def of_word(value: Any) -> str:
    """For a word that there is not: the loss of that name."""
    losses = getattr(sys.modules.get("anglos"), "LOSSES", ())
    name = value.lower().replace("-", "_") if isinstance(value, str) else ""
    return f" (a loss of its own: anglos.{name})" if name in losses else ""


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
    found = {(("embeddings", "labels"), 3): "chosen triplets or pairs: triplet_margin, pair_margin",
             (("embeddings",), 2): "of two towers: once of each", (_TWO_TOWERS, 3): "given negatives: info_nce, nce"}
    guess = found.get((arrays, given))
    return f" ({guess})" if guess else ""


def of_dtype(kinds: Mapping[str, Any], name: str, spec: Spec, sizes: Mapping[str, int]) -> str:
    """For an array of another type: labels in its place, or one-hot labels."""
    labels = by_role(kinds).get("labels", "")
    if name == labels:
        return _of_labels(name, spec, sizes, kinds[name].optional)
    if name == by_role(kinds).get("keys") and len(spec.shape) == 1:
        return " (samples with labels: supcon, nt_xent)"
    early = labels and name in kinds and [*kinds].index(name) < [*kinds].index(labels)
    are_labels = early and len(spec.shape) == 1 and is_dtype(spec.library.xp, spec.dtype, "integral")
    return f" ({labels} come last)" if are_labels else ""


def of_shape(kinds: Mapping[str, Any], name: str, spec: Spec, sizes: Mapping[str, int]) -> str:
    """For an array of another shape: a transpose, or one-hot labels."""
    kind, shape = kinds[name], tuple(spec.shape)
    if name == by_role(kinds).get("labels"):
        return _of_labels(name, spec, sizes, kinds[name].optional)
    letters = kind.shapes[0].split()
    if "B" in kind.shapes and len(shape) == 1 and shape[0] == sizes.get("C"):
        option = _OF_CLASSES.get(name, "")
        alone = f", {name}=0.0" if option == "class_margin" else ""
        return (f" (one for each class: {option}={name}{alone})" if option in kinds else
                f" (one for each class: {name}[{by_role(kinds).get('labels', 'labels')}])")
    turned = len(kind.shapes) == 1 and len(shape) == len(letters) == 2 and all(
        sizes.get(letter, size) == size for letter, size in zip(letters, reversed(shape), strict=True))
    return f" (as {name}.T is)" if turned else ""


def _of_labels(name: str, spec: Spec, sizes: Mapping[str, int], optional: bool) -> str:
    if len(spec.shape) == 1 and not is_dtype(spec.library.xp, spec.dtype, "integral"):
        cast = _INTEGERS.get(spec.library.name)
        return f" (if those are numbers of classes: {name}{cast})" if cast else ""
    if len(spec.shape) != 2:
        return ""
    rows, columns = spec.shape
    if (rows, columns) == (sizes.get("B"), sizes.get("D")) and "C" not in sizes and is_dtype(
            spec.library.xp, spec.dtype, "real floating"):
        towers = "once of each" if optional else "info_nce, clip, siglip"
        return f" (if it is a second tower: {towers}; if one-hot: {name}.argmax(-1))"
    if columns == 1:
        return f" (in one column: {name}[:, 0])"
    one_hot = "one-hot" if columns == sizes.get("C") else "if one-hot" if "C" not in sizes and columns != rows else ""
    return f" ({one_hot}: {name}.argmax(-1))" if one_hot else ""
