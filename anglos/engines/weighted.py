"""Weights ω of classes: of every loss a factor of its label, and of smoothed labels one of every class.

That is the loss of `targets.py` with t = 1 for the label and 0 for the others, so that m_j = ω_j ε/C for these and

    ℓ = M (lse z − z_y) + Σ_{j≠y} m_j (z_y − z_j),   M = ω_y + ε (mean ω − ω_y),

whose slopes are Σ_{j≠y} m_j − M (1 − p_y) in z_y and M p_j − m_j in the others. Where nothing is smoothed it is ω_y
times the loss, whatever its reduction is.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Tile
from anglos.engines.numerics import Array
from anglos.engines.reductions import CrossEntropy


@dataclass(frozen=True)
class WeightedCrossEntropy(CrossEntropy):
    """The cross entropy of smoothed labels, with class weights."""

    class_weight: Any = None
    """ω of the classes here."""
    of_label: Any = None
    """ω_y, (B,)."""
    mean: Any = None
    """mean ω, of all classes."""

    smooths: ClassVar[bool] = True

    def field_slopes(self, backend: Backend, saved: Any) -> dict[str, Array]:
        """∂ℓ/∂ε = (mean ω − ω_y) (lse z − z_y) + Σ_{j≠y} ω_j (z_y − z_j) / C."""
        return {"label_smoothing": (self.mean - self.of_label) * saved.surprise + saved.above_mean}

    def _sum(self, backend: Backend, tile: Tile) -> Array:
        """Σ_{j≠y} ω_j z_j of a tile; a class without weight counts for nothing where −∞ excludes it, too."""
        xp, weight = backend.xp, self._of_tile(backend, tile)
        return xp.sum(xp.where(weight == 0.0, 0.0, weight * tile.with_label(tile.logits, 0.0)), axis=0)

    def _others(self, classes: int) -> Array:
        """Σ_{j≠y} ω_j / C."""
        others: Array = self.mean - self.of_label / classes
        return others

    def _times_mass(self, a: Array) -> Array:
        """M a."""
        return (self.of_label + self.label_smoothing * (self.mean - self.of_label)) * a

    def _smoothed(self, backend: Backend, p: Array, tile: Tile, classes: int) -> Array:
        """M p_j − ω_j ε/C of the others."""
        spread = self._of_tile(backend, tile) * (self.label_smoothing / classes)
        return tile.with_label(self._times_mass(p) - spread, 0.0)

    def _of_tile(self, backend: Backend, tile: Tile) -> Array:
        """ω of its classes, (T, 1)."""
        xp, last = backend.xp, self.class_weight.shape[0] - 1
        numbers = xp.clip(tile.classes() - backend.first_class, 0, last)  # what fills a device up is no class
        weight: Array = xp.take(self.class_weight, numbers, axis=0)
        return weight[:, None]


def with_weights(backend: Backend, reduction: Any, class_weight: Array | None, labels: Array, dtype: Any, classes: int
                 ) -> tuple[Any, Array | None]:
    """The reduction, which has the weights if labels are smoothed; and ω_y, (B,), or None for 1."""
    if class_weight is None:
        return reduction, None
    weight = backend.xp.astype(class_weight, dtype, copy=False)
    of_label = backend.total(backend.of_label(weight, labels))
    if not reduction.smooths:
        return reduction, of_label
    mean = backend.total(backend.xp.sum(weight)) / classes
    return WeightedCrossEntropy(reduction.label_smoothing, weight, of_label, mean), of_label
