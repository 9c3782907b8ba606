"""The picture of a margin: what a loss puts in place of cos θ, and its slope."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from anglos.arrays.dispatch import backend_of
from anglos.call.check import check_options, check_values
from anglos.call.loss import Loss
from anglos.engines.prototypes.row import Row, unchanged
from anglos.losses import LOSSES
from anglos.plot.style import BLUES, FAINT, GREY, INK, ORANGE, of_angles, plain

# Not 0° and 180°: there the direction is undefined and a loss has slope 0.
THETA = np.radians(np.arange(0.05, 180.0, 0.1))


class _Line(NamedTuple):
    """φ or η over THETA, and its slope in θ as the gradient has it."""

    label: str
    value: NDArray[np.float64]
    slope: NDArray[np.float64]


def plot_target(loss: str | Loss[...], /, *, length: float | Sequence[float] | None = None, **options: Any) -> Figure:
    """Draw φ(θ), what a loss puts in place of cos θ for the label's class, and below it its slope dφ/dθ.

    A loss with the option `past_pi` is drawn for every choice, side by side, unless one is given. If the cosines of the
    other classes are replaced too, by a function of θ alone, that is η. Grey is cos θ itself.

    Parameters
    ----------
    loss : a loss of anglos, or its name
        One with a φ other than cos θ.
    length : number above 0, or up to three, optional
        Lengths of the embedding, one line each, for a loss whose φ depends on it. By default for `magface` the ends
        and the middle of `norm_range`, for `adaface` those where ẑ is −1, 0 and 1.
    **options
        Those of the loss, with its defaults. For `adaface` without a state the mean length is 20 and the standard
        deviation 5.

    Returns
    -------
    matplotlib.figure.Figure
        With two rows of axes: φ above its slope. `figure.savefig("arcface.png")` saves it.

    Raises
    ------
    TypeError, ValueError
        For an option, as the loss does; for a loss that cannot be drawn, with those that can.

    Notes
    -----
    The slope is the one in the loss's gradient: with gradient="straight_through", and in `circle_softmax` and
    `sface`, that is not the derivative of the value. For `sphereface2` the lines are g(φ) and g(η), with its margin.

    Examples
    --------
    At 60°: φ = cos 60° − 0.2, with the slope −sin 60°.

    >>> import numpy as np
    >>> figure = plot_target("cosface", margin=0.2)
    >>> phi, slope = ({line.get_label(): line for line in axes.lines}["φ"].get_data() for axes in figure.axes)
    >>> round(float(np.interp(60.0, *phi)), 3), round(float(np.interp(60.0, *slope)), 3)
    (0.3, -0.866)
    """
    if not isinstance(loss, Loss):
        loss = LOSSES.get(str(loss)) or _refuse_loss(repr(loss))
    values = _checked(loss, options)
    lengths = _lengths(loss, values, length)
    row = _row(loss, values)
    if not _is_drawable(row):
        _refuse_loss(f"{loss.name}, which puts nothing in place of an embedding's cos θ")
    columns, turns = {"": _lines(row, lengths)}, [math.nan] * len(lengths)
    if "past_pi" in values:
        every = {choice: _lines(_row(loss, {**values, "past_pi": choice}), lengths)
                 for choice in loss.kinds["past_pi"].choices}
        turns = [_first_difference(*pair) for pair in zip(every["reflect"], every["clamp"], strict=True)]
        differ = (not np.array_equal(line.value, other.value)
                  for lines in every.values() for line, other in zip(lines, every["clamp"], strict=True))
        if "past_pi" not in options and any(differ):
            columns = every
    angle = "m₁θ + m₂ = π" if "m1" in values else "θ + m = π"
    return _draw(_spell(loss, row, values, options), loss.formula, columns, turns, angle)


def _checked(loss: Loss[...], options: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of the loss; options that are arrays become numbers."""
    check_options(loss.name, loss.kinds, loss.arrays, options, loss.defaults)
    arrays = _arrays(loss)
    checked = check_values(loss.name, loss.kinds, {**arrays, **loss.defaults, **options})
    numbers = {name: float(checked.arrays[name].item()) for name in options if name in checked.arrays}
    return {**checked.static, **arrays, **numbers}


def _arrays(loss: Loss[...]) -> dict[str, Any]:
    """The arrays that the loss takes, as small as can be."""
    return {name: np.ones([2 if letter == "C" else 1 for letter in loss.kinds[name].shapes[0].split()],
                          np.int64 if loss.kinds[name].dtype == "integral" else np.float64) for name in loss.arrays}


def _row(loss: Loss[...], values: Mapping[str, Any]) -> Any:
    return loss.row(*(values[name] for name in loss.arrays), **{name: values[name] for name in loss.defaults})


def _is_drawable(row: Any) -> bool:
    return isinstance(row, Row) and (row.target is not unchanged or row.rest is not None)


def _refuse_loss(was: str) -> NoReturn:
    names = (name for name, loss in LOSSES.items() if _is_drawable(_row(loss, {**_arrays(loss), **loss.defaults})))
    raise ValueError(f"plot_target: loss was {was}; wanted one of {', '.join(names)}")


def _lengths(loss: Loss[...], values: dict[str, Any], given: float | Sequence[float] | None) -> list[float]:
    """Lengths of the embedding, and with them AdaFace's state, which a training takes from its batches."""
    lengths = [1.0]
    if "norm_range" in values:
        shortest, longest = values["norm_range"]
        lengths = [shortest, (shortest + longest) / 2, longest]
    elif "norm_mean" in values:
        mean, std = values["norm_mean"] or 20.0, values["norm_std"] or 5.0
        values |= {"norm_mean": mean, "norm_std": std}
        spread = std / values["h"] if values["h"] else 0.0
        lengths = sorted({min(max(float(f"{mean + z * spread:.2g}"), 0.001), 100.0) for z in (-1, 0, 1)})
    elif given is not None:
        raise ValueError(f"plot_target: length was given; wanted none, as φ of {loss.name} does not depend on it")
    if given is not None:
        lengths = list(np.atleast_1d(given).tolist())
    if not 1 <= len(lengths) <= 3 or not all(isinstance(one, (int, float)) and 0 < one < math.inf for one in lengths):
        raise ValueError(f"plot_target: length was {given}; wanted a number above 0, or up to three")
    return lengths


def _lines(row: Row, lengths: list[float]) -> list[_Line]:
    """φ for each of the lengths, and η if it is a function of θ alone."""
    cos, sin = np.cos(THETA), np.sin(THETA)
    backend: Any = backend_of(cos)
    labels = ["φ"] if len(lengths) == 1 else [f"φ, |x| = {length:g}" for length in lengths]
    with np.errstate(all="ignore"):  # as around a call
        curves = [row.target(backend, cos, np.full_like(cos, length)) for length in lengths]
        if row.rest is not None and row.statistic is None and row.nearest is None:
            labels, curves = [*labels, "η, other classes"], [*curves, row.rest(backend, cos, None)]
    return [_Line(label, np.broadcast_to(curve.value, cos.shape), -sin * (1.0 if row.straight_through else curve.slope))
            for label, curve in zip(labels, curves, strict=True)]


def _first_difference(one: _Line, other: _Line) -> float:
    """The angle, in degrees, from which two lines are no longer the same."""
    apart = np.flatnonzero(one.value != other.value)
    return float(np.degrees(THETA[apart[0]])) if len(apart) else math.nan


def _spell(loss: Loss[...], row: Row, values: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """The call: the numbers that may enter φ, and all that was given."""
    settled, parts = getattr(row.target, "keywords", {}), []
    for name in (name for name in loss.defaults if name not in row.names):
        value = settled.get(name) if values[name] is None else values[name]
        if name in given or (isinstance(value, (float, tuple)) and value):
            parts.append(f"{name}={value:g}" if isinstance(value, float) else f"{name}={value!r}".replace("'", '"'))
    return f"{loss.name}({', '.join(parts)})"


def _draw(title: str, formula: str, columns: Mapping[str, list[_Line]], turns: list[float], angle: str) -> Figure:
    # In inches, as the text is.
    width, panel, above = (11.0, 1.75, 1.42) if len(columns) > 1 else (7.0, 2.3, 1.2)
    title = textwrap.fill(title, int(9 * width), subsequent_indent="    ")
    lower = 0.21 * title.count("\n")
    height = above + lower + 2 * panel + 0.85
    figure = Figure(figsize=(width, height), dpi=160, facecolor="white")
    grid = figure.subplots(2, len(columns), sharex=True, sharey="row", squeeze=False, gridspec_kw={
        "left": 0.8 / width, "right": 1 - 0.25 / width, "bottom": 0.65 / height, "top": 1 - (above + lower) / height,
        "hspace": 0.2 / panel, "wspace": 0.14})
    for pair, (choice, lines) in zip(grid.T, columns.items(), strict=True):
        _curves(pair[0], [(line, line.value) for line in lines], np.cos(THETA), turns, angle)
        _curves(pair[1], [(line, line.slope) for line in lines], -np.sin(THETA), turns, angle)
        if choice:
            pair[0].set_title(f'past_pi="{choice}"', size=9.5, color=INK, family="monospace", pad=8)
    alone = lines[-1].label[0] == "φ"
    exact = all(_is_derivative(line) for column in columns.values() for line in column)
    slope = ("slope dφ/dθ" if alone else "slope in θ") if exact else "slope in the gradient"
    for axes, label in zip(grid[:, 0], ("φ(θ)" if alone else "φ(θ), η(θ)", slope), strict=True):
        axes.set_ylabel(label, color=INK, size=11)
    figure.align_ylabels(grid[:, 0])
    figure.supxlabel("angle θ between embedding and prototype", color=INK, size=11, y=0.12 / height)
    left, top = 0.2 / width, height - lower
    figure.text(left, 1 - 0.2 / height, title, size=13, weight="bold", family="monospace", color=INK, va="top")
    figure.text(left, (top - 0.51) / height, formula, size=10.5, color=GREY, va="top")
    handles = {line.get_label(): line for line in grid[0, 0].lines}
    figure.legend(handles=list(handles.values()), loc="upper left", ncols=6, frameon=False, fontsize=10.5, borderpad=0,
                  bbox_to_anchor=(left, (top - 0.83) / height), borderaxespad=0, columnspacing=1.5, labelcolor=INK)
    return figure


def _curves(axes: Axes, curves: list[tuple[_Line, Any]], reference: Any, turns: list[float], angle: str) -> None:
    """One panel."""
    colours = [*(BLUES[1:2] if len(turns) == 1 else BLUES[:len(turns)]), ORANGE]
    axes.plot(np.degrees(THETA), reference, color=FAINT, linewidth=1.0, label="cos θ")
    for (line, heights), colour in zip(curves, colours, strict=False):
        axes.plot(*_broken(heights), color=colour, linewidth=1.9, label=line.label, zorder=3,
                  linestyle=(0, (5, 1.5)) if line.label[0] == "η" else "-")
    for turn, colour in zip(turns, colours, strict=False):
        if not math.isnan(turn):
            axes.axvline(turn, color=GREY if len(turns) == 1 else colour, linewidth=0.9, linestyle=(0, (4, 3)),
                         label=angle)
    of_angles(axes)
    plain(axes)


def _broken(heights: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A line in degrees, with a gap where it jumps."""
    steps = np.abs(np.diff(heights, prepend=heights[0], append=heights[-1]))
    jumps = 1 + np.flatnonzero(steps[1:-1] > 5 * (steps[:-2] + steps[2:]) + 0.005)
    return np.insert(np.degrees(THETA), jumps, math.nan), np.insert(heights, jumps, math.nan)


def _is_derivative(line: _Line) -> bool:
    """Whether the slope is that of the value, except at jumps."""
    error = np.quantile(np.abs(np.gradient(line.value, THETA) - line.slope), 0.95)
    return bool(error < 0.01 * max(1.0, np.abs(line.slope).max()))
