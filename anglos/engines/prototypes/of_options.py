"""The gradient of engine 1 in options: through fields of the row, through φ and η, and the regulariser."""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.by_scale import label_by_scale, rest_by_scale
from anglos.engines.numerics import Array
from anglos.engines.prototypes.batch import label_bias
from anglos.engines.prototypes.class_tile import ClassTile
from anglos.engines.prototypes.saved import Saved
from anglos.engines.prototypes.step import Step


class OfOptions:
    """Of a `Gradient`, when the sums over the classes are made."""

    step: Step
    fields: set[str]
    kept_slopes: bool
    label_product: Array | None
    """z_iy − b_y, where a scale is learnt beside slopes that are rounded."""
    scale_by_points: bool
    """Whether a scale learns from what is summed for the embeddings."""
    saved: Saved
    backend: Backend
    xp: Any
    g: Array
    gs: Array
    g_rest: Array
    label_slope: Array
    label_along: Any
    product: Any
    sums: dict[str, Array]
    d_bias: Array | None

    def _label_product(self) -> Array | None:
        step, row = self.step, self.step.row
        if "scale" not in self.fields or not step.rounds_slopes:
            return None
        product: Array = step.batch.logit
        return product if row.bias is None else product - label_bias(self.backend, row, step.labels)

    def _rest_by_scale(self, first: Any, weights: Array, bias: Array | None, made: ClassTile) -> Array | None:
        """Σ_j G_ij (z_ij − b_j), without what has been rounded, or is about to be; None if nobody asks."""
        if self.label_product is None:
            return None
        step, row = self.step, self.step.row
        tile = step.tile(first, weights, bias).tile if self.kept_slopes else made.tile
        return rest_by_scale(self.backend, row.reduction, self.saved.of_reduction, tile,
                             row.bias if bias is None else bias[:, None], self.label_product, step.classes)

    def _lengths(self) -> Any:
        """Σ_j G_ij |w_j| (F_ij − F′_ij cos θ_ij)."""
        return self.label_along * self.step.batch.weight_length + self.sums.get("along", 0.0)

    def field(self, name: str) -> Array:
        """∂(Σ g_i ℓ_i) in a field of the row or of its reduction; a scale is a normal number of its type."""
        batch = self.step.batch
        if name == "scale" and self.label_product is not None:
            of_label = label_by_scale(self.backend, self.step.row.reduction, self.saved.of_reduction,
                                      self.label_product, self.step.classes)
            return self.g * (of_label + self.sums["scale"]) / self.step.row.scale
        if name == "scale":
            return (self.backend.dot(batch.points, self.sums["points"]) / self.step.row.scale
                    + self.g * self._lengths() * batch.embedding_length)
        if name == "bias":
            return self.g * self.label_slope + self.g_rest * self.sums["bias"] if self.d_bias is None else self.d_bias
        slopes: dict[str, Array] = self.step.row.reduction.field_slopes(self.backend, self.saved.of_reduction)
        return self.xp.where(self.g == 0.0, 0.0, self.g * slopes[name])  # which may be ∞ where a bias is −∞

    def _class_bias(self, first: Any, slopes: Array) -> Array:
        """∂b_j = Σ_i g_i G_ij of a tile."""
        rounded = slopes.dtype != self.g.dtype
        of_rest = self.product(slopes, self.g_rest[:, None])[:, 0] if rounded else slopes @ self.g_rest
        return self.backend.add_at_labels(self.step.labels, first, of_rest, self.g * self.label_slope)

    def option(self, name: str, by_field: dict[str, Array]) -> list[Array]:
        """∂m of an option m: through fields, through φ and η, and the regulariser, to be added."""
        row, batch = self.step.row, self.step.batch
        parts = [by_field[field] * slope for field, slope in row.names.get(name, ())]
        of_rest, slopes = self.sums.get(f"by {name}"), batch.target.option_slopes
        if name in slopes or of_rest is not None:
            of_curves = self.label_slope * batch.weight_length * slopes.get(name, 0.0)
            parts.append(self.gs * batch.embedding_length * (of_curves if of_rest is None else of_curves + of_rest))
        if row.regularizer and name in (slopes := self.step.regularizer().option_slopes):
            parts.append(self.g * slopes[name])
        return parts
