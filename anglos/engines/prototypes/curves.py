"""The φ that several losses have in common."""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.angles import turned_cosine
from anglos.engines.numerics import Array
from anglos.engines.prototypes.row import Curve


def additive_angular(backend: Backend, cos: Array, length: Any, *, margin: Any, past_pi: str) -> Curve:
    """φ = cos(θ + m), φ′ = sin(θ + m) / sin θ, ∂φ/∂m = −sin(θ + m)."""
    curve = turned_cosine(backend, cos, shift=margin, past_pi=past_pi)
    return Curve(curve.value, curve.slope, {"margin": curve.by_shift})


def additive_cosine(backend: Backend, cos: Array, length: Any, *, margin: Any) -> Curve:
    """φ = cos θ − m, φ′ = 1, ∂φ/∂m = −1."""
    return Curve(cos - margin, 1.0, {"margin": -1.0})


def multiplicative_angular(backend: Backend, cos: Array, length: Any, *, margin: Any, annealing: Any) -> Curve:
    """φ = (λ cos θ + ψ) / (1 + λ), φ′ = (λ + ψ′) / (1 + λ), ∂φ/∂λ = (cos θ − ψ) / (1 + λ)²."""
    psi, total = turned_cosine(backend, cos, factor=margin), 1.0 + annealing
    return Curve((annealing * cos + psi.value) / total, (annealing + psi.slope) / total,
                 {"margin": psi.by_factor / total, "annealing": (cos - psi.value) / total**2})
