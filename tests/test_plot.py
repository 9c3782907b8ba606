"""`anglos.plot`: what is drawn is what the losses do, for all that can be drawn, and the rest is refused."""

import doctest
import re
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

import anglos
import anglos.plot.diagnosis
import anglos.plot.target
from anglos import LOSSES, Loss
from anglos.__main__ import main
from anglos.plot import BLUES, plot_diagnosis, plot_target

# With these the loss of a sample at 90° to the other class is log(1 + exp(η(90°) − φ)), whatever else is in it.
BARE: dict[str, dict[str, Any]] = {
    "adaface": {"norm_mean": 20.0, "norm_std": 5.0},
    "arcnegface": {"alpha": 1.0, "sigma": 1e300},
    "angular_triplet": {"semi_hard": False, "margin": 2.0},
    "inter_topk": {"penalty": 0.0},
    "magface": {"regularizer": 0.0},
    "mv_softmax": {"t": 0.0},
    "sphereface2": {"bias": 0.0, "balance": 1.0},
    "uniface": {"bias": 0.0, "negative_weight": 0.0},
}
# Whose gradient is not that of the value.
INEXACT: list[dict[str, Any]] = [
    {"gradient": "straight_through"}, {"gradient": "paper", "variant": "A"}, {"gradient": "paper", "variant": "M"},
]


def drawable() -> list[str]:
    with pytest.raises(ValueError, match="wanted one of") as refused:
        plot_target("normface")
    return str(refused.value).partition("wanted one of ")[2].split(", ")


def variants(loss: Loss[...]) -> list[dict[str, Any]]:
    """Every choice of every option that has some, except those that stand side by side."""
    bare = {**BARE.get(loss.name, {}), **({"scale": 1.0} if "scale" in loss.defaults else {})}
    choices = [{name: choice} for name, kind in loss.kinds.items() if name not in ("past_pi", "reduction", *bare)
               for choice in getattr(kind, "choices", ()) if choice != loss.defaults[name]]
    exact = [{**choice, "gradient": "exact"} for choice in choices if loss.name == "sphereface2"]
    return [{**bare, **choice} for choice in ({}, *choices, *exact)]


def lines(axes: Axes, start: str) -> dict[str, Any]:
    """What is drawn under labels that start so: angles in degrees and heights, with gaps."""
    return {str(line.get_label()): np.asarray(line.get_data()) for line in axes.lines
            if str(line.get_label()).startswith(start)}


def measured(loss: Loss[...], degrees: Any, length: float, **options: Any) -> tuple[Any, Any]:
    """φ − η(90°) and its slope in θ, from the value and the gradient of the loss itself."""
    theta, zero = np.radians(degrees), np.zeros(len(degrees))
    embeddings = length * np.stack([np.cos(theta), np.sin(theta), zero], axis=1)
    away = length * np.stack([-np.sin(theta), np.cos(theta), zero], axis=1)
    prototypes = np.eye(3)[[0, 2]]
    if "K" in loss.kinds[loss.arrays[1]].shapes[0]:
        prototypes = prototypes[:, None]
    value, (gradient,) = loss.value_and_grad(embeddings, prototypes, np.zeros(len(theta), np.int64),
                                             wrt=("embeddings",), reduction="none", **options)
    if loss.name == "sface":  # no softmax: the difference itself
        return -value, -np.sum(gradient * away, axis=1)
    return -np.log(np.expm1(value)), np.sum(gradient * away, axis=1) / np.expm1(-value)


@pytest.mark.parametrize("name", drawable())
def test_drawn_is_what_the_loss_does(name: str) -> None:
    """Value and slope; the slope is the derivative of the value, or the axis says that it is not."""
    loss = LOSSES[name]
    for options in variants(loss):
        with np.errstate(all="raise"):
            figure = plot_target(name, **options)
        panels = columns(figure)
        given = {**loss.defaults, **options}
        inexact = name in ("circle_softmax", "sface") or any(case.items() <= given.items() for case in INEXACT)
        if "cos θ − m" not in loss.formula or "η" in loss.formula:  # there the slope is that of cos θ anyway
            assert (panels[0][1].get_ylabel() == "slope in the gradient") == inexact
        for upper, lower in panels:
            chosen = re.findall('past_pi="(.*)"', upper.get_title())
            variant = {**options, **({"past_pi": chosen[0]} if chosen else {})}
            others = [np.interp(90.0, *line) for line in lines(upper, "η").values()] if name != "sphereface2" else []
            assert lines(upper, "φ")
            for label, drawn in {**lines(upper, "φ"), **lines(upper, "η")}.items():
                below = lines(lower, label)[label]
                (degrees, value), (at, slope) = (line[:, np.isfinite(line[1])] for line in (drawn, below))
                assert len(degrees) == len(at) == 1800
                error = np.abs(np.gradient(value, np.radians(degrees)) - slope)
                assert inexact or np.quantile(error, 0.99) < 1e-3, (variant, label)
                if label[0] == "φ":
                    length = float(label.partition("|x| = ")[2] or 1.0)
                    expected = measured(loss, degrees[::7], length, **variant)
                    np.testing.assert_allclose(value[::7] - sum(others), expected[0], rtol=0, atol=1e-6)
                    np.testing.assert_allclose(slope[::7], expected[1], rtol=0, atol=1e-6)


def columns(figure: Figure) -> list[tuple[Axes, Axes]]:
    half = len(figure.axes) // 2
    return list(zip(figure.axes[:half], figure.axes[half:], strict=True))


def test_all_ways_past_pi_stand_side_by_side() -> None:
    figure = plot_target(anglos.arcface, margin=0.5)
    titles = [upper.get_title() for upper, _ in columns(figure)]
    assert titles == [f'past_pi="{choice}"' for choice in anglos.arcface.kinds["past_pi"].choices]
    assert len({lines(upper, "φ")["φ"][1].tobytes() for upper, _ in columns(figure)}) == len(titles)
    for upper, lower in columns(figure):
        for axes, height in ((upper, 0.5), (lower, -np.sin(np.pi / 3))):
            assert lines(axes, "θ + m = π")["θ + m = π"][0] == pytest.approx(180 - np.degrees(0.5), abs=0.1)
            assert np.interp(60.0, *lines(axes, "cos θ")["cos θ"]) == pytest.approx(height, abs=1e-6)
    gaps = [int(np.isnan(lines(upper, "φ")["φ"][1]).sum()) for upper, _ in columns(figure)]
    assert gaps == [0, 1, 0, 0, 0, 1]  # "linear" and "easy" jump


@pytest.mark.parametrize(("name", "options", "count"), [
    ("arcface", {"past_pi": "easy"}, 1), ("mv_softmax", {}, 1), ("mv_softmax", {"kind": "arc"}, 6), ("cosface", {}, 1),
    ("sphereface_r", {"variant": "v2"}, 1), ("arcface", {"margin": np.asarray(0.0)}, 1),
    ("combined_margin", {"m1": 0.5}, 6),
])
def test_as_many_columns_as_there_are_different_ones(name: str, options: dict[str, Any], count: int) -> None:
    figure = plot_target(name, **options)
    assert len(columns(figure)) == count
    figure.savefig(BytesIO(), dpi=30)


@pytest.mark.parametrize(("name", "options"), [
    ("arcface", {"margin": 28.6}), ("arcface", {"margn": 0.5}), ("arcface", {"past_pi": "keep"}),
    ("arcface", {"scale": 0.0}), ("magface", {"norm_range": (3.0, 2.0)}), ("cosface", {"margin": "0.2"}),
])
def test_options_are_refused_as_by_the_loss(name: str, options: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)) as expected:
        LOSSES[name](np.ones((1, 2)), np.ones((2, 2)), np.asarray([0]), **options)
    with pytest.raises(expected.type, match=f"^{re.escape(str(expected.value))}$"):
        plot_target(name, **options)


@pytest.mark.parametrize(("asked", "options", "message"), [
    ("arcfac", {}, "loss was 'arcfac'; wanted one of sphereface, "),
    (anglos.entropy, {}, "loss was entropy, which puts nothing in place of an embedding's cos θ; wanted one of "),
    ("arcface", {"length": 3.0}, "length was given; wanted none, as φ of arcface does not depend on it"),
    ("magface", {"length": [1, -1]}, "length was [1, -1]; wanted a number above 0, or up to three"),
])
def test_what_cannot_be_drawn_is_refused(asked: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^plot_target: {re.escape(message)}"):
        plot_target(asked, **options)


def test_command_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "magface.png"
    main(["plot", "magface", "--norm-range", "10,50", "--past_pi=clamp", "--length", "20,30,40", "--out", str(out)])
    assert capsys.readouterr().out == f"The picture is in {out}\n"
    image = imread(out)[..., :3]
    for colour in BLUES:
        assert (np.abs(image - to_rgb(colour)).max(axis=-1) < 1 / 255).sum() > 400


@pytest.mark.parametrize(("arguments", "message"), [
    ("arcface --margin 28.6", "argument --margin: was 28.6; wanted an angle in radians from 0 to 3.14159"),
    ("arcface --past-pi keep", "argument --past-pi/--past_pi: was 'keep'; wanted one of 'smooth', 'linear'"),
    ("arcface --margn 0.5", "plot arcface: error: unrecognized arguments: --margn 0.5"),
    ("arcfac", "plot: error: plot_target: loss was 'arcfac'; wanted one of sphereface, "),
    ("normface", "loss was normface, which puts nothing in place of an embedding's cos θ; wanted one of sph"),
    ("arcface --out no/such/folder.png", "argument --out: was 'no/such/folder.png'; wanted a file ending in .png, "),
])
def test_command_refuses(arguments: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["plot", *arguments.split()])
    assert message in capsys.readouterr().err


def test_command_without_matplotlib_is_one_line() -> None:
    code = "import sys; sys.modules['matplotlib'] = None; from anglos.__main__ import main; main(['plot', 'arcface'])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == ("anglos plot: matplotlib is not installed; pip install 'anglos[demo]', "
                            "or in a clone pip install -e '.[demo]'\n")


@pytest.mark.parametrize("module", [anglos.plot.target, anglos.plot.diagnosis])
def test_example(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0


def test_a_diagnosis_is_drawn_as_it_was_found() -> None:
    """A row for each: all samples that count, in the angles; every gradient; and a probability where there is one."""
    random = np.random.default_rng(0)
    w, labels = random.normal(size=(5, 8)), np.where(np.arange(60) < 7, -100, np.arange(60) % 5)
    x = w[labels.clip(0)] + random.normal(size=(60, 8))
    many = [anglos.diagnose(loss, x, w, labels, scale=4.0) for loss in (anglos.arcface, anglos.sface)]
    figure = plot_diagnosis(*many)
    assert len(figure.axes) == 6
    axes: Any
    for found, axes in zip(many, (figure.axes[:3], figure.axes[3:]), strict=True):
        angles, p, gradients = axes
        rule = found.advice.rule
        assert angles.get_title(loc="left") == found.loss + (f": {rule}" if rule != "none" else "")
        label, other = (np.asarray([bar.get_height() for bar in bars]) for bars in angles.containers)
        assert label.sum() == other.sum() == 53
        where = np.repeat(np.arange(2.5, 180.0, 5.0), label.astype(int))
        assert abs(where.mean() - found.label_angle) < 2.5
        assert sorted(gradients.collections[0].get_offsets().data.tolist()) == sorted(
            np.stack([found.label_angles, found.gradients], axis=1)[7:].tolist())
        if found.p_median is None:
            assert not p.axison
        else:
            assert sum(bar.get_height() for bar in p.containers[0]) == 53
            assert found.ceiling in p.lines[0].get_xdata()
    image = BytesIO()
    figure.savefig(image)
    assert imread(BytesIO(image.getvalue())).std() > 0.02


@pytest.mark.parametrize("given", [(), (anglos.arcface,)])
def test_what_is_no_diagnosis_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^plot_diagnosis: found was .*; wanted what anglos\.diagnose returns"):
        plot_diagnosis(*given)
