"""Soft histograms: a number between two knots counts in parts for both, the more the nearer."""

from typing import NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array


class SoftBins(NamedTuple):
    """Numbers, (A, N), between R + 1 knots."""

    backend: Backend
    column: Array
    """The knot below; of the last knot the one before it."""
    above: Array
    """How far above it, in bins."""
    empty: Array
    """Zeros, one for every knot, (A, R + 1)."""

    def count(self, weight: Array) -> Array:
        """The histogram of every row, (A, R + 1), of numbers with weights."""
        scatter = self.backend.scatter
        return (scatter(weight * (1.0 - self.above), self.column, self.empty)
                + scatter(weight * self.above, self.column + 1, self.empty))

    def at(self, by_knot: Array, beyond: int = 0) -> Array:
        """What belongs to knots, (R + 1,) or (A, R + 1), of the knot below every number, or so many beyond it."""
        return self.backend.xp.take_along_axis(self.empty + by_knot, self.column + beyond, axis=1)


def soft_bins(backend: Backend, place: Array, bins: int) -> SoftBins:
    """Those of places from 0 to R, in bins."""
    xp = backend.xp
    low = xp.floor(xp.where(place == place, place, 0.0))
    low = xp.where(low > bins - 1.0, bins - 1.0, xp.where(low < 0.0, 0.0, low))
    column = xp.astype(low, backend.index_type)
    knots = xp.astype(backend.arange(bins + 1, column), place.dtype)
    return SoftBins(backend, column, place - low, xp.zeros_like(place[:, :1]) * knots)
