"""Which samples count, and how much; from their losses to one number, and back."""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array
from anglos.call.check_labels import check_groups, check_labels, check_pair_weights
from anglos.call.contents import Contents
from anglos.call.kinds import is_of_samples
from anglos.engines.groups import are_weights, repeat_themselves, takes_part
from anglos.engines.numerics import divisor_of


class Samples(NamedTuple):
    """The weight of every sample, and which ones count; None where all do alike."""

    weight: Array | None
    counted: Array | None
    terms: Array | None = None
    """What a sample adds to the mean's divisor, times its weight, where the engine does not say; None for 1."""


def samples_of(caller: str, backend: Backend, contents: Contents, inputs: dict[str, Array], independent: bool,
               classes: Any, ignore_index: Any) -> tuple[Samples, dict[str, Array]]:
    """Which samples count and how much; and the arrays, with labels that can be used, and zeros where none counts."""
    kinds, named = contents.kinds, contents.named
    samples, labels = Samples(inputs.pop("sample_weight", None), None), named.get("labels")
    if labels is not None and not independent:
        samples, inputs = samples_of_groups(caller, backend, named, inputs, classes, ignore_index, samples.weight)
    elif labels is not None and kinds[labels].dtype == "integral":
        class_weight = inputs[named["class_weight"]] if "class_weight" in named else None
        samples, inputs[labels] = samples_of_labels(caller, backend, inputs[labels], classes, ignore_index,
                                                    samples.weight, class_weight, labels)
    elif "row_mask" in named:
        samples = masked_samples(backend.xp, inputs[named["row_mask"]], samples.weight)
    if samples.counted is not None:
        inputs = {name: zero_elsewhere(backend.xp, kinds[name], array, samples.counted)
                  for name, array in inputs.items()}
    return samples, inputs


def samples_of_labels(caller: str, backend: Backend, labels: Array, classes: int | None, ignore_index: int,
                      sample_weight: Array | None, class_weight: Array | None = None, name: str = "labels"
                      ) -> tuple[Samples, Array]:
    """Which samples count and how much, and labels that can be looked up; wrong ones are refused where readable."""
    labels = backend.as_index(labels)
    if classes is None:  # no array says how many there are: any integer is one
        samples = masked_samples(backend.xp, labels != ignore_index, sample_weight)
    elif check_labels(caller, backend, name, labels, classes, ignore_index):
        samples = Samples(sample_weight, None)
    else:
        samples, labels = unchecked_samples(backend.xp, labels, classes, ignore_index, sample_weight)
    if class_weight is not None:
        samples = samples._replace(terms=backend.xp.take(backend.stop_gradient(class_weight), labels, axis=0))
    return samples, labels


def samples_of_groups(caller: str, backend: Backend, named: Mapping[str, str], inputs: dict[str, Array],
                      classes: int | None, ignore_index: int, sample_weight: Array | None
                      ) -> tuple[Samples, dict[str, Array]]:
    """The same where labels are compared with each other, and any integer is one, or with the numbers of proxies."""
    xp, inputs, name = backend.xp, dict(inputs), named["labels"]
    if are_weights(xp, inputs[name]):
        return Samples(_sample_weights(caller, backend, name, inputs[name], sample_weight), None), inputs
    unseen = []
    for one in [named[role] for role in ("labels", "reference_labels") if role in named]:
        given, inputs[one] = inputs[one], backend.as_index(inputs[one])
        seen = check_groups(caller, backend, one, given, inputs[one], ignore_index)
        if not seen and 0 not in inputs[one].shape:
            unseen.append(one)
    labels = inputs[name]
    counted = takes_part(xp, labels, ignore_index)
    if classes is not None and "weights" in named:  # one loss per proxy
        if not check_labels(caller, backend, name, labels, classes, ignore_index):
            inside, points = (labels >= 0) & (labels < classes) | ~counted, named["embeddings"]
            inputs[points] = xp.where(inside[:, None], xp.where(counted[:, None], inputs[points], 0.0), math.nan)
        return Samples(None, None), inputs
    samples = masked_samples(xp, counted, sample_weight)
    if name in unseen:
        beyond = labels == xp.iinfo(labels.dtype).max
        beyond = beyond if labels.ndim == 1 else xp.any(beyond, axis=1)
        samples = samples._replace(weight=xp.where(beyond, math.nan, samples.weight))
    if classes is not None and labels.ndim == 1 and not check_labels(
            caller, backend, name, labels, classes, ignore_index):  # something is given for every class
        outside = counted & ((labels < 0) | (labels >= classes))
        samples = samples._replace(weight=xp.where(outside, math.nan, samples.weight))
    for several in (inputs[one] for one in unseen if inputs[one].ndim == 2):
        few = repeat_themselves(several, xp.min(several), xp.max(several), ignore_index)
        samples = samples._replace(weight=xp.where(few, math.nan, samples.weight))
    return samples, inputs


def of_batch(xp: Any, samples: Samples) -> Samples:
    """Of a loss of the batch as a whole, in which samples that do not count are 0: one weight, 1, or NaN if one is."""
    return Samples(None if samples.weight is None else 1.0 + 0.0 * xp.sum(samples.weight)[None, ...], None)


def masked_samples(xp: Any, mask: Array, sample_weight: Array | None) -> Samples:
    """The samples that are not left out."""
    if sample_weight is None:
        return Samples(xp.astype(mask, xp.float32), mask)
    return Samples(xp.where(mask, sample_weight, 0.0), mask)


def _sample_weights(caller: str, backend: Backend, name: str, pair_weights: Array, sample_weight: Array | None
                    ) -> Array | None:
    """The weights of samples; NaN where a sample's weights of pairs may not be looked at and are wrong."""
    if check_pair_weights(caller, backend, name, pair_weights):
        return sample_weight
    xp = backend.xp
    least, most, total = (of(pair_weights, axis=1) for of in (xp.min, xp.max, xp.sum))  # the sum of a NaN is NaN
    weight = xp.ones_like(least, dtype=xp.float32) if sample_weight is None else sample_weight
    return xp.where((least >= 0.0) & (most < math.inf) & (total == total), weight, math.nan)


def unchecked_samples(xp: Any, labels: Array, classes: int, ignore_index: int, sample_weight: Array | None
                      ) -> tuple[Samples, Array]:
    """The same where a label may be ignored or out of range.

    A label out of range cannot be refused under a trace or on another device: its sample becomes NaN.
    """
    counted, usable = labels != ignore_index, xp.clip(labels, 0, classes - 1)
    samples = masked_samples(xp, counted, sample_weight)
    return Samples(xp.where(counted & (usable != labels), math.nan, samples.weight), counted), usable


def zero_elsewhere(xp: Any, kind: Any, array: Array, counted: Any) -> Array:
    """Zeros in place of ignored samples: 0 times a NaN that padding may hold would be NaN in the gradient."""
    if kind.dtype != "real floating" or array.ndim == 0 or not is_of_samples(kind):
        return array
    return xp.where(xp.reshape(counted, (-1, *[1] * (array.ndim - 1))), array, 0.0)


def reduce(xp: Any, per_sample: Array, samples: Samples, reduction: str, count: Array | None = None) -> Array:
    """none: w_i ℓ_i.  sum: Σ w_i ℓ_i.  mean: Σ w_i ℓ_i / Σ w_i n_i, and 0 if that is 0; n_i terms are in ℓ_i, or 1."""
    weighted = per_sample
    if samples.weight is not None:
        weighted = per_sample * xp.astype(samples.weight, per_sample.dtype, copy=False)
    if samples.counted is not None:
        weighted = xp.where(samples.counted, weighted, 0.0)
    if reduction == "none":
        return weighted
    total = xp.sum(weighted)
    return total if reduction == "sum" else total / _divisor(xp, per_sample, samples, count)


def reduce_pullback(xp: Any, per_sample: Array, samples: Samples, reduction: str, count: Array | None = None
                    ) -> tuple[Array, Array | None]:
    """∂/∂ℓ_i = w_i and ∂/∂w_i = ℓ_i; for the mean L, w_i / Σ w n and (ℓ_i − n_i L) / Σ w n."""
    count = samples.terms if count is None else count
    divisor = _divisor(xp, per_sample, samples, count) if reduction == "mean" else 1
    if samples.weight is None:
        return xp.full_like(per_sample, 1.0) / divisor, None
    weight, d_weight = xp.astype(samples.weight, per_sample.dtype, copy=False) / divisor, per_sample
    if reduction == "mean":
        mean = reduce(xp, per_sample, samples, "mean", count)
        d_weight = (per_sample - mean * (1.0 if count is None else count)) / divisor
    if samples.counted is not None:
        d_weight = xp.where(samples.counted, d_weight, 0.0)
    return weight, xp.astype(d_weight, samples.weight.dtype, copy=False)


def _divisor(xp: Any, per_sample: Array, samples: Samples, count: Array | None) -> Any:
    count = samples.terms if count is None else count
    if samples.weight is None and count is None and per_sample.shape[0] is not None:
        return max(per_sample.shape[0], 1)
    parts = [xp.astype(one, per_sample.dtype, copy=False) for one in (samples.weight, count) if one is not None]
    number = parts[0] if parts else xp.ones_like(per_sample)
    if len(parts) > 1:
        number = parts[0] * parts[1]
        if samples.counted is not None:
            number = xp.where(samples.counted, number, 0.0)
    total = xp.sum(number)
    if samples.terms is None:
        return divisor_of(xp, total)
    return xp.where(total == 0.0, math.inf, total)  # the terms of smoothed labels, whose classes have weight, remain
