"""The gradient of losses of queries and keys where these are samples and classes: `keys.py`.

With G_ij = ∂ℓ_i/∂z_ij of the columns but a row's own, ∂x_i = s g_i Σ_j G_ij k_j and ∂k_j = s Σ_i g_i G_ij x_i. Of a
symmetric loss g_i G_ij has ½ g_j G′_ji beside it, G′ that of the columns over the rows.
"""

from typing import Any

from anglos.arrays.monoid import SUM
from anglos.engines.by_scale import label_by_scale, rest_by_scale
from anglos.engines.numerics import Array
from anglos.engines.pairs.columns import COLUMNS
from anglos.engines.pairs.gradient import Gradient
from anglos.engines.pairs.key_tiles import Swept, Tiles
from anglos.engines.pairs.partners import positives_of
from anglos.engines.pairs.saved import Saved
from anglos.engines.pairs.step import Step

_SWEPT = len(Swept._fields)

_OfTile = tuple[dict[str, Array], tuple[Array | None, ...]]


def backward(step: Step, saved: Saved, gradient: Gradient) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i) for every input that is needed."""
    return _Slopes(step, saved, gradient).of_inputs()


def _has_bits(xp: Any, chosen: tuple[Array, ...]) -> bool:
    """Whether the last array is what a guide said."""
    return bool(chosen) and bool(chosen[-1].dtype == xp.uint8)


class _Slopes:
    """What is summed over the pairs."""

    def __init__(self, step: Step, saved: Saved, gradient: Gradient) -> None:
        self.step, self.backend, self.reduction, self.gradient = step, step.backend, step.reduction, gradient
        self.saved, self.tiles, self.scale = saved, Tiles(step), step.row.scale
        *self.chosen, self.bits = saved.chosen if _has_bits(self.backend.xp, saved.chosen) else (*saved.chosen, None)
        self.positives, self.g = positives_of(step, self.tiles, tuple(self.chosen)), gradient.g
        if self.positives.weight is not None:
            self.g = self.g * self.positives.weight
        self.of_label = self.g * self.reduction.label_slope(self.backend, self.reduction.saved(*self.chosen), 1)
        """g_i ∂ℓ_i/∂z of the row with its positive."""
        self.by_scale = "scale" in gradient.fields
        self.own: Array | None = None
        """z − b of the row with its positive, where slopes are rounded beside a learnt scale."""
        if self.by_scale and step.as_is:
            self.own = self.scale * self.backend.dot(step.sides.rows.points, self.positives.points)
        if gradient.column_g is None:
            return
        self.g, self.column_g = 0.5 * gradient.g, 0.5 * gradient.column_g
        self.of_columns = COLUMNS.total(self.backend, saved.columns)
        """The log-sum-exp of every column."""
        by_columns = self.column_g * COLUMNS.label_slope(self.backend, saved.columns, 1)
        self.of_label = 0.5 * self.of_label + self.backend.own_columns(by_columns)

    def of_inputs(self) -> dict[str, Array]:
        """By the names of the inputs."""
        step, queries = self.step, self.step.sides.rows
        of_tile = self._both_ways if step.row.symmetric else self._one_way
        sums, (d_rows, by_bias, by_scale) = self.backend.sweep(
            of_tile, SUM, (*self.tiles.rows, self.bits, queries.points, self.g, self.own, *self.chosen), step.width)
        d_rows = d_rows + self.of_label[:, None] * self.positives.points
        if self.by_scale and by_scale is None:
            by_scale = self.backend.dot(queries.points, d_rows)
        d_rows = d_rows * self.scale
        if step.as_is and step.one_set:
            d_rows = queries.scaled(d_rows)
        if "scale" in sums:
            by_scale = self.backend.xp.sum(by_scale) + self.backend.xp.sum(self.column_g * sums.pop("scale"))
        by_bias = None if by_bias is None else by_bias + self.of_label
        d_keys = self.positives.pull(sums, self.of_label * self.scale)
        return self.gradient.of_inputs(sums, (d_rows, d_keys, by_scale, by_bias))

    def _one_way(self, first: Any, *of_rows: Any) -> _OfTile:
        """The sum s Σ_i g_i G_ij x_i; and of every row g_i Σ_j G_ij k_j and g_i Σ_j G_ij."""
        rows, (bits, points, g, own, *chosen) = Swept(*of_rows[:_SWEPT]), of_rows[_SWEPT:]
        tile = self.tiles.tile(first, rows, bits)
        by_scale = self._by_scale(self.reduction, chosen, tile, own, g)
        slopes = self.reduction.rest_slope(self.backend, self.reduction.saved(*chosen), tile, 1)
        by_bias = g * self.backend.xp.sum(slopes, axis=0) if "bias" in self.gradient.fields else None
        sums = {"points": self.tiles.product(slopes, points * (g * self.scale)[:, None])}
        return sums, (g[:, None] * self.tiles.product(slopes.T, self.step.columns.points), by_bias, by_scale)

    def _both_ways(self, first: Any, *of_rows: Any) -> _OfTile:
        """The same of a symmetric loss, with both slopes of a pair as one."""
        rows, (_, points, g, own, *chosen) = Swept(*of_rows[:_SWEPT]), of_rows[_SWEPT:]
        tile, columns, sums = self.tiles.tile(first, rows), self.saved.columns, {}
        by_scale = self._by_scale(self.reduction, chosen, tile, own, g)
        if own is not None:
            sums["scale"] = self._by_scale(COLUMNS, columns, self.tiles.turned(first, rows), columns.label_logit, None)
        total = self.reduction.total(self.backend, self.reduction.saved(*chosen))
        slopes = self.backend.shares_both_ways(tile, total, g, self.of_columns, self.column_g)
        by_bias = self.backend.xp.sum(slopes, axis=0) if "bias" in self.gradient.fields else None
        sums["points"] = self.tiles.product(slopes, points * self.scale)
        return sums, (self.tiles.product(slopes.T, self.step.columns.points), by_bias, by_scale)

    def _by_scale(self, reduction: Any, chosen: Any, tile: Any, own: Array | None, g: Array | None) -> Array | None:
        """g_i ∂ℓ_i/∂s, of all but a row's own column where that adds nothing; None where slopes are not rounded."""
        if own is None:
            return None
        saved, bias = reduction.saved(*chosen), self.step.row.bias
        rest = rest_by_scale(self.backend, reduction, saved, tile, bias, own, 1)
        rest = rest + label_by_scale(self.backend, reduction, saved, own, 1)
        return (rest if g is None else g * rest) / self.scale
