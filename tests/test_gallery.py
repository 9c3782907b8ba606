"""Every page of the gallery runs, draws, and computes what its words say."""

import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from anglos import define

SCRIPTS = Path(__file__).parents[1] / "docs" / "examples" / "gallery"
Page = dict[str, Any]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Of a page's name, what the script leaves behind, and how many figures."""
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(plt, "show", lambda: None)
    plt.close("all")

    def page(name: str) -> tuple[Page, int]:
        found = runpy.run_path(str(SCRIPTS / f"{name}.py"))
        return found, len(plt.get_fignums())

    yield page
    plt.close("all")


def margins_compared(page: Page) -> None:
    phi, slope, theta = page["phi"], page["slope"], np.degrees(page["theta"])
    softmax, cosface, arcface, sphereface = phi
    np.testing.assert_allclose(phi[softmax], np.cos(page["theta"]), atol=1e-6)
    np.testing.assert_allclose(slope[cosface], slope[softmax], atol=1e-6)
    assert -slope[arcface][1] == pytest.approx(np.sin(0.5), abs=0.02)
    assert np.all(np.abs(slope[sphereface][theta > 121]) < 1e-6)
    assert all(np.all(values <= phi[softmax] + 1e-6) for values in phi.values())
    assert theta[np.argmin(np.abs(slope[arcface]))] == pytest.approx(180 - np.degrees(0.5), abs=1)


def gradient_field(page: Page) -> None:
    plain, cosface, arcface = page["turn"].values()
    degrees = np.degrees(page["angle"])
    inside, wrong = (degrees > 10) & (degrees < 50), (degrees > 77) & (degrees < 100)
    assert np.all(-cosface[inside] > -plain[inside])
    assert np.all(-arcface[inside] > -plain[inside])
    for other in (cosface, arcface):
        assert np.all(-other[wrong] <= -plain[wrong] + 0.01)


def scale(page: Page) -> None:
    for count in page["CLASSES"]:
        suggested = page["anglos"].suggest_scale(count, 0.9)
        assert page["reached"](count, suggested) == pytest.approx(0.9, abs=1e-9)
    assert 20 < page["suggested"][0.99][-1] < 21


def beyond_pi(page: Page) -> None:
    theta, loss, pull = page["theta"], page["loss"], page["pull"]
    late, early = theta > np.pi - 0.49, theta < np.pi - 0.51
    assert {name for name, falls in page["falls"].items() if falls} == {"reflect", "easy"}
    for name in set(page["CHOICES"]) - {"easy"}:
        np.testing.assert_allclose(loss[name][early], loss["smooth"][early])
    assert np.all(pull["reflect"][late] < 0)
    assert np.all(pull["clamp"][late] == 0)
    assert all(np.all(pull[name][late] > 0) for name in ("smooth", "linear", "shifted"))


def digits_on_a_circle(page: Page) -> None:
    plain, margin = page["spreads"].values()
    assert np.mean(margin) < np.mean(plain)
    assert np.mean(plain) < 30


def verification(page: Page) -> None:
    trained, new = ([np.mean(rates) for (group, _), rates in page["eer"].items() if group == title]
                    for title in ("classes of the training", "new classes"))
    assert trained == sorted(trained, reverse=True)  # pixels, without a margin, with one
    assert trained[2] < trained[1] / 2 < trained[0] / 4
    assert new == sorted(new)


def mining(page: Page) -> None:
    gaps, margin = page["gaps"], page["MARGIN"]
    assert np.mean(gaps["all"] > margin) > 0.5
    assert np.all((gaps["semi_hard"] > 0) & (gaps["semi_hard"] < margin))
    assert np.median(gaps["batch_hard"]) < 0
    assert page["radius"] < np.linalg.norm(
        page["points"][page["one_semi"][2]] - page["points"][page["anchor"]]) < page["radius"] + margin


def temperature(page: Page) -> None:
    shares = [page["share"][each][99] for each in page["TEMPERATURES"]]
    assert shares == sorted(shares)
    assert shares[0] < 0.1
    assert shares[-1] > 0.9


def lengths(page: Page) -> None:
    cost, ends = page["cost"], page["lengths"]["AdaFace"]
    mean = np.argmin(np.abs(ends - 20.0))
    for degrees in page["ANGLES"]:
        assert np.all(np.diff(cost["MagFace", degrees]) > -1e-9)
        assert cost["AdaFace", degrees][mean] == pytest.approx(0.4, abs=0.01)
    short, long = ([cost["AdaFace", degrees][end] for degrees in page["ANGLES"]] for end in (0, -1))
    assert short == sorted(short)
    assert long == sorted(long, reverse=True)
    best = page["best"]
    assert best[19] == 110.0
    assert best[69] < 15.0


def own_loss(page: Page) -> None:
    degrees, pull = np.degrees(page["angle"]), page["pull"]
    softmax, arcface, ours, more = pull.values()
    assert ours.min() >= 0
    assert more.min() >= 0
    below = (degrees > 5) & (degrees < 60)
    assert np.all(ours[below] < arcface[below])
    end = degrees > 150
    assert np.all((more[end] < ours[end]) & (ours[end] < softmax[end]))
    assert float(page["d_m"]) > 0


CLAIMS: dict[str, tuple[int, Callable[[Page], None]]] = {
    "margins_compared": (1, margins_compared), "gradient_field": (2, gradient_field), "scale": (1, scale),
    "digits_on_a_circle": (1, digits_on_a_circle), "verification": (1, verification), "mining": (2, mining),
    "temperature": (1, temperature), "lengths": (2, lengths), "beyond_pi": (1, beyond_pi), "own_loss": (1, own_loss),
}


TRAININGS = ("digits_on_a_circle", "verification")


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if name in TRAININGS else name for name in CLAIMS])
def test_page_shows_what_it_says(name: str, run: Any) -> None:
    figures, claim = CLAIMS[name]
    page, drawn = run(name)
    assert drawn == figures
    claim(page)


def test_every_page_is_in_the_gallery_and_has_its_claim(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS.parents[1] / "_ext")
    from gallery import PAGES  # type: ignore[import-not-found]

    sys.modules.pop("gallery")
    assert {path.stem for path in SCRIPTS.glob("*.py")} == set(PAGES) == set(CLAIMS)


@pytest.mark.slow
def test_the_margin_of_ones_own_is_right(run: Any) -> None:
    define.check(run("own_loss")[0]["sine_margin"])
