"""What a head does to a batch: the figures that tell whether a training goes well, and why it does not start."""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of
from anglos.arrays.library import Array
from anglos.call.kinds import describe, refuse
from anglos.call.loss import Loss
from anglos.call.static_kinds import OneOf
from anglos.engines.prototypes import engine
from anglos.engines.prototypes.row import Row
from anglos.engines.prototypes.step import Step
from anglos.training.advice import STAGES, advice_of
from anglos.training.chance import nearest_at_random
from anglos.training.findings import Advice, Diagnosis
from anglos.training.head_rows import Rows, ceilings, classes_seen, nearest_classes, rows_of
from anglos.training.schedules import suggest_scale

_CALLER = "diagnose"
_MISSING: Any = None  # as arrays that were not given: the refusal is ours
_SHOWN = 10
"""How many rows are named."""


def diagnose(loss: Loss[...], embeddings: Array = _MISSING, weights: Array = _MISSING, labels: Array = _MISSING,
             /, *, stage: str = "middle", held_out: bool = False, **options: Any) -> Diagnosis:
    """What a head does to a batch, in figures, with advice: of any loss over class prototypes, in any library.

    `print` shows the figures as a table beside those of random embeddings, and below it what they say by the first of
    a list of rules that holds; `anglos.plot.plot_diagnosis` draws them. Ask at the start, when options can be judged,
    and again after a few epochs: at the start all trainings look alike.

    Parameters
    ----------
    loss : a loss over prototypes
        As `anglos.arcface`; of a `Head`, `head.loss`.
    embeddings : array (B, D)
        Some hundred samples. Finite.
    weights : array (C, D), or (C, K, D) for a loss with several prototypes per class
        The prototypes of at least two classes; of a `Head`, `head.weight`.
    labels : array (B,) of integers
        0 to C − 1. Samples with `ignore_index`, default −100, are left out.
    stage : {"start", "middle", "end"}, default "middle"
        "start" is before the first step and in the first epochs, when rules speak about scale, margin, a direction that
        all embeddings share, and embeddings that lie opposite; "middle" comes after them; and "end" is when the
        gradient falls no more. A batch that is as at a start is told so in the other two. What a start ends in is a
        risk alone: of 592 small trainings 96 of 237 that were warned of it ended opposite of their prototypes, and 15
        of 355 others.
    held_out : bool, default False
        Whether the network was not trained on this batch. At the end such a batch shows wrong labels, which a network
        learns by heart where it can.
    **options
        Those of the loss, with its defaults; of a `Head`, `**head.all_options`. Every sample counts as one:
        `reduction` and `class_weight` change nothing, and `sample_weight` is refused.

    Returns
    -------
    Diagnosis
        Figures, `advice.rule`, `advice.text`, and for every sample angles, probability and gradient.

    Raises
    ------
    TypeError, ValueError
        For a loss without logits of embeddings and prototypes, or whose classes several devices share; for an argument
        that is wrong, as the loss does; if labels are not integers, arrays are traced or not finite, there is one class
        alone, or no sample counts.

    Notes
    -----
    The passes of the loss, one more over the classes, and one over all pairs of prototypes; of more than 8192 classes
    only those of the batch are compared with all. No array of B × C or C × C is made. Angles of classes with several
    prototypes are those of the cosines that the loss merges; two such classes are as far apart as the prototype of one
    that is furthest from all of the other. The ceiling is that of prototypes in a regular simplex, without biases.

    Examples
    --------
    One sample at 60° from the first prototype, one at 0° from the second, which is at 90° from the first:

    >>> import anglos, numpy as np
    >>> x, w = np.asarray([[1.0, 3.0**0.5], [0.0, 1.0]]), np.eye(2)
    >>> found = anglos.diagnose(anglos.cosface, x, w, np.asarray([0, 1]), margin=0.2, scale=4.0)
    >>> round(found.label_angle), round(found.other_angle), round(found.gap), found.accuracy, round(found.twin)
    (30, 60, 30, 0.5, 90)
    >>> found.advice.rule, round(found.ceiling_without_margin, 3)  # 1 / (1 + e^(−4 · 2))
    ('none', 1.0)
    """
    _check(loss, stage, held_out, options, embeddings=embeddings, weights=weights, labels=labels)
    call = loss._prepare((embeddings, weights, labels), options)
    backend, arrays = call.plan.backend, call.arrays
    with backend.untracked(arrays):
        row, inputs = call.plan.row_of(arrays)
        inputs.pop("class_weight", None)  # figures are of samples, each as one
        counted = _counted(backend, call.samples, inputs)
        step = engine.prepare(backend, row, inputs)
        found = _found(step, rows_of(call.plan, step, arrays), counted, loss, stage)
    return replace(found, advice=advice_of(found, held_out))


def _check(loss: Any, stage: Any, held_out: Any, options: dict[str, Any], **arrays: Any) -> None:
    _check_loss(loss)
    for name, array in arrays.items():
        if array is None:
            refuse(_CALLER, name, TypeError, "was not given", f"{_CALLER}(loss, {', '.join(arrays)}, **options)")
    for name, given, choices in (("stage", stage, STAGES), ("held_out", held_out, (True, False))):
        OneOf(choices=choices).static(partial(refuse, _CALLER, name), given)
    if options.get("sample_weight") is not None:
        refuse(_CALLER, "sample_weight", ValueError, f"was {describe(options['sample_weight'])}",
               "none, as every sample counts as one; leave samples out by ignore_index")
    for name, array in arrays.items():
        backend = backend_of(array)
        if backend is not None and ("traced" in backend.hint(type(array)) or getattr(array, "is_meta", False)):
            refuse(_CALLER, name, TypeError, "was traced or on device meta",
                   "an array with numbers: diagnose outside of a compiled function")


def _check_loss(loss: Any) -> None:
    if isinstance(getattr(loss, "loss", None), Loss) and hasattr(loss, "all_options"):
        refuse(_CALLER, "loss", TypeError, f"was a Head of {loss.loss.name}", "its loss, weight and options: "
               f"{_CALLER}(head.loss, embeddings, head.weight, labels, **head.all_options)")
    if not isinstance(loss, Loss):
        refuse(_CALLER, "loss", TypeError, f"was {describe(loss)}",
               "a loss over prototypes, as anglos.arcface; of a Head, head.loss")
    if ("embeddings", "weights", "labels") not in loss.engine.ROLES:
        has_head = len(loss.arrays) == 3 and getattr(loss.kinds[loss.arrays[1]], "shape", "") == "C D"
        refuse(_CALLER, "loss", ValueError, f"was {loss.name}, which makes no logits of cosines with prototypes",
               "one that does, as anglos.arcface" + (
                   f"; of {loss.name} look at the losses that reduction=\"none\" returns, and at the classes "
                   "that Head.logits ranks first" if has_head else ""))
    if hasattr(loss, "group") or hasattr(loss, "mesh"):
        refuse(_CALLER, "loss", ValueError, f"was {loss!r}, of which every device has a part",
               "the loss itself, with embeddings and prototypes that are whole")


def _counted(backend: Backend, samples: Any, inputs: dict[str, Array]) -> "_Counted":
    """Which samples count; refused if there is nothing to be said."""
    xp, weights, labels = backend.xp, inputs["weights"], inputs["labels"]
    if labels.ndim != 1 or labels.dtype in (xp.float32, xp.float64):
        refuse(_CALLER, "labels", TypeError, f"was an array of dtype {labels.dtype} and shape {tuple(labels.shape)}",
               "integers of shape (B,)")
    if weights.shape[0] < 2:
        refuse(_CALLER, "weights", ValueError, f"had {weights.shape[0]} classes", "at least 2")
    for name in ("embeddings", "weights"):
        if not bool(xp.all(xp.isfinite(inputs[name]))):
            refuse(_CALLER, name, ValueError, "held NaN or infinity", "finite numbers")
    if samples.weight is not None and bool(xp.any(samples.weight != samples.weight)):
        refuse(_CALLER, "labels", ValueError, "held a number that is no class", f"0 to {weights.shape[0] - 1}")
    mask = labels == labels if samples.counted is None else samples.counted
    count = int(xp.sum(xp.astype(mask, labels.dtype)))
    if not count:
        refuse(_CALLER, "labels", ValueError, "had no sample that counts", "at least one")
    return _Counted(backend, mask, count)


@dataclass(frozen=True)
class _Counted:
    """Figures over the samples that count."""

    backend: Backend
    mask: Array
    count: int

    def only(self, values: Array, other: Any = 0.0) -> Array:
        return self.backend.xp.where(self.mask, values, other)

    def mean(self, values: Array) -> float:
        return float(self.backend.xp.sum(self.only(values))) / self.count

    def share(self, mask: Array, like: Array) -> float:
        return self.mean(self.backend.xp.astype(mask, like.dtype))

    def spread(self, values: Array) -> float:
        return math.sqrt(self.mean((values - self.mean(values)) ** 2))

    def median(self, values: Array) -> float:
        ordered = self.backend.xp.sort(self.only(values, math.inf))
        return (float(ordered[(self.count - 1) // 2]) + float(ordered[self.count // 2])) / 2.0

    def share_of_largest(self, values: Array) -> float:
        """Of the sum, what the largest one per cent have."""
        xp, many = self.backend.xp, -(-self.count // 100)
        ordered = xp.sort(self.only(values))
        total = float(xp.sum(ordered))
        return float(xp.sum(ordered[ordered.shape[0] - many:])) / total if total else math.nan

    def places_of_least(self, values: Array) -> tuple[int, ...]:
        places = self.backend.xp.argsort(self.only(values, math.inf))
        return tuple(int(places[place]) for place in range(min(_SHOWN, self.count)))

    def common_and_rank(self, unit: Array) -> tuple[float, float]:
        """Length of the mean, and e to the entropy of the spectrum, of directions (B, D)."""
        xp = self.backend.xp
        unit = xp.where(self.mask[:, None], unit, 0.0)
        mean = xp.sum(unit, axis=0) / self.count
        squares = unit.T @ unit if unit.shape[1] <= unit.shape[0] else unit @ unit.T
        shares = self.backend.clip(xp.linalg.eigvalsh(squares / self.count), 0.0)
        total = float(xp.sum(shares))
        shares = shares / (total or 1.0)
        entropy = -float(xp.sum(shares * xp.log(xp.where(shares > 0.0, shares, 1.0))))
        return math.sqrt(float(xp.sum(mean * mean))), math.exp(entropy) if total else 0.0


def _found(step: Step, rows: Rows, counted: _Counted, loss: Loss[...], stage: str) -> Diagnosis:
    """All figures, without advice."""
    xp, classes, dimension = step.backend.xp, step.classes, step.weights.shape[-1]
    label_angles, other_angles = (xp.acos(step.backend.clip(cos, -1.0, 1.0)) * (180.0 / math.pi)
                                  for cos in (rows.cos, rows.other_cos))
    gaps, p, past = other_angles - label_angles, rows.probabilities, rows.past
    present, dead = classes_seen(step, counted.only(step.labels, -1), counted.only(rows.nearest, -1))
    twin_cos, twin_classes = nearest_classes(step)
    common, rank = counted.common_and_rank(step.directions.unit)
    reached, scale = ceilings(step) or (None, None), _scale(step.row, counted, rows.scale)
    of_softmax, prototypes = step.row.reduction.of_exponentials, math.prod(step.weights.shape[1:-1])
    at_random = nearest_at_random(prototypes, dimension)
    return Diagnosis(
        loss=loss.name, stage=stage, samples=counted.count, classes=classes, dimension=dimension,
        prototypes=prototypes, label_at_random=at_random,
        label_angle=counted.mean(label_angles), label_angle_spread=counted.spread(label_angles),
        other_angle=counted.mean(other_angles), other_angle_spread=counted.spread(other_angles),
        gap=counted.mean(gaps), gap_at_random=nearest_at_random(prototypes * (classes - 1), dimension) - at_random,
        accuracy=counted.share(gaps > 0.0, gaps), past=None if past is None else counted.share(past, gaps),
        away=counted.share(rows.falls, gaps),
        outward=counted.mean(rows.outward) if scale is not None and of_softmax else None,
        p_median=None if p is None else counted.median(p),
        p_low=None if p is None else counted.share(p < 0.01, gaps), ceiling=_mean(counted, reached[0]),
        ceiling_without_margin=_mean(counted, reached[1]), scale=scale,
        scale_ratio=scale / suggest_scale(classes, 0.99) if scale is not None and of_softmax else None,
        gradient=counted.mean(rows.gradients), top1=counted.share_of_largest(rows.gradients), common=common, rank=rank,
        twin=math.degrees(math.acos(max(-1.0, min(1.0, twin_cos)))), twin_classes=twin_classes,
        twin_at_random=nearest_at_random(classes * (classes - 1) / 2, dimension), dead=dead, absent=classes - present,
        least_probable=() if p is None else counted.places_of_least(p), advice=Advice("none", ""),
        label_angles=counted.only(label_angles, math.nan), other_angles=counted.only(other_angles, math.nan),
        nearest=counted.only(rows.nearest, -1), label_probabilities=None if p is None else counted.only(p, math.nan),
        gradients=counted.only(rows.gradients, math.nan))


def _mean(counted: _Counted, values: Array | None) -> float | None:
    return None if values is None else counted.mean(values)


def _scale(row: Row, counted: _Counted, scale: Array) -> float | None:
    """If it is fixed, and no length of a vector."""
    return counted.mean(scale) if row.normalize_embeddings and row.normalize_weights else None
