"""The picture: one sphere per loss, seen from the side where two digits come closest to each other."""

import textwrap
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from anglos.tools.demo.result import Result
from anglos.tools.demo.view import graticule, great_circle, view

DIGITS = ("#e6194b", "#f58231", "#dca400", "#3cb44b", "#12a594", "#1e9fe0", "#3b4fd8", "#8e3fc4", "#ea4fb0", "#80552b")
INK, GREY, PAPER, LINE, SHADE = "#1b2433", "#6b7688", "#ffffff", "#8390a6", "#b3bfd1"
CAPTION = (
    "1,000 digits that the network has never seen. Same network, start and batches for every loss. "
    "Ten points on a sphere can keep at most 66.1° apart."
)
_SPACING, _INCHES = 2.3, 1.35  # of a sphere of radius 1


def draw(results: list[Result], notes: list[str], out: str) -> None:
    """Draw the spheres side by side, with a note below each, and save them."""
    width = max(_SPACING * len(results) + 0.3, 6.0)
    caption = textwrap.wrap(CAPTION, int(13 * width))
    bottom, top = -1.92 - 0.17 * len(caption), 2.2
    figure = Figure(figsize=(width * _INCHES, (top - bottom) * _INCHES), facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, 1), xlim=(-width / 2, width / 2), ylim=(bottom, top), autoscale_on=False)
    axes.axis("off")
    _text(axes, 0, 1.87, "Handwritten digits on a sphere", size=26, weight="bold")
    for i, (result, note) in enumerate(zip(results, notes, strict=True)):
        x = _SPACING * (i - (len(results) - 1) / 2)
        _sphere(axes, result, x)
        _text(axes, x, 1.38, result.loss, size=18, weight="bold")
        _text(axes, x, 1.17, note, size=11, color=GREY, family="monospace")
        for side, number, meaning in ((-0.5, f"{result.accuracy:.1%}", "test accuracy"),
                                      (0.5, f"{result.smallest_angle:.1f}°", "smallest angle")):
            _text(axes, x + side, -1.32, number, size=19, weight="bold")
            _text(axes, x + side, -1.52, meaning, size=11, color=GREY)
    _text(axes, 0, -1.82, "\n".join(caption), size=11.5, color=GREY, va="top", linespacing=1.4)
    figure.savefig(out, dpi=150)


def _sphere(axes: Axes, result: Result, x: float) -> None:
    turn = view(result.centres.astype(np.float64), result.closest)
    test, centres, shift = result.test @ turn, result.centres @ turn, np.asarray([x, 0])
    # The ball, what lies behind it, the ball once more as a veil, what lies before it.
    for front, layer, opacity in ((False, 0, 1.0), (True, 2, 0.65)):
        axes.imshow(_ball(opacity), extent=(x - 1.2, x + 1.2, -1.2, 1.2), zorder=layer)
        for line in graticule():
            seen = np.where((line[:, 2:] >= 0) == front, line[:, :2] + shift, np.nan)
            axes.plot(*seen.T, color=LINE, linewidth=0.7, alpha=0.5, zorder=layer + 0.5)
        seen = (test[:, 2] >= 0) == front
        across, up = (0.985 * test[seen, :2] + shift).T
        axes.scatter(across, up, s=14 if front else 10, c=np.asarray(DIGITS)[result.labels[seen]], alpha=0.9,
                     linewidths=0, zorder=layer + 0.5)
    axes.add_patch(Circle((x, 0), 1, fill=False, edgecolor=LINE, linewidth=0.8, alpha=0.8, zorder=2.5))
    arc = great_circle(*centres[[*result.closest]])[:, :2] + shift
    axes.plot(*arc.T, color=INK, linewidth=2.2, zorder=3)
    for digit in np.argsort(centres[:, 2]):
        _label(axes, centres[digit, :2] + shift, digit, front=centres[digit, 2] >= 0)
    _text(axes, x, arc[:, 1].max() + 0.12, f"{result.smallest_angle:.0f}°", size=15, weight="bold", zorder=5,
          path_effects=[withStroke(linewidth=3, foreground=PAPER)])


def _label(axes: Axes, place: NDArray[np.float64], digit: int, front: bool) -> None:
    size, opacity = (16, 1.0) if front else (12, 0.5)
    disc = opacity * np.asarray(to_rgb(DIGITS[digit])) + (1 - opacity) * np.asarray(to_rgb(PAPER))
    x, y = place
    axes.plot(x, y, "o", color=disc, markersize=size, markeredgecolor=PAPER, markeredgewidth=1.3, zorder=3 + front)
    _text(axes, x, y, f"{digit}", size=0.72 * size, color=PAPER, weight="bold", va="center_baseline",
          zorder=3 + front)


def _ball(opacity: float) -> NDArray[np.float64]:
    """A ball lit from the upper left, and its shadow: RGBA."""
    right, up = np.meshgrid(np.linspace(-1.2, 1.2, 486), np.linspace(1.2, -1.2, 486))
    radius = np.hypot(right, up)
    towards = np.sqrt(np.clip(1 - radius**2, 0, 1))
    light = np.clip(0.3 + 0.75 * (-0.42 * right + 0.56 * up + 0.71 * towards), 0, 1)[..., None]
    inside = np.clip((1 - radius) * 150, 0, 1)
    shadow = 0.4 * np.exp(-((right / 0.5) ** 2) - ((up + 1.03) / 0.07) ** 2)
    colour = np.where(radius[..., None] < 1, light + (1 - light) * to_rgb(SHADE), to_rgb(SHADE))
    return np.dstack([colour, opacity * (inside + (1 - inside) * shadow)])


def _text(axes: Axes, x: float, y: float, text: str, **style: Any) -> None:
    axes.text(x, y, text, **{"color": INK, "ha": "center", "va": "center", **style})
