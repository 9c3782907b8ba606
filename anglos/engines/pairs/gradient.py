"""The gradient of losses over pairs: every term under its formula.

With L = Σ g_i ℓ_i and G_ij = ∂L/∂S_ij: ∂x_i = Σ_j G_ij r_j and ∂r_j = Σ_i G_ij x_i. For distances of free lengths,
D² = |x|² + |r|² − 2 S, −x_i Σ_j G_ij and −r_j Σ_i G_ij are added.
"""

from typing import Any

from anglos.arrays.monoid import SUM
from anglos.engines.groups import takes_part
from anglos.engines.numerics import Array, divisor_of
from anglos.engines.pairs.columns import slopes
from anglos.engines.pairs.row import Terms
from anglos.engines.pairs.saved import Saved
from anglos.engines.pairs.step import Rows, Step
from anglos.engines.pairs.tile import Compared, compare


class Gradient:
    """∂L for every input that is needed."""

    def __init__(self, step: Step, saved: Saved, g: Array, needs: frozenset[str], column_g: Array | None = None
                 ) -> None:
        self.step, self.saved, self.g, self.needs, self.column_g = step, saved, g, needs, column_g
        if step.row.symmetric and column_g is None:
            self.column_g = step.backend.columns(g)
        self.options = needs - {side.role for side in step.sides if side is not None}
        self.fields = {field for name in self.options for field, _ in step.row.names.get(name, ())}

    def of_inputs(self, sums: dict[str, Array], of_rows: tuple[Array | None, ...]) -> dict[str, Array]:
        """By the names of the inputs, from what was swept."""
        return self._of_sides(sums, *of_rows[:2]) | self._of_options(sums, *of_rows[2:])

    def swept(self) -> tuple[dict[str, Array], tuple[Array | None, ...]]:
        """What is summed over all rows, and what every row has."""
        step = self.step
        return step.backend.sweep(self._of_tile, SUM, (self.g, *step.swept, *self.saved.chosen), step.width)

    def _of_tile(self, first: Any, g: Array, *slices: Any) -> tuple[dict[str, Array], tuple[Array | None, ...]]:
        """What is summed over the rows; and ∂x, ∂k, ∂scale and ∂bias of every row."""
        step, xp = self.step, self.step.backend.xp
        many = len(step.swept)
        pairs = compare(step, first, Rows(*slices[:many]), slices[many:])
        terms = step.row.terms(step.backend, pairs.tile)
        by_value = self._by_value(pairs, terms, g)
        by_scale = xp.sum(by_value * pairs.similarity, axis=1) if "scale" in self.fields else None
        by_bias = xp.sum(by_value, axis=1) if "bias" in self.fields else None
        by_similarity = by_value * pairs.slope()  # G
        sums = self._summed(pairs, by_similarity) | self._summed_by_terms(terms, 0.5 * g if step.row.symmetric else g)
        return sums, (*self._of_row(pairs, by_similarity), by_scale, by_bias)

    def _by_value(self, pairs: Compared, terms: Terms, g: Array) -> Array:
        """g_i ∂ℓ_i/∂v_ij; of a symmetric loss ½ (g_i ∂ℓ_i/∂v_ij + g_j ∂ℓ′_j/∂v_ij)."""
        by_value = g[:, None] * terms.slope()
        if self.column_g is None:
            return by_value
        return 0.5 * (by_value + self.column_g[None, :] * slopes(self.step.backend, self.saved.columns, pairs.tile))

    def _of_row(self, pairs: Compared, by_similarity: Array) -> tuple[Array, Array | None]:
        """∂x_i = Σ_j G_ij r_j − x_i Σ_j G_ij; with a key also G_i0 k_i, and ∂k_i = G_i0 (x_i − k_i)."""
        x, keys = pairs.rows.points, pairs.rows.keys
        by_key, by_columns = self._by_key(by_similarity)
        d_rows, d_keys = by_columns @ self.step.columns.points, None
        if by_key is not None:
            d_rows, d_keys = d_rows + by_key * keys, by_key * x
        if self.step.free_lengths:
            d_rows = d_rows - x * self.step.backend.xp.sum(by_similarity, axis=1)[:, None]
            d_keys = d_keys if by_key is None else d_keys - by_key * keys
        return d_rows, d_keys

    def _summed(self, pairs: Compared, by_similarity: Array) -> dict[str, Array]:
        """Σ_i G_ij x_i and Σ_i G_ij."""
        _, by_columns = self._by_key(by_similarity)
        sums = {"points": by_columns.T @ pairs.rows.points}
        return sums | ({"lengths": self.step.backend.xp.sum(by_columns, axis=0)} if self.step.free_lengths else {})

    def _by_key(self, by_similarity: Array) -> tuple[Array | None, Array]:
        """G_i0 of the row's key, (A, 1); and G_ij of the columns."""
        return (None, by_similarity) if self.step.sides.key is None else (by_similarity[:, :1], by_similarity[:, 1:])

    def _summed_by_terms(self, terms: Terms, g: Array) -> dict[str, Array]:
        """H_jk = ∂L/∂(r_j · r_k), and Σ_i g_i ∂ℓ_i/∂option where the terms depend on one."""
        sums = {} if terms.between_slope is None else {"between": terms.between_slope(g[:, None]) * self.step.row.scale}
        if not self.options:
            return sums
        return sums | {f"by {name}": slope(g) if callable(slope) else self.step.backend.xp.sum(g * slope)
                       for name, slope in terms.option_slopes().items() if name in self.options}

    def _of_sides(self, sums: dict[str, Array], d_rows: Any, d_keys: Array | None) -> dict[str, Array]:
        """∂r_j = Σ_i G_ij x_i − r_j Σ_i G_ij + Σ_k (H_jk + H_kj) r_k.

        A penalty λ on lengths adds 2 λ g_i x_i, and as much of the key, or of the column.
        """
        (rows, columns, key), d_columns, row = self.step.sides, sums["points"], self.step.row
        everyone = self.step.columns.points
        if "lengths" in sums:
            d_columns = d_columns - everyone * sums["lengths"][:, None]
        if "between" in sums:
            d_columns = d_columns + (sums["between"] + sums["between"].T) @ everyone
        d_columns = self.step.backend.own_sums(d_columns)
        if "own" in sums:
            d_columns = d_columns + sums["own"]
        if row.length_penalty is not None:
            weight = 2.0 * row.length_penalty * self.g[:, None]
            d_rows = d_rows + weight * rows.points
            if key is None:
                d_columns = d_columns + weight * columns.points
            else:
                d_keys = d_keys + weight * key.points
        of_sides = [(rows, d_rows), (columns, d_columns), (key, d_keys)]
        if self.step.one_set:
            of_sides = [(rows, d_rows + d_columns)]
        as_is = self.step.as_is
        of_classes = as_is and self.step.one_set, as_is, False  # whose slopes are scaled
        return {side.role: side.pullback(self.step.backend, d_points, scaled)
                for (side, d_points), scaled in zip(of_sides, of_classes, strict=False)
                if side is not None and side.role in self.needs}

    def _of_options(self, sums: dict[str, Array], by_scale: Array | None, by_bias: Array | None) -> dict[str, Array]:
        """Through the terms, and through the fields of the row: Σ_i ∂L/∂field ∂field/∂option."""
        by_field, gradients = {"scale": by_scale, "bias": by_bias}, {}
        if "length_penalty" in self.fields:
            by_field["length_penalty"] = self.g * lengths(self.step)
        own: Any = {}
        if self.step.row.per_anchor is not None and self.options:
            _, slopes_of = self.step.row.per_anchor(self.step.backend, self.step.swept.labels)
            own = slopes_of(self.g * terms_per_anchor(self.step, self.saved.count))
        for name in self.options:
            parts = [own[name]] if name in own else []
            parts += [sums[f"by {name}"]] if f"by {name}" in sums else []
            parts += [self.step.backend.xp.sum(by_field[field] * slope)
                      for field, slope in self.step.row.names.get(name, ())]
            if parts:
                gradients[name] = sum(parts[1:], start=parts[0])
        return gradients


def lengths(step: Step) -> Array:
    """|q|² + |k|² of every row and its key or column."""
    rows, columns, key = step.sides
    return sum(step.backend.xp.sum(side.points * side.points, axis=-1) for side in (rows, key or columns))


def terms_per_anchor(step: Step, count: Array) -> Array:
    """How many terms an anchor has on average, over those of all ranks that take part."""
    xp, labels = step.backend.xp, step.swept.labels
    part = xp.astype(count == count if labels is None or step.weighs else
                     takes_part(xp, labels, step.row.ignore_index), count.dtype)
    anchors, terms = (xp.sum(step.backend.against("embeddings", 1).columns(one)) for one in (part, part * count))
    return terms / divisor_of(xp, anchors)
