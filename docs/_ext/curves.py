"""The curves of the losses as pictures for a light and a dark page."""

import re
from pathlib import Path
from typing import Any

import matplotlib

import anglos
from anglos import plot
from anglos.plot import target

THEMES: dict[str, dict[str, str]] = {
    "light": {},
    "dark": {plot.INK: "#e6e9ef", plot.GREY: "#a3adbd", plot.FAINT: "#7d8797", plot.MESH: "#333a46",
             plot.BLUES[0]: "#b9d8f7", plot.BLUES[1]: "#66a9ef", plot.BLUES[2]: "#3d7fd0", plot.ORANGE: "#f08c3a"},
}


def is_drawable(loss: anglos.Loss[...]) -> bool:
    """Whether it puts anything in place of a cosine."""
    return target._is_drawable(target._row(loss, {**target._arrays(loss), **loss.defaults}))


def draw(folder: Path) -> None:
    """Every curve, in every theme."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"svg.hashsalt": "anglos", "savefig.facecolor": "none", "axes.facecolor": "none",
                "figure.facecolor": "none"}
    for loss in filter(is_drawable, anglos.LOSSES.values()):
        shown: dict[str, Any] = {"past_pi": loss.defaults["past_pi"]} if "past_pi" in loss.defaults else {}
        with matplotlib.rc_context(settings):
            figure = plot.plot_target(loss.name, **shown)
            figure.patch.set_alpha(0.0)
            figure.savefig(folder / f"{loss.name}-light.svg", metadata={"Date": None})
        text = (folder / f"{loss.name}-light.svg").read_text()
        text = re.sub("|".join(THEMES["dark"]), lambda light: THEMES["dark"][light[0]], text)
        (folder / f"{loss.name}-dark.svg").write_text(text)
