"""Engine 1 of a linear layer's logits, with probabilities in place of labels too: see `targets.py`.

z_ij = s p_i · w_j + b_j, of embeddings and weights as they are, or of their directions. What targets add is linear in
the logits, and needs none: Σ_j m_ij z_ij = s p_i · Σ_j m_ij w_j + Σ_j m_ij b_j.
"""

import math
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, float_type, unit_rows, unit_rows_pullback
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes.row import Row
from anglos.engines.prototypes.step import Step as _Step
from anglos.engines.reductions import CrossEntropy
from anglos.engines.targets import Masses, likeliest, masses_of, target_slope

SAMPLES_ARE_INDEPENDENT = True
WEIGHS_CLASSES = True
ROLES: tuple[tuple[str, ...], ...] = (("embeddings", "weights", "labels"),)
count, unpack = _prototypes.count, _prototypes.unpack


class Step(NamedTuple):
    """What both passes start from: of the cross entropy of y, and what targets add to that."""

    backend: Backend
    row: Row
    inputs: dict[str, Array]
    of_label: _Step

    def remembered(self) -> Any:
        """What has the size of the batch."""
        return self.of_label.remembered()


def prepare(backend: Backend, row: Row, inputs: dict[str, Array], **others: Any) -> Step:
    """The step of engine 1."""
    if inputs["labels"].ndim == 2:
        return Step(backend, row, inputs, _prototypes.prepare(backend, *_of_label(backend, row, inputs), **others))
    return Step(backend, row, inputs, _prototypes.prepare(backend, row, inputs, **others))


def forward(step: Step) -> tuple[Array, Any]:
    """As engine 1."""
    backend, row, inputs, of_label = step
    surprise, saved = _prototypes.forward(of_label)
    if inputs["labels"].ndim == 1:
        return surprise, saved
    return _value(backend, row, inputs, row.reduction.label_smoothing, surprise), saved


def backward(step: Step, saved: Any, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """As engine 1; and ∂ℓ_i/∂t_ij."""
    backend, row, inputs, of_label = step
    if inputs["labels"].ndim == 1:
        return _prototypes.backward(of_label, saved, g, needs)
    smoothing = row.reduction.label_smoothing
    masses, x, w = _masses(backend, row, inputs, smoothing)
    gradients = _prototypes.backward(of_label, saved, g * (masses.label_mass + masses.others),
                                     needs & {"embeddings", "weights", "bias", "scale"})
    along = _above(backend, masses, w.points)
    if "scale" in needs:
        gradients["scale"] = gradients["scale"] + g * backend.total(backend.dot(x.points, along))
    gs = g * row.scale
    if "embeddings" in needs:
        above = backend.totals({"points": gs[:, None] * along})
        gradients["embeddings"] = gradients["embeddings"] + x.pullback(backend, above["points"])
    if "weights" in needs:
        d_points = _above_pullback(backend, masses, gs[:, None] * x.points)
        gradients["weights"] = gradients["weights"] + w.pullback(backend, d_points)
    if "bias" in needs:
        gradients["bias"] = gradients["bias"] + _above_pullback(backend, masses, g)
    if needs & {"labels", "label_smoothing"}:
        surprise, _ = _prototypes.forward(_prototypes.prepare(backend, *_of_label(backend, row, inputs)))
    if "labels" in needs:
        logits = row.scale * (x.points @ w.points.T) + (0.0 if row.bias is None else row.bias)
        gradients["labels"] = g[:, None] * target_slope(
            backend, masses.label, inputs.get("class_weight"), smoothing, logits, surprise)
    if "label_smoothing" in needs:
        all_smooth, none = (_value(backend, row, inputs, one, surprise) for one in (1.0, 0.0))
        gradients["label_smoothing"] = g * (all_smooth - none)
    return gradients


class _Compared(NamedTuple):
    """Embeddings or weights as they are compared; and 1 / |x| if that is their directions."""

    points: Array
    inverse: Array | None

    def pullback(self, backend: Backend, d_points: Array) -> Array:
        """Through the normalisation, if there is one."""
        if self.inverse is None:
            return d_points
        return unit_rows_pullback(backend, self.points, self.inverse, d_points)


def _of_label(backend: Backend, row: Row, inputs: dict[str, Array]) -> tuple[Row, dict[str, Array]]:
    """What engine 1 computes: the cross entropy of y."""
    labels = likeliest(backend, inputs["labels"])
    return row._replace(reduction=CrossEntropy()), {"embeddings": inputs["embeddings"], "weights": inputs["weights"],
                                                    "labels": labels}


def _masses(backend: Backend, row: Row, inputs: dict[str, Array], smoothing: Any
            ) -> tuple[Masses, _Compared, _Compared]:
    """The masses, and embeddings and weights in the type of the arithmetic."""
    dtype = float_type(backend.xp, inputs["embeddings"], inputs["weights"])
    arrays = (backend.xp.astype(inputs[name], dtype, copy=False) for name in ("embeddings", "weights"))
    x, w = (_Compared(*unit_rows(backend, array)) if normalizes else _Compared(array, None) for array, normalizes in
            zip(arrays, (row.normalize_embeddings, row.normalize_weights), strict=True))
    return masses_of(backend, inputs["labels"], inputs.get("class_weight"), smoothing, dtype,
                     backend.classes(w.points)), x, w


def _value(backend: Backend, row: Row, inputs: dict[str, Array], smoothing: Any, surprise: Array) -> Array:
    """M (lse z − z_y) + s p · (R w_y − Σ m_j w_j) + R b_y − Σ m_j b_j."""
    masses, x, w = _masses(backend, row, inputs, smoothing)
    above = row.scale * backend.total(backend.dot(x.points, _above(backend, masses, w.points)))
    value = (masses.label_mass + masses.others) * surprise + above
    return value if row.bias is None else value + _above_of_bias(backend, masses, row.bias)


def _above_of_bias(backend: Backend, masses: Masses, bias: Array) -> Array:
    """Of b, where −∞ excludes a class: it counts for nothing if its mass is 0, else the loss is infinite."""
    xp, excluded = backend.xp, bias == -math.inf
    lost = backend.total(masses.of_classes(xp.astype(excluded, bias.dtype)))
    return xp.where(lost > 0.0, math.inf, backend.total(_above(backend, masses, xp.where(excluded, 0.0, bias))))


def _above(backend: Backend, masses: Masses, a: Array) -> Array:
    """Σ_{j≠y} m_j (a_y − a_j), of one row or number per class; or the part of it that the classes here have."""
    of_label = backend.of_label(a, masses.label)
    return _each(masses.others, a) * of_label - masses.of_classes(a)


def _above_pullback(backend: Backend, masses: Masses, b: Array) -> Array:
    return backend.add_at_labels(masses.label, 0, -masses.of_samples(b), _each(masses.others, b) * b)


def _each(weights: Array, like: Array) -> Array:
    """One per row of a matrix, or per number of a vector."""
    return weights[:, None] if like.ndim == 2 else weights
