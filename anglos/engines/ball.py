"""The unit ball of Poincaré, of curvature −1: rows projected into it, and the distances of all pairs of two sets."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, least_square, unit_rows, unit_rows_pullback


class BallPoints(NamedTuple):
    """Points of the ball, and what their derivatives need.

    Attributes
    ----------
    points
        p = x min(1, R/‖x‖), (N, D).
    square
        p·p, (N,).
    rest
        1 − p·p, (N,).
    far
        Whether ‖x‖ is above R, (N, 1).
    unit
        x / ‖x‖, (N, D).
    inverse
        1 / ‖x‖, (N, 1).
    """

    points: Array
    square: Array
    rest: Array
    far: Array
    unit: Array
    inverse: Array


def ball_points(backend: Backend, x: Array, radius: Any) -> BallPoints:
    """Rows, (N, D), those longer than R < 1 at that length."""
    xp, (unit, inverse) = backend.xp, unit_rows(backend, x)
    far = xp.sum(unit * x, axis=1, keepdims=True) > radius
    points = xp.where(far, radius * unit, x)
    square = xp.sum(points * points, axis=1)
    rest = xp.where(far[:, 0], 1.0 - radius * radius, 1.0 - square)
    return BallPoints(points, square, rest, far, unit, inverse)


def ball_points_pullback(backend: Backend, p: BallPoints, radius: Any, d_points: Array) -> tuple[Array, Array]:
    """∂L/∂x, which is R (1 − x̂ x̂ᵀ) ∂L/∂p / |x| of those that were longer than R; and ∂L/∂R = Σ x̂·∂L/∂p of these."""
    xp = backend.xp
    d_radius = xp.sum(xp.where(p.far, d_points * p.unit, 0.0))
    through = unit_rows_pullback(backend, p.unit, p.inverse, radius * d_points)
    return xp.where(p.far, through, d_points), d_radius


class BallDistances(NamedTuple):
    """d = acosh(1 + u) of all pairs, (N, M); all is 0 where u is rounding noise.

    Attributes
    ----------
    value
        d = log(1 + u + √(u(u + 2))).
    u
        2 (p − q)·(p − q) / ((1 − p·p)(1 − q·q)).
    slope
        ∂d/∂u = 1/√(u(u + 2)).
    """

    value: Array
    u: Array
    slope: Array


def ball_distances(backend: Backend, p: BallPoints, q: BallPoints) -> BallDistances:
    """Of all pairs, (N, M), with u = 2 |p − q|² / ((1 − |p|²)(1 − |q|²))."""
    xp, lengths = backend.xp, p.square[:, None] + q.square[None, :]
    square = xp.clip(lengths - 2.0 * backend.product(p.points, q.points.T), 0.0)  # rounding may go below
    nothing = square <= least_square(xp, square.dtype) * lengths  # and not "> noise": a NaN must stay one
    u = xp.where(nothing, 0.0, 2.0 * square / (p.rest[:, None] * q.rest[None, :]))
    root = xp.sqrt(xp.where(nothing, 1.0, u * (u + 2.0)))
    return BallDistances(xp.log1p(u + xp.where(nothing, 0.0, root)), u, xp.where(nothing, 0.0, 1.0 / root))


def ball_distances_pullback(backend: Backend, p: BallPoints, q: BallPoints, found: BallDistances, d_value: Array
                            ) -> tuple[Array, Array]:
    """∂L/∂p and ∂L/∂q, by ∂u/∂p = 4 (p − q) / ((1 − |p|²)(1 − |q|²)) + 2 u p / (1 − |p|²)."""
    d_u = d_value * found.slope
    by_square, by_u = 4.0 * d_u / (p.rest[:, None] * q.rest[None, :]), 2.0 * d_u * found.u
    return (_in_points(backend, p, q, by_square, by_u), _in_points(backend, q, p, by_square.T, by_u.T))


def _in_points(backend: Backend, one: BallPoints, other: BallPoints, by_square: Array, by_u: Array) -> Array:
    own = backend.xp.sum(by_square, axis=1) + backend.xp.sum(by_u, axis=1) / one.rest
    return own[:, None] * one.points - backend.product(by_square, other.points)
