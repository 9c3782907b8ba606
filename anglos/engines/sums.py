"""Reductions, as those of `reductions.py`, whose parts are numbers to be added: of every class by itself."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Term, Tile, sum_of_rest
from anglos.engines.numerics import Array, is_one, sigmoid, softplus


class Sums:
    """A reduction whose parts are numbers, to be added."""

    name: ClassVar[str] = "sum"
    of_exponentials: ClassVar[bool] = False
    balanced: ClassVar[bool] = False
    keeps_slopes: ClassVar[bool] = False
    smooths: ClassVar[bool] = False

    def combine(self, xp: Any, a: Array, b: Array) -> Array:
        return a + b


class SumsOfTerm(Sums):
    """One that sums a smooth function of every logit, by what the backend makes of it."""

    keeps_slopes: ClassVar[bool] = True
    term: ClassVar[Term]

    def gather(self, backend: Backend, tile: Tile, label_logit: Array) -> Array:
        total: Array = backend.rest_sums(tile, self.term)
        return total

    def kept_slope(self, backend: Backend, saved: Any, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j without a factor."""
        return tile.logits


class _OfBinary(NamedTuple):
    """z_y, ς(−z_y), and Σ ς(z_j)."""

    label_logit: Array
    label_term: Array
    rest: Array


@dataclass(frozen=True)
class Binary(SumsOfTerm):
    """ℓ = λ₊ ς(−z_y) + λ₋ Σ_{j≠y} ς(z_j): of every class by itself, whether it is this one.

    Attributes
    ----------
    positive
        λ₊; a number, or an array.
    negative
        λ₋; a number, or an array.
    """

    positive: Any = 1.0
    negative: Any = 1.0

    saved: ClassVar = _OfBinary
    term: ClassVar[Term] = Term("softplus", softplus, sigmoid)

    def value(self, backend: Backend, gathered: Array, label_logit: Array, classes: int) -> tuple[Array, _OfBinary]:
        label_term = softplus(backend, -label_logit)
        loss = self.positive * label_term + self.negative * gathered
        return loss, _OfBinary(label_logit, label_term, gathered)

    def field_slopes(self, backend: Backend, saved: _OfBinary) -> dict[str, Array]:
        """∂ℓ/∂λ₊ = ς(−z_y), ∂ℓ/∂λ₋ = Σ ς(z_j)."""
        return {"positive": saved.label_term, "negative": saved.rest}

    def label_slope(self, backend: Backend, saved: _OfBinary, classes: int) -> Array:
        """∂ℓ/∂z_y = −λ₊ σ(−z_y)."""
        return -self.positive * sigmoid(backend, -saved.label_logit)

    def rest_slope(self, backend: Backend, saved: _OfBinary, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = λ₋ σ(z_j)."""
        return backend.rest_slopes(tile, self.term, None if is_one(self.negative) else self.negative)

    def sample_factor(self, saved: _OfBinary, label_slope: Array) -> Any:
        """λ₋, by which the kept slopes are still to be multiplied."""
        return self.negative


class _OfLabel(NamedTuple):
    """z_y."""

    label_logit: Array


@dataclass(frozen=True)
class Squares(SumsOfTerm):
    """ℓ = ½ (z_y − 1)² + ½ Σ_{j≠y} z_j²."""

    saved: ClassVar = _OfLabel
    term: ClassVar[Term] = Term("half square", lambda backend, z: 0.5 * z * z, lambda backend, z: z)

    def value(self, backend: Backend, gathered: Array, label_logit: Array, classes: int) -> tuple[Array, _OfLabel]:
        return 0.5 * (label_logit - 1.0) ** 2 + gathered, _OfLabel(label_logit)

    def label_slope(self, backend: Backend, saved: _OfLabel, classes: int) -> Array:
        """∂ℓ/∂z_y = z_y − 1."""
        return saved.label_logit - 1.0

    def rest_slope(self, backend: Backend, saved: _OfLabel, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = z_j."""
        return backend.rest_slopes(tile, self.term)

    def sample_factor(self, saved: _OfLabel, label_slope: Array) -> None:
        """None: the kept slopes are those of the loss."""


@dataclass(frozen=True)
class Linear(Sums):
    """ℓ = −z_y + Σ_{j≠y} z_j."""

    saved: ClassVar = _OfLabel

    def gather(self, backend: Backend, tile: Tile, label_logit: Array) -> Array:
        return sum_of_rest(backend.xp, tile, tile.logits)

    def value(self, backend: Backend, gathered: Array, label_logit: Array, classes: int) -> tuple[Array, _OfLabel]:
        return gathered - label_logit, _OfLabel(label_logit)

    def label_slope(self, backend: Backend, saved: _OfLabel, classes: int) -> Array:
        """∂ℓ/∂z_y = −1."""
        return -backend.xp.ones_like(saved.label_logit)

    def rest_slope(self, backend: Backend, saved: _OfLabel, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = 1."""
        return tile.with_label(backend.xp.ones_like(tile.logits), 0.0)
