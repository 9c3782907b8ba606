"""Cross entropy of targets: of probabilities t in place of labels, with class weights ω and smoothing ε.

With the mass m_j = ω_j ((1 − ε) t_j + ε/C) of class j,

    ℓ = Σ_j m_j (lse z − z_j) = M (lse z − z_y) + Σ_{j≠y} m_j (z_y − z_j),   M = Σ_j m_j,

whatever class y is. With the likeliest for y the first term is the cross entropy of a label, times M; the second is 0
where all mass is that of y, so that a small loss keeps every digit. With R = Σ_{j≠y} m_j, the second has the slope R in
z_y and −m_j in the others; and ∂ℓ/∂t_j = (1 − ε) ω_j (lse z − z_j). ℓ is linear in ε.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.monoid import SUM
from anglos.engines.numerics import Array


class Masses(NamedTuple):
    """y and m_y, (B,); R, (B,); and products with the masses of the other classes, which are 0 at y."""

    label: Array
    label_mass: Array
    others: Array
    of_classes: Callable[[Array], Array]
    """a, (C, ...) -> Σ_{j≠y} m_ij a_j, (B, ...)."""
    of_samples: Callable[[Array], Array]
    """b, (B, ...) -> Σ_i m_ij b_i over the samples with another y, (C, ...)."""


def likeliest(backend: Backend, probabilities: Array) -> Array:
    """The class of the largest probability: y, (B,)."""
    return backend.xp.astype(backend.xp.argmax(probabilities, axis=1), backend.index_type, copy=False)


def mass_of(backend: Backend, probabilities: Array, class_weight: Array | None, label_smoothing: Any, like: Array
            ) -> tuple[Array, Array, Array]:
    """y, whether a class is that, and all m, each (B, C) as `like` is."""
    xp, label = backend.xp, likeliest(backend, probabilities)
    targets = xp.astype(probabilities, like.dtype, copy=False)
    mass = (1.0 - label_smoothing) * targets + label_smoothing / like.shape[1]
    return label, backend.is_label(label, 0, like.T).T, mass if class_weight is None else class_weight * mass


def target_slope(backend: Backend, label: Array, class_weight: Array | None, label_smoothing: Any, logits: Array,
                 surprise: Array) -> Array:
    """∂ℓ/∂t_j, (B, C), from lse z − z_y."""
    label_logit = backend.xp.take_along_axis(logits, label[:, None], axis=1)
    slope = (1.0 - label_smoothing) * (surprise[:, None] + (label_logit - logits))
    return slope if class_weight is None else class_weight * slope


def masses_of(backend: Backend, probabilities: Array, class_weight: Array | None, label_smoothing: Any, dtype: Any,
              classes: int) -> Masses:
    """Of probabilities, (B, C)."""
    xp = backend.xp
    targets = xp.astype(probabilities, dtype, copy=False)
    label, is_label, mass = mass_of(backend, targets, class_weight, label_smoothing, targets)
    others = xp.where(is_label, 0.0, mass)

    def sweep(tile: Any, *arrays: Array) -> Any:  # where classes are sharded, every device has its own
        return backend.sweep(tile, SUM, (others.T, *arrays), classes)

    return Masses(label, xp.sum(xp.where(is_label, mass, 0.0), axis=1), xp.sum(others, axis=1),
                  lambda a: sweep(lambda first, m, a: ({"sum": m.T @ a}, ()), a)[0]["sum"],
                  lambda b: sweep(lambda first, m: ({}, (m @ b,)))[1][0])
