"""A reduction (see `reductions.py`) that adds logits as they are."""

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Tile, sum_of_rest
from anglos.engines.numerics import Array
from anglos.engines.sums import Sums


class _OfLinear(NamedTuple):
    """z_y."""

    label_logit: Array


@dataclass(frozen=True)
class Linear(Sums):
    """ℓ = −z_y + Σ_{j≠y} z_j."""

    saved: ClassVar = _OfLinear

    def gather(self, backend: Backend, tile: Tile, label_logit: Array) -> Array:
        return sum_of_rest(backend.xp, tile, tile.logits)

    def value(self, backend: Backend, gathered: Array, label_logit: Array, classes: int) -> tuple[Array, _OfLinear]:
        return gathered - label_logit, _OfLinear(label_logit)

    def label_slope(self, backend: Backend, saved: _OfLinear, classes: int) -> Array:
        """∂ℓ/∂z_y = −1."""
        return -backend.xp.ones_like(saved.label_logit)

    def rest_slope(self, backend: Backend, saved: _OfLinear, tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = 1."""
        return tile.with_label(backend.xp.ones_like(tile.logits), 0.0)
