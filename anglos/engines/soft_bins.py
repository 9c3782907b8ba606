"""Soft histograms: a number between two knots counts in parts for both, the more the nearer."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, divisor_of


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


def check_histogram(name: str, histogram: Array | None, bins: int) -> None:
    """Refuse a histogram of another number of knots."""
    if histogram is not None and histogram.shape[0] != bins + 1:
        raise ValueError(f"{name}: histogram was of shape ({histogram.shape[0]},); wanted (bins + 1,), here "
                         f"({bins + 1},)")


def moved_histogram(backend: Backend, place: Array, bins: int, histogram: Array | None, share: Any
                    ) -> tuple[Array, SoftBins]:
    """A histogram moved by a share towards that of places, (B,), in bins, both with a sum of 1; and their bins, (1, B).

    Of None, and of zeros, that of the places. What is below the first knot or above the last counts as on it.
    """
    xp = backend.xp
    place = xp.where(place < 0.0, 0.0, xp.where(place > bins, float(bins), place))[None, :]
    of_place = soft_bins(backend, place, bins)
    counts = of_place.count(xp.ones_like(place))[0, :]
    old = found = counts / xp.sum(counts)
    if histogram is not None:
        total = xp.sum(histogram)
        old = xp.where(total == 0.0, found, histogram / divisor_of(xp, total))
    return old + share * (found - old), of_place
