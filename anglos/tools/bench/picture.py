"""The picture of a series: time and memory against the number of classes. Needs matplotlib."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from anglos.plot import BLUES, FAINT, GREY, INK, MESH, ORANGE
from anglos.tools.bench.measure import Row
from anglos.tools.bench.report import Run, machine

_PEERS = ("#7a5fa8", "#2f9e77", "#b5497a")


def draw(run: Run, out: str) -> None:
    """Save it: a column for each library, time above memory."""
    width, height = max(7.0, 1 + 3.6 * len(run.libraries)), 7.4
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    grid = figure.subplots(2, len(run.libraries), sharex=True, sharey="row", squeeze=False, gridspec_kw={
        "left": 0.8 / width, "right": 1 - 0.2 / width, "bottom": 1.85 / height, "top": 1 - 1.15 / height,
        "hspace": 0.08, "wspace": 0.08})
    for (above, below), library in zip(grid.T, run.libraries, strict=True):
        rows = [row for row in run.rows if row.library == library]
        _lines(above, rows, "milliseconds")
        _lines(below, rows, "mebibytes")
        above.set_title(library, color=INK, size=11)
        below.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False, fontsize=8.5, labelcolor=INK)
    grid[0, 0].set_ylabel("ms, forward and backward", color=INK, size=10.5)
    grid[1, 0].set_ylabel("MiB beyond inputs and gradients", color=INK, size=10.5)
    figure.align_ylabels(grid[:, 0])
    figure.supxlabel("classes", color=INK, size=10.5, y=1.33 / height)
    problem, where = run.problem, machine(run.libraries)
    figure.text(0.2 / width, 1 - 0.2 / height, f"{problem.loss}: B = {problem.batch}, D = {problem.dimension}, "
                f"{problem.dtype}", size=13, weight="bold", color=INK, va="top")
    figure.text(0.2 / width, 1 - 0.52 / height, f"{where['processor']}; {where['date']}", size=9, color=GREY, va="top")
    figure.savefig(out)


def _lines(axes: Axes, rows: Sequence[Row], what: str) -> None:
    names = list(dict.fromkeys(row.row for row in rows))
    peers = iter(_PEERS)
    for name, colour in [(name, _colour(name) or next(peers)) for name in names]:
        points = [(row.classes, getattr(row, what)) for row in rows if row.row == name and getattr(row, what)]
        axes.plot([x for x, _ in points], [y for _, y in points], color=colour, label=name, linewidth=1.7,
                  marker="o", markersize=3.5)
    axes.set(xscale="log", yscale="log")
    low, high = axes.get_xlim()
    for axis, steps in ((axes.xaxis, (1.0,) if high > 300 * low else (1.0, 3.0)), (axes.yaxis, (1.0, 3.0))):
        axis.set_major_locator(LogLocator(subs=steps))
        axis.set_major_formatter(lambda value, _: f"{value:,.10g}")
        axis.set_minor_locator(NullLocator())
    axes.grid(color=MESH, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, labelsize=9, length=0, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def _colour(name: str) -> str | None:
    """The same in every library; None for a peer."""
    if not name.startswith("anglos."):
        return GREY if name[0].isdigit() else None
    return ORANGE if ".plain" in name else BLUES[0] if "recomputed" in name else BLUES[1]
