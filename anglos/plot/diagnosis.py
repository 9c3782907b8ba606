"""The picture of what a head does to a batch."""

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from anglos.call.kinds import describe, refuse
from anglos.evaluate.given import to_numpy
from anglos.plot.style import BLUES, FAINT, GREY, INK, ORANGE, of_angles, plain
from anglos.training.findings import Diagnosis

_DEGREES = np.arange(0.0, 181.0, 5.0)
_PROBABILITIES = np.linspace(0.0, 1.0, 41)


def plot_diagnosis(*found: Diagnosis) -> Figure:
    """Draw what `anglos.diagnose` found: angles, probabilities and gradients of the samples, and the advice.

    Several are drawn one below the other: a training at its start and later, or before a change and after it.

    Parameters
    ----------
    *found : Diagnosis
        What `anglos.diagnose` returned, of any library; at least one.

    Returns
    -------
    matplotlib.figure.Figure
        With three axes for each: how many samples are at which angle to their label's prototype and to the nearest
        other; how many have which probability of the label, with its ceiling; and of every sample the gradient, over
        the scale, by its angle. The second is empty for a loss without probabilities.

    Raises
    ------
    TypeError
        If there is none, or something else.

    Examples
    --------
    >>> import anglos, numpy as np
    >>> x = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> figure = plot_diagnosis(anglos.diagnose(anglos.normface, x, x, np.asarray([0, 1]), scale=2.0))
    >>> [axes.get_xlabel() for axes in figure.axes]
    ['angle', 'probability of the label', "angle to the label's prototype"]
    """
    for one in found or (None,):
        if not isinstance(one, Diagnosis):
            refuse("plot_diagnosis", "found", TypeError, f"was {describe(one)}", "what anglos.diagnose returns")
    row, width = 3.4, 11.0
    figure = Figure(figsize=(width, row * len(found)), dpi=160, facecolor="white")
    grid = figure.subplots(len(found), 3, squeeze=False, gridspec_kw={
        "left": 0.06, "right": 0.985, "bottom": 0.5 / row / len(found), "top": 1 - 1.15 / row / len(found),
        "hspace": 1.1, "wspace": 0.3})
    for one, (angles, probabilities, gradients) in zip(found, grid, strict=True):
        _draw_angles(angles, one)
        _draw_probabilities(probabilities, one)
        _draw_gradients(gradients, one)
    return figure


def _numbers(array: object) -> np.ndarray:
    """Of the samples that count."""
    numbers = to_numpy(array).astype(np.float64)
    return numbers[~np.isnan(numbers)]


def _draw_angles(axes: Axes, found: Diagnosis) -> None:
    for array, colour, label in ((found.label_angles, BLUES[1], "to the label's prototype"),
                                 (found.other_angles, ORANGE, "to the nearest other")):
        axes.hist(_numbers(array), bins=_DEGREES.tolist(), color=colour, alpha=0.65, label=label)
    axes.axvline(90.0, color=FAINT, linewidth=0.9, linestyle=(0, (4, 3)))
    of_angles(axes)
    _finish(axes, "angle", "samples")
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper center")
    axes.set_ylim(top=1.35 * axes.get_ylim()[1])
    title = found.loss if found.advice.rule == "none" else f"{found.loss}: {found.advice.rule}"
    axes.set_title(title, loc="left", size=13, weight="bold", color=INK, pad=60)
    axes.annotate(textwrap.fill(found.advice.text, 155), (0, 1), (0, 54), xycoords="axes fraction", size=9, color=GREY,
                  textcoords="offset points", va="top")


def _draw_probabilities(axes: Axes, found: Diagnosis) -> None:
    if found.label_probabilities is None:
        axes.set_axis_off()
        return
    axes.hist(_numbers(found.label_probabilities), bins=_PROBABILITIES.tolist(), color=BLUES[1], alpha=0.65)
    if found.ceiling is not None:
        axes.axvline(found.ceiling, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label="its ceiling")
        axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper center")
    axes.set_xlim(-0.01, 1.01)
    _finish(axes, "probability of the label", "samples")


def _draw_gradients(axes: Axes, found: Diagnosis) -> None:
    axes.scatter(_numbers(found.label_angles), _numbers(found.gradients), s=6, color=BLUES[1], alpha=0.5, linewidths=0)
    of_angles(axes)
    axes.set_ylim(bottom=0.0)
    _finish(axes, "angle to the label's prototype", "gradient / scale")


def _finish(axes: Axes, below: str, beside: str) -> None:
    axes.set_xlabel(below, color=INK, size=10)
    axes.set_ylabel(beside, color=INK, size=10)
    plain(axes)
