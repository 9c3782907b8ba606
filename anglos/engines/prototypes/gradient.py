"""The gradient of engine 1, one method per term.

With G_ij = ∂ℓ_i/∂z_ij, K_ij = G_ij F′_ij, and p, w for embeddings and weights, each of length 1 or free:

    ∂p_i = g_i s Σ_j K_ij w_j                          ∂w_j = s Σ_i g_i K_ij p_i
    ∂b_j = Σ_i g_i G_ij                                ∂s = Σ_ij g_i G_ij |x_i| |w_j| F_ij
    ∂m = Σ_ij g_i G_ij s |x_i| |w_j| ∂F_ij/∂m          for an option m of φ or η

A normalised vector takes that through its normalisation. A free one gets in addition its own direction times
Σ g_i G_ij s (F − F′ cos θ) times the other's length: what the length changes beyond the cosine, which is 0 where F is
the cosine.
"""

from typing import Any

from anglos.arrays.library import store
from anglos.arrays.monoid import SUM
from anglos.engines.numerics import Array, is_one, unit_rows_pullback
from anglos.engines.prototypes.batch import label_joins
from anglos.engines.prototypes.class_tile import ClassTile
from anglos.engines.prototypes.directions import prototypes_pullback
from anglos.engines.prototypes.of_options import OfOptions
from anglos.engines.prototypes.row import unchanged
from anglos.engines.prototypes.saved import Saved
from anglos.engines.prototypes.step import Step

_ARRAYS = frozenset(("embeddings", "weights"))


class Gradient(OfOptions):
    """∂(Σ g_i ℓ_i).

    The slopes G of the other classes may lack a factor of each sample, which goes into the small operand of a product.
    """

    def __init__(self, step: Step, saved: Saved, g: Array, needs: frozenset[str]) -> None:
        backend, row, batch = step.backend, step.row, step.batch
        xp, reduction = backend.xp, row.reduction
        self.step, self.saved, self.needs, self.backend, self.xp = step, saved, needs, backend, xp
        g = g if step.factor is None else g * step.factor
        self.g = g if saved.passed is None else xp.where(saved.passed, g, 0.0)
        self.fields = {field for name in needs & row.names.keys() for field, _ in row.names[name]}
        """Fields of the row or its reduction in which a gradient is needed, for options behind them."""
        self.label_product = self._label_product()
        self.scale_by_points = "scale" in self.fields and self.label_product is None
        self.kept_slopes = saved.kept is not None and reduction.keeps_slopes and not step.of_cosines
        self.product = step.slope_product
        self.joined = not step.several and not step.as_is and label_joins(backend, step.inputs) and (
            row.normalize_weights or row.target is unchanged)
        """Whether the label's slope is among the others', which saves calls; not if w_y has a slope along itself."""
        self.label_slope = reduction.label_slope(backend, saved.of_reduction, step.classes)
        """G_iy"""
        factor = reduction.sample_factor(saved.of_reduction, self.label_slope) if self.kept_slopes else None
        self.gs = self.g * row.scale
        """g_i s, and for the other classes the same with the factor."""
        self.gs_rest = self.gs if factor is None else self.gs * factor
        self.g_rest = self.g if factor is None or "bias" not in self.fields else self.g * factor
        self.label_pull = self.label_slope if is_one(batch.target.slope) else self.label_slope * batch.target.slope
        """K_iy"""
        self.label_along = self._label_along()
        self.label_pull = self.label_pull * self.gs
        if batch.mix is not None and not self.joined:
            self.label_pull = self.label_pull[:, None] * batch.mix

    def of_inputs(self) -> dict[str, Array]:
        """One for every input that is needed."""
        self._sweep()
        by_field = {field: self.field(field) for field in self.fields}
        parts = {name: self.option(name, by_field) for name in self.needs - _ARRAYS}
        gradients = {name: sum(some[1:], start=some[0]) for name, some in parts.items() if some}
        if "weights" in self.needs:
            gradients["weights"] = self.d_weights
        if "embeddings" in self.needs:  # last: a projection may use what it projects
            gradients["embeddings"] = self.embeddings()
        return gradients

    def _sweep(self) -> None:
        """The sums over the classes, for gradients of size B, and the rows of those of size C."""
        step, batch, needs_weights = self.step, self.step.batch, "weights" in self.needs
        self.points = batch.points if self.joined else self.backend.multiply(
            batch.points, self.gs_rest[:, None], out=self.backend.scratch(step.terms_like, *batch.points.shape))
        """g_i s p_i, rounded where the product would round it."""
        self.d_label = self._label_weights() if needs_weights and not self.joined else None
        in_place = needs_weights and step.weights.ndim == 2 and step.weights.dtype == step.dtype
        out = self.backend.scratch(step.weights, *step.weights.shape) if in_place else None
        self.sums, (d_weights, self.d_bias) = self.backend.sweep(
            self._tile, SUM, (step.weights, step.bias, self.saved.kept, out), step.width)
        self.d_weights = d_weights if out is None else out
        del self.points, self.d_label
        if "points" in self.sums and not self.joined:
            self.sums["points"] = self._points(self.sums["points"])
        self.sums = self.backend.totals(self.sums)

    def _tile(self, first: Any, weights: Array, bias: Array | None, kept: Array | None, out: Array | None
              ) -> tuple[dict[str, Array], tuple[Array | None, Array | None]]:
        """Of T classes: what is summed over the classes, and the rows of ∂w and ∂b."""
        row, made, d_bias = self.step.row, self.step.tile(first, weights, bias, kept), None
        by_scale = self._rest_by_scale(first, weights, bias, made)  # before slopes take the place of logits
        slope_of = row.reduction.kept_slope if self.kept_slopes else row.reduction.rest_slope
        slopes = slope_of(self.backend, self.saved.of_reduction, made.tile, self.step.classes)  # G
        sums = {f"by {name}": self.xp.sum(slopes * made.option_slopes[name], axis=0)
                for name in self.needs & made.option_slopes.keys()}
        if by_scale is not None:
            sums["scale"] = by_scale
        if "bias" in self.fields:
            if bias is None:
                sums["bias"] = self.xp.sum(self.xp.astype(slopes, self.g.dtype, copy=False), axis=0)
            else:
                d_bias = self._class_bias(first, slopes)
        pull = slopes if made.rest is None else slopes * made.rest.slope  # K
        if (along := self._along(made, slopes, pull)) is not None:
            sums["along"] = along
        pull = self._of_prototypes(made, pull)
        if "embeddings" in self.needs or self.scale_by_points:
            points, lack, factor = made.prototypes  # the slopes are already multiplied by the factor
            sums["points"] = self.product(pull.T, points) if lack is None or factor is None else (
                self.backend.product_of_factors(self.product, pull.T, points, lack))
        d_weights = self._weights(first, weights, made, pull, out) if "weights" in self.needs else None
        return sums, (d_weights, d_bias)

    def _of_prototypes(self, made: ClassTile, pull: Array) -> Array:
        """K of every prototype, with the label's if that has joined, and with the factor of the prototypes."""
        (points, lack, factor), kept = made.prototypes, self.kept_slopes  # of which nothing may be changed
        if self.joined:
            pull = self.backend.multiply(pull, self.gs_rest, out=None if kept else pull)
            pull = made.tile.with_label(pull, self.label_pull)
        if made.mix is not None:
            pull = self.xp.reshape(pull[:, None, :] * made.mix, (points.shape[0], self.step.samples))
        if factor is not None and not self.step.of_slopes:
            factor = factor if lack is None else factor / lack
            pull = self.backend.multiply(pull, factor, out=made.tile.scratch if kept else pull)
        return pull

    def _weights(self, first: Any, weights: Array, made: ClassTile, pull: Array, out: Array | None) -> Array | None:
        """∂w_j = s Σ_i g_i K_ij p_i, through the normalisation; None if it is in `out`."""
        d_weights = prototypes_pullback(self.step, made.prototypes, pull, self.points, out)
        if d_weights.shape != weights.shape:  # several prototypes, or a graph that does not know how many
            d_weights = self.xp.reshape(d_weights, weights.shape)
        if self.d_label is not None:
            d_weights = self.backend.add_at_labels(
                self.step.labels, first, d_weights, self.d_label, whole=not self.step.several)
        if out is None:
            return self.xp.astype(d_weights, weights.dtype, copy=False)
        store(out, d_weights)
        return None

    def _label_weights(self) -> Array:
        """∂w_y of every sample, (B, D) or (B, K, D)."""
        row, batch, directions = self.step.row, self.step.batch, self.step.directions
        points = batch.points if batch.mix is None else batch.points[:, None, :]
        d_label = self.label_pull[..., None] * points
        if row.normalize_weights:
            return unit_rows_pullback(self.backend, directions.label_unit, directions.label_inverse, d_label)
        if row.target is unchanged:
            return d_label
        along = directions.label_unit * (self.gs * self.label_along * batch.embedding_length)[:, None]
        return self.backend.add(d_label, along, out=d_label)

    def _points(self, of_rest: Array) -> Array:
        """∂p_i = g_i s Σ_j K_ij w_j."""
        of_label = self.label_pull[..., None] * self.step.batch.label_points
        of_label = of_label if self.step.batch.mix is None else self.xp.sum(of_label, axis=1)
        return self.backend.add_product(of_label, of_rest, self.gs_rest[:, None])

    def embeddings(self) -> Array:
        """∂x_i: ∂p_i through the normalisation, or with what a free length changes; and what φ and R have of |x|."""
        row, directions = self.step.row, self.step.directions
        if row.normalize_embeddings:
            d_embeddings = unit_rows_pullback(self.backend, directions.unit, directions.inverse, self.sums["points"])
        else:
            d_embeddings = self.sums["points"] + directions.unit * (self.gs * self._lengths())[:, None]
        by_length = self._by_length()
        return d_embeddings if by_length is None else d_embeddings + directions.unit * (self.g * by_length)[:, None]

    def _by_length(self) -> Array | None:
        """∂ℓ/∂|x| through φ, and through the regulariser R."""
        row, batch = self.step.row, self.step.batch
        slopes = []
        if batch.target.length_slope is not None:
            slopes.append(self.label_slope * batch.target.length_slope * (
                row.scale * batch.embedding_length * batch.weight_length))
        if row.regularizer is not None:
            slopes.append(self.step.regularizer().slope)
        return sum(slopes[1:], start=slopes[0]) if slopes else None

    def _label_along(self) -> Any:
        """G_iy (φ − φ′ cos θ_iy)."""
        row, batch = self.step.row, self.step.batch
        along: Any = 0.0
        if not self.scale_by_points and row.normalize_embeddings and row.normalize_weights:
            return along  # not needed
        if row.target is not unchanged:
            along = self.label_slope * (batch.target.value - batch.target.slope * batch.cos)
        if batch.mix is not None:
            along = along + self.label_pull * (
                batch.cos - self.xp.sum(batch.mix * self.step.directions.cosines, axis=-1))
        return along

    def _along(self, made: ClassTile, slopes: Array, pull: Array) -> Array | None:
        """Σ_j G_ij (F_ij − F′_ij cos θ_ij); None if that is 0, or is not needed."""
        asked = self.scale_by_points or not self.step.row.normalize_embeddings
        if not asked or (made.rest is None and made.mix is None):
            return None
        value = made.cos if made.rest is None else made.rest.value
        # Of several prototypes a scale multiplies the merged cosine, not Σ mix · cosines.
        cos = made.cos if made.mix is None else self.xp.sum(made.mix * made.cosines, axis=1)
        return self.xp.sum(slopes * value - pull * cos, axis=0)
