"""The pictures of the page, from the records."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from anglos.tools.study.cells import Record
from anglos.tools.study.glyphs import STYLES, train_and_test
from anglos.tools.study.intervals import draws, of_draws
from anglos.tools.study.recipes import MAIN, PAIRS
from anglos.tools.study.tables import curves, estimate, whole

_INK, _GREY, _BLUE, _ORANGE, _GREEN = "#1b2433", "#6b7688", "#1e6fd0", "#e07b16", "#2b8a5a"


def draw(records: list[Record], folder: Path) -> list[Path]:
    """Those for which there are records, as SVG."""
    paths = []
    with matplotlib.rc_context({"svg.hashsalt": "anglos", "font.size": 9, "axes.spines.top": False,
                                "axes.spines.right": False}):
        for name, picture in PICTURES.items():
            figure = picture(records)
            if figure is not None:
                paths.append(folder / f"study-{name}.svg")
                figure.savefig(paths[-1], metadata={"Date": None}, bbox_inches="tight")
    return paths


def _losses(records: list[Record]) -> Figure | None:
    """Every loss by its EER: a thick line over seeds, a thin one over other characters too."""
    found = whole(records)
    if not found:
        return None
    order = sorted(found, key=lambda loss: -estimate(found[loss], "eer").mean)
    of = draws(found)
    figure = Figure(figsize=(7, 0.9 + 0.22 * len(order)))
    axes = figure.add_subplot()
    for place, loss in enumerate(order):
        seeds = estimate(found[loss], "eer")
        everything = of_draws(seeds.mean, of[loss])
        colour = _GREEN if loss in PAIRS else _ORANGE if loss in MAIN else _BLUE
        for one, width in ((everything, 1), (seeds, 4)):
            axes.plot([100 * one.low, 100 * one.high], [place] * 2, color=colour, linewidth=width,
                      solid_capstyle="butt")
        axes.plot(100 * seeds.mean, place, "o", color=colour, markersize=5)
    axes.set_yticks(range(len(order)), order)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.set_xscale("log")  # most losses are close to each other, and a few far away
    low, high = axes.get_xlim()
    ticks = [tick for tick in (0.5, 1, 2, 3, 5, 10, 20, 50) if low <= tick <= high]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("EER in % on characters that were not learnt; thick: 95 % over seeds, thin: over characters too")
    for colour, text in ((_ORANGE, "the question"), (_BLUE, "prototypes"), (_GREEN, "pairs of a batch")):
        axes.plot([], [], "o", color=colour, label=text)
    axes.legend(frameon=False, loc="best")
    axes.grid(axis="x", color=_GREY, alpha=0.25, linewidth=0.6)
    return figure


def _libraries(records: list[Record]) -> Figure | None:
    """The loss of every step in each library, and how far apart they are."""
    found = curves(records)
    if not found:
        return None
    figure = Figure(figsize=(8, 4.6))
    grid = figure.subplots(2, len(found), squeeze=False, sharex=True)
    for (loss, many), above, below in zip(found.items(), *grid, strict=True):
        base = np.asarray(many["numpy"]["curve"])
        for (library, one), colour, style in zip(many.items(), (_INK, _ORANGE, _BLUE), ("-", "--", ":"), strict=False):
            curve = np.asarray(one["curve"])
            above.plot(curve, style, color=colour, linewidth=1.6, label=library)
            if library != "numpy":
                below.semilogy(np.maximum(np.abs(curve / base - 1), 1e-8), color=colour, linewidth=0.8, label=library)
        above.set_title(loss)
        above.legend(frameon=False)
        below.set_xlabel("step")
    grid[0, 0].set_ylabel("loss")
    grid[1, 0].set_ylabel("relative difference\nfrom NumPy's")
    figure.tight_layout()
    return figure


def _glyphs(records: list[Record]) -> Figure | None:
    """What is learnt and verified: some characters in every style."""
    _, test = train_and_test()
    chosen = np.random.default_rng(1).permutation(test.labels.max() + 1)[:16]
    by_character = test.images.reshape(-1, len(STYLES), *test.images.shape[1:])
    rows = [np.concatenate([*np.concatenate(by_character[[*pair]])], axis=1) for pair in chosen.reshape(-1, 2)]
    figure = Figure(figsize=(8, 8 * len(rows) / (2 * len(STYLES))))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(255 - np.concatenate(rows), cmap="gray", vmin=0, vmax=255)
    axes.axis("off")
    return figure


PICTURES: dict[str, Callable[[list[Record]], Figure | None]] = {
    "glyphs": _glyphs, "losses": _losses, "libraries": _libraries}
