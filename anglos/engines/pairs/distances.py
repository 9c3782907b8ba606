"""Distances as functions of D² = |x − r|², which is 2 − 2 cos θ for unit vectors.

Where D² was found by |x|² + |r|² − 2 x·r, it is noise below the `least_square` of that sum: `noise`. There a distance
whose slope in D² goes to infinity is 0, with slope 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, floored, least_square


class Distance(NamedTuple):
    """Values, and how to get their slopes in D²; where D is 0 the slope is 0 if it would be infinite."""

    value: Array
    slope: Callable[[], Array]


def _squared(backend: Backend, square: Array, noise: Any) -> Distance:
    """D²."""
    return Distance(square, lambda: backend.xp.ones_like(square))


def _euclidean(backend: Backend, square: Array, noise: Any) -> Distance:
    """D, ∂D/∂D² = 1 / 2D."""
    xp, nothing = backend.xp, square <= noise  # and not "> noise": a NaN must stay one
    root = xp.sqrt(xp.where(nothing, 1.0, square))
    return Distance(xp.where(nothing, 0.0, root), lambda: xp.where(nothing, 0.0, 0.5 / root))


def _cosine(backend: Backend, square: Array, noise: Any) -> Distance:
    """1 − cos θ = D²/2."""
    return Distance(0.5 * square, lambda: 0.5 * backend.xp.ones_like(square))


def _angle(backend: Backend, square: Array, noise: Any) -> Distance:
    """θ, with cos θ = 1 − D²/2 and sin² θ = D² (1 − D²/4); ∂θ/∂D² = 1 / (2 sin θ)."""
    xp = backend.xp
    sin_squared = square * (1.0 - 0.25 * square)
    nothing = sin_squared <= noise
    sin = xp.where(nothing, 0.0, xp.sqrt(xp.where(nothing, 1.0, sin_squared)))
    return Distance(xp.atan2(sin, 1.0 - 0.5 * square),
                    lambda: xp.where(nothing, 0.0, 0.5 / floored(xp, sin)))


DISTANCES: dict[str, Callable[[Backend, Array, Any], Distance]] = {
    "squared_euclidean": _squared,
    "euclidean": _euclidean,
    "cosine": _cosine,
    "angle": _angle,
}

OF_UNIT_VECTORS = ("cosine", "angle")
"""Those that do not depend on lengths."""


def of_products(backend: Backend, distance: str, products: Array, lengths: Any = 2.0) -> Distance:
    """Of products x · r and |x|² + |r|², which of unit vectors is 2: d, and its slope in the products."""
    xp = backend.xp
    square = xp.clip(lengths - 2.0 * products, 0.0)  # rounding may go below
    value, slope = DISTANCES[distance](backend, square, least_square(xp, square.dtype) * lengths)
    return Distance(value, lambda: -2.0 * slope())


def of_given(backend: Backend, distance: str, side: tuple[Array, Array | None], other: tuple[Array, Array | None]
             ) -> tuple[Array, Distance]:
    """Of rows x, r with their 1/|x|, None where they are not normalised: x − r, and d; a zero vector has cosine 0."""
    difference = side[0] - other[0]
    square = backend.dot(difference, difference)
    for inverse in (side[1], other[1]):
        if inverse is not None:
            square = square + backend.xp.astype(inverse[:, 0] == 0.0, square.dtype)
    return difference, DISTANCES[distance](backend, square, 0.0)
