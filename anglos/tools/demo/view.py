"""From which side to look at a sphere, and circles on it. Points are unit vectors (N, 3)."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def view(centres: Points, closest: tuple[int, int]) -> Points:
    """(3, 3), whose columns point right, up and towards the viewer.

    The two closest centres come to lie level in the upper front: so their distance can be compared from sphere to
    sphere by eye. What this leaves open, the tilt and which of them is left, is chosen to keep all centres apart.
    """
    first, second = centres[[*closest]]
    views = [_level(*pair, tilt) for pair in ((first, second), (second, first)) for tilt in range(20, 45, 2)]
    return max(views, key=lambda turn: _least_distance((centres @ turn)[:, :2]))


def _level(left: Points, right: Points, tilt: float) -> Points:
    middle, across = _unit(left + right), _unit(right - left)
    up, angle = np.cross(middle, across), np.radians(tilt)
    return np.stack([across, np.cos(angle) * up + np.sin(angle) * middle,
                     np.cos(angle) * middle - np.sin(angle) * up], axis=1)


def _least_distance(flat: Points) -> float:
    distances = np.linalg.norm(flat[:, None] - flat[None, :], axis=-1)
    return float(np.min(distances + 2 * np.eye(len(flat))))


def great_circle(start: Points, end: Points) -> Points:
    """Points on the shortest way from one to the other."""
    part = np.linspace(0, 1, 91)[:, None]
    return _unit((1 - part) * start + part * end)


def graticule(tilt: float = 20.0) -> list[Points]:
    """Meridians and parallels every 30 degrees, seen from a little above."""
    turn, angle, zero = np.radians(np.arange(0, 361, 2)), np.radians(tilt), np.zeros(181)
    circle = np.stack([np.cos(turn), zero, np.sin(turn)], axis=1)
    pole = np.asarray([0.0, 1.0, 0.0])
    meridians = [np.cos(turn)[:, None] * circle[i] + np.sin(turn)[:, None] * pole for i in range(0, 90, 15)]
    parallels = [np.cos(north) * circle + np.sin(north) * pole for north in np.radians(np.arange(-60, 61, 30))]
    down = np.asarray([[1, 0, 0], [0, np.cos(angle), np.sin(angle)], [0, -np.sin(angle), np.cos(angle)]])
    return [line @ down for line in (*meridians, *parallels)]


def _unit(vectors: Points) -> Points:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))
