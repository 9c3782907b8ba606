"""Softmax cross entropy of given logits, whole rows at a time: of labels, or of probabilities (`targets.py`)."""

from functools import partial
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Tile, marked_tile
from anglos.engines.numerics import Array
from anglos.engines.reductions import CrossEntropy
from anglos.engines.rowwise import Direct
from anglos.engines.targets import mass_of, target_slope
from anglos.engines.weighted import with_weights


def of_labels(label_smoothing: Any, class_weight: Any = None) -> Direct:
    """The loss of logits (B, C) and labels (B,)."""
    softmax = CrossEntropy(label_smoothing)
    if class_weight is None:
        return Direct(partial(softmax_value, softmax), partial(softmax_gradients, softmax))
    return Direct(partial(_weighted_value, softmax, class_weight), partial(_weighted_gradients, softmax, class_weight))


def of_targets(label_smoothing: Any, class_weight: Any = None) -> Direct:
    """The loss of logits (B, C) and probabilities (B, C)."""
    return Direct(partial(_target_value, class_weight, label_smoothing),
                  partial(_target_gradients, class_weight, label_smoothing))


def softmax_value(softmax: CrossEntropy, backend: Backend, logits: Array, labels: Array, *options: Array) -> Array:
    """The loss of every sample, (B,)."""
    (loss, _), _ = _parts(softmax, backend, logits, labels)
    return loss


def softmax_gradients(softmax: CrossEntropy, backend: Backend, g: Array, logits: Array, labels: Array, *options: Array
                      ) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i)."""
    (_, residuals), tile = _parts(softmax, backend, logits, labels)
    classes = logits.shape[1]
    slopes = tile.with_label(softmax.rest_slope(backend, residuals, tile, classes),
                             softmax.label_slope(backend, residuals, classes))
    by_field = softmax.field_slopes(backend, residuals) if softmax.smooths else {}
    return {"logits": (g * slopes).T, **{name: g * slope for name, slope in by_field.items()}}


def _parts(softmax: CrossEntropy, backend: Backend, logits: Array, labels: Array) -> tuple[Any, Tile]:
    """The loss with what its slopes need, and all classes as one tile."""
    xp, is_label = backend.xp, backend.is_label(labels, 0, logits.T)
    tile, label_logit = marked_tile(xp, logits.T, is_label), xp.sum(xp.where(is_label, logits.T, 0.0), axis=0)
    tile = tile._replace(classes=lambda: backend.numbers(logits.T, labels))
    return softmax.value(backend, softmax.gather(backend, tile, label_logit), label_logit, logits.shape[1]), tile


def _weighted_value(softmax: CrossEntropy, class_weight: Array, backend: Backend, logits: Array, labels: Array,
                    *options: Array) -> Array:
    weighted, factor = with_weights(backend, softmax, class_weight, labels, logits.dtype, logits.shape[1])
    loss = softmax_value(weighted, backend, logits, labels)
    return loss if weighted.smooths else factor * loss


def _weighted_gradients(softmax: CrossEntropy, class_weight: Array, backend: Backend, g: Array, logits: Array,
                        labels: Array, *options: Array) -> dict[str, Array]:
    weighted, factor = with_weights(backend, softmax, class_weight, labels, logits.dtype, logits.shape[1])
    return softmax_gradients(weighted, backend, g if weighted.smooths else factor * g, logits, labels)


def _target_value(class_weight: Any, smoothing: Any, backend: Backend, logits: Array, labels: Array, *options: Array
                  ) -> Array:
    """Σ m_j (lse z − z_y) + Σ_{j≠y} m_j (z_y − z_j); 0 where m_j is, of excluded classes too."""
    xp, (label, is_label, mass) = backend.xp, mass_of(backend, labels, class_weight, smoothing, logits)
    label_logit = xp.take_along_axis(logits, label[:, None], axis=1)
    above = xp.where(is_label | (mass == 0.0), 0.0, mass * (label_logit - logits))
    return xp.sum(mass, axis=1) * softmax_value(CrossEntropy(), backend, logits, label) + xp.sum(above, axis=1)


def _target_gradients(class_weight: Any, smoothing: Any, backend: Backend, g: Array, logits: Array, labels: Array,
                      *options: Array) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i)."""
    xp, (label, is_label, mass) = backend.xp, mass_of(backend, labels, class_weight, smoothing, logits)
    others = xp.where(is_label, 0.0, mass)
    of_label = softmax_gradients(CrossEntropy(), backend, g * xp.sum(mass, axis=1), logits, label)["logits"]
    above = xp.where(is_label, xp.sum(others, axis=1)[:, None], -others)
    surprise = softmax_value(CrossEntropy(), backend, logits, label)
    gradients = {"logits": of_label + g[:, None] * above,
                 "labels": g[:, None] * target_slope(backend, label, class_weight, smoothing, logits, surprise)}
    if hasattr(smoothing, "shape"):
        all_smooth, none = (_target_value(class_weight, one, backend, logits, labels) for one in (1.0, 0.0))
        gradients["label_smoothing"] = g * (all_smooth - none)
    return gradients
