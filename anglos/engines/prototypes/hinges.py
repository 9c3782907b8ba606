"""Reductions (see `reductions.py`) of squared distances d = 2 − 2z of unit vectors, where the logit z is cos θ."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Tile, sum_of_rest
from anglos.engines.numerics import Array, is_number, positive_part
from anglos.engines.sums import Sums


class _OfHinges(NamedTuple):
    """z_y; and how many classes are in the sum, if that is needed."""

    label_logit: Array
    active: Any = None


@dataclass(frozen=True)
class ContrastiveHinge(Sums):
    """ℓ = d_y + Σ_{j≠y} [m − d_j]₊.

    Attributes
    ----------
    margin
        m; a number, or an array.
    """

    margin: Any

    saved: ClassVar = _OfHinges

    def gather(self, backend: Backend, tile: Tile, label_logit: Array) -> tuple[Array, ...]:
        """The sum, and how many classes are in it, which only a margin that is an array needs."""
        xp, excess = backend.xp, self._excess(backend.xp, tile)
        total = sum_of_rest(xp, tile, excess)
        return (total,) if is_number(self.margin) else (total, _count(xp, tile, excess))

    def combine(self, xp: Any, a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
        return tuple(one + other for one, other in zip(a, b, strict=True))

    def value(self, backend: Backend, gathered: tuple[Array, ...], label_logit: Array, classes: int
              ) -> tuple[Array, _OfHinges]:
        return 2.0 - 2.0 * label_logit + gathered[0], _OfHinges(label_logit, *gathered[1:])

    def field_slopes(self, backend: Backend, saved: _OfHinges) -> dict[str, Array]:
        """∂ℓ/∂m = 1 for each class in the sum."""
        return {"margin": saved.active}

    def label_slope(self, backend: Backend, saved: _OfHinges, classes: int) -> Array:
        """∂ℓ/∂z_y = −2."""
        return -2.0 * backend.xp.ones_like(saved.label_logit)

    def rest_slope(self, backend: Backend, saved: _OfHinges, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = 2 where m > d_j."""
        xp = backend.xp
        return tile.with_label(2.0 * xp.astype(self._excess(xp, tile) > 0.0, tile.logits.dtype), 0.0)

    def _excess(self, xp: Any, tile: Tile) -> Array:
        return positive_part(xp, self.margin - 2.0 + 2.0 * tile.logits)


@dataclass(frozen=True)
class TripletHinge(Sums):
    """ℓ = Σ_{j≠y} [m + d_y − d_j]₊ = Σ_{j≠y} [m + 2 (z_j − z_y)]₊.

    Attributes
    ----------
    margin
        m; a number, or an array.
    """

    margin: Any

    saved: ClassVar = _OfHinges

    def gather(self, backend: Backend, tile: Tile, label_logit: Array) -> tuple[Array, Array]:
        """The sum, and how many classes are in it."""
        xp = backend.xp
        excess = self.margin + 2.0 * (tile.logits - label_logit)
        return sum_of_rest(xp, tile, positive_part(xp, excess)), _count(xp, tile, excess)

    def combine(self, xp: Any, a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        return a[0] + b[0], a[1] + b[1]

    def value(self, backend: Backend, gathered: tuple[Array, Array], label_logit: Array, classes: int
              ) -> tuple[Array, _OfHinges]:
        return gathered[0], _OfHinges(label_logit, gathered[1])

    def field_slopes(self, backend: Backend, saved: _OfHinges) -> dict[str, Array]:
        """∂ℓ/∂m = 1 for each class in the sum."""
        return {"margin": saved.active}

    def label_slope(self, backend: Backend, saved: _OfHinges, classes: int) -> Array:
        """∂ℓ/∂z_y = −2 for each class in the sum."""
        return -2.0 * saved.active

    def rest_slope(self, backend: Backend, saved: _OfHinges, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = 2 for each class in the sum."""
        active = self.margin + 2.0 * (tile.logits - saved.label_logit) > 0.0
        return tile.with_label(2.0 * backend.xp.astype(active, tile.logits.dtype), 0.0)


class _Hardest(NamedTuple):
    """1 where the bracket is positive, else 0; and the number of the nearest other class."""

    active: Array
    hardest: Array


@dataclass(frozen=True)
class HardestTripletHinge:
    """ℓ = [m + 2 (max_{j≠y} z_j − z_y)]₊: `TripletHinge` of the nearest other class, the first of equals.

    Attributes
    ----------
    margin
        m; a number, or an array.
    """

    margin: Any

    name: ClassVar[str] = "largest"
    of_exponentials: ClassVar[bool] = False
    keeps_slopes: ClassVar[bool] = False
    smooths: ClassVar[bool] = False
    saved: ClassVar = _Hardest

    def gather(self, backend: Backend, tile: Tile, label_logit: Array) -> tuple[Array, Array]:
        """The largest logit, and whose it is."""
        xp, rest = backend.xp, tile.with_label(tile.logits, -math.inf)
        return xp.max(rest, axis=0), xp.take(tile.classes(), xp.argmax(rest, axis=0), axis=0)

    def combine(self, xp: Any, a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        first = (a[0] > b[0]) | ((a[0] == b[0]) & (a[1] < b[1])) | (a[0] != a[0])  # tiles come in any order
        return xp.where(first, a[0], b[0]), xp.where(first, a[1], b[1])

    def value(self, backend: Backend, gathered: tuple[Array, Array], label_logit: Array, classes: int
              ) -> tuple[Array, _Hardest]:
        xp, alone = backend.xp, gathered[0] == -math.inf
        excess = self.margin + 2.0 * (xp.where(alone, 0.0, gathered[0]) - label_logit)
        idle = alone | (excess <= 0.0)
        return xp.where(idle, 0.0, excess), _Hardest(1.0 - xp.astype(idle, label_logit.dtype), gathered[1])

    def field_slopes(self, backend: Backend, saved: _Hardest) -> dict[str, Array]:
        """∂ℓ/∂m = 1 where the bracket is positive."""
        return {"margin": saved.active}

    def label_slope(self, backend: Backend, saved: _Hardest, classes: int) -> Array:
        """∂ℓ/∂z_y = −2 where the bracket is positive."""
        return -2.0 * saved.active

    def rest_slope(self, backend: Backend, saved: _Hardest, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = 2 there, for the nearest other class."""
        nearest = tile.classes()[:, None] == saved.hardest[None, :]
        return backend.xp.where(nearest, 2.0 * saved.active[None, :], 0.0)


def _count(xp: Any, tile: Tile, excess: Array) -> Array:
    """How many of the tile's other classes have an excess above 0."""
    return sum_of_rest(xp, tile, xp.astype(excess > 0.0, excess.dtype))
