"""The margin explorer in a real Chromium: its numbers against the library's, its keys, its layout, its addresses."""

import json
import math
import re
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import CHROMIUM, Browser

import anglos
from anglos.define import unchanged

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "docs" / "_ext"))
import explorer  # type: ignore[import-not-found] # noqa: E402

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")

SHOWN: list[str] = [*explorer.shown()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("explorer")
    explorer.export(folder)
    return folder


def opened(browser: Browser, site: Path, address: str = "index.html", **window: Any) -> Browser:
    browser.errors.clear()
    browser.open(f"{site.as_uri()}/{address}", **window)
    browser.settle()
    assert browser.errors == []
    return browser


def verdict(browser: Browser, site: Path) -> dict[str, str]:
    found: dict[str, str] = opened(browser, site, "check.html").run("({...document.getElementById('verdict').dataset})")
    return found


def test_numbers_are_those_of_the_library(browser: Browser, site: Path) -> None:
    found = verdict(browser, site)
    assert found["first"] == ""
    assert found["wrong"] == "0"
    assert float(found["largest"]) < 1e-9
    numbers = json.loads((site / "values.js").read_text().removeprefix("const VALUES = ").removesuffix(";\n"))
    assert {scene["loss"] for scene in numbers["scenes"]} == set(SHOWN)
    assert int(found["compared"]) == len(numbers["scenes"]) * (3 + 5 * len(numbers["theta"])) + len(numbers["scales"])
    assert int(found["compared"]) > 25_000


@pytest.mark.parametrize(("right", "wrong"), [
    ("value: sign * cosT - 2 * passes", "value: sign * cosT - passes"),
    ("slope: sign * ratio", "slope: ratio"),
    ("Math.cos((Math.PI - shift) / factor) - 1, slope: 1", "Math.cos((Math.PI - shift) / factor) - 1, slope: 1.0001"),
    ("shift * Math.sin(shift)", "Math.sin(shift)"),
    ("/ (norm_std + 0.001)", "/ norm_std"),
    ("slope: o.t + 2 * cos", "slope: o.t + cos"),
    ("if (theta < penalty) return", "if (theta < 0) return"),
    ("Math.log(2 * odds) - logSum", "Math.log(odds) - logSum"),
    ("smoothing * (1 - 1 / classes)", "smoothing"),
    ("Math.log(10 * classes)", "Math.log(10 * classes - 1)"),
    ("((classes - 1) / classes) * Math.log", "Math.log"),
    ("gradient === \"straight_through\"", "gradient === \"straight\""),
])
def test_a_wrong_formula_is_found(browser: Browser, site: Path, tmp_path: Path, right: str, wrong: str) -> None:
    for path in site.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    formulas = (site / "losses.js").read_text()
    assert formulas.count(right) == 1
    (tmp_path / "losses.js").write_text(formulas.replace(right, wrong))
    assert int(verdict(browser, tmp_path)["wrong"]) > 0


def test_every_loss_with_a_margin_is_there(browser: Browser, site: Path) -> None:
    """All that put something in place of a cosine, except one that is another where a class has one prototype."""
    rows = {name: explorer._row(name, 2, loss.defaults) for name, loss in anglos.LOSSES.items()
            if loss.arrays == explorer.ARRAYS and loss.engine is anglos.arcface.engine}
    curved = {name for name, row in rows.items() if row.target is not unchanged or row.rest is not None}
    assert curved - set(SHOWN) == {"soft_triple"}
    assert opened(browser, site).run("Object.keys(ROWS).sort()") == sorted(SHOWN)
    listed = browser.run("[...document.getElementById('loss').options].map((one) => one.value)")
    assert listed == SHOWN


EXTREMES = """
(() => {
  const seen = [];
  for (const { name, options } of LOSSES) {
    const settings = [{}];
    for (const spec of options) {
      const ends = spec.type === "choice" ? spec.choices : spec.type === "pair" ? [[spec.low, spec.high]]
        : [spec.low, spec.high, ...spec.slider, ...spec.optional ? [null] : []];
      settings.push(...ends.map((end) => ({ [spec.name]: end })));
    }
    const numbers = options.filter(({ type }) => type === "number");
    settings.push(Object.fromEntries(numbers.map(({ name, high }) => [name, high])));
    settings.forEach((setting, i) => {
      state = { ...state, loss: name, options: { ...defaultsOf(options), ...setting },
        theta: [0, 180, 90, 37][i % 4], rival: [0, 180, 45][i % 3], classes: [2, 3, 1e7][i % 3],
        length: [0.001, 1000, 30][i % 3] };
      if (i === 0) buildControls();
      draw();
      const text = document.querySelector("main").innerHTML
        + [...document.querySelectorAll("input")].map((one) => `${one.value} ${one.getAttribute("aria-valuetext")}`);
      seen.push([name, setting, /NaN|Infinity|undefined/.exec(text)?.[0] ?? null,
        spellCall(state), toHash(state)]);
    });
  }
  return seen;
})()
"""


def test_extremes_are_finite(browser: Browser, site: Path) -> None:
    seen = opened(browser, site).run(EXTREMES)
    assert len(seen) > 300
    assert [one for one in seen if one[2] is not None] == []
    assert browser.errors == []


@pytest.mark.parametrize("name", SHOWN)
def test_its_call_in_python_gives_the_loss_that_it_shows(browser: Browser, site: Path, name: str) -> None:
    random, options = np.random.default_rng(len(name)), explorer.describe(name)["options"]
    given = {one["name"]: one["choices"][-1] if one["type"] == "choice" else explorer._draw(random, one, False)
             for one in options}
    hashed = "&".join(f"{key}={','.join(map(str, value)) if isinstance(value, tuple) else value}"
                      for key, value in {"loss": name, **given}.items())
    opened(browser, site, f"index.html#{hashed}&theta=35&rival=80&classes=12&length=16")
    assert browser.run("document.getElementById('notice').hidden")
    code = browser.run("document.getElementById('code').textContent")
    embeddings, weights, labels = explorer._arrays(name, np.radians([35.0]), math.radians(80.0), 12, 16.0)
    loss = eval(code, {"anglos": anglos, "embeddings": embeddings, "weights": weights, "labels": labels})
    shown = browser.run("scene(rowOf(state.loss, state.options, 16, 12), 35 * DEGREE, 80 * DEGREE, 12).value")
    assert float(loss) == pytest.approx(shown, rel=1e-9)
    text = browser.run("[...document.querySelectorAll('dt')].find((one) => one.textContent === 'Loss ℓ')"
                       ".nextSibling.textContent")
    assert text == browser.run(f"spell({float(loss)!r})")


def test_all_is_reached_by_keys(browser: Browser, site: Path) -> None:
    """In the order of the page, each with a name and a focus that is seen."""
    opened(browser, site, "index.html#loss=sphereface2")
    wanted = browser.run("[...document.querySelectorAll('a, select, input, button, [tabindex=\"0\"]')]"
                         ".filter((one) => one.getClientRects().length && !one.disabled).length")
    reached = []
    for _ in range(wanted):
        browser.press("Tab")
        reached.append(browser.run("""(() => {
            const one = document.activeElement, style = getComputedStyle(one);
            const grip = one.querySelector?.('.grip');
            const seen = grip ? getComputedStyle(grip).stroke !== 'none'
              : style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 1;
            const elements = [...document.querySelectorAll('*')];
            return { at: elements.indexOf(one), seen, what: one.outerHTML.slice(0, 80) };
        })()"""))
    assert len({one["at"] for one in reached}) == wanted
    assert [one["at"] for one in reached] == sorted(one["at"] for one in reached)
    assert [one["what"] for one in reached if not one["seen"]] == []
    nodes = browser.send("Accessibility.getFullAXTree")["nodes"]
    focusable = [node for node in nodes if not node.get("ignored") and any(
        one["name"] == "focusable" and one["value"]["value"] for one in node.get("properties", []))]
    assert len(focusable) > wanted
    assert [node for node in focusable if not node.get("name", {}).get("value")] == []


def test_keys_move_the_embedding_and_the_sliders(browser: Browser, site: Path) -> None:
    opened(browser, site)
    browser.run("document.querySelector('.handle.embedding').focus()")
    for key, theta in (("ArrowRight", 41), ("ArrowUp", 42), ("ArrowLeft", 41), ("PageUp", 51), ("Home", 0),
                       ("ArrowDown", 0), ("End", 180), ("PageDown", 170)):
        browser.press(key)
        browser.settle()
        assert browser.run("[state.theta, Number(document.activeElement.getAttribute('aria-valuenow')), "
                           "Number(document.getElementById('theta').value)]") == [theta] * 3
    browser.run("document.getElementById('option-margin-slider').focus()")
    browser.press("ArrowRight")
    browser.settle()
    assert browser.run("state.options.margin") == pytest.approx(0.51)
    assert "margin=0.51" in browser.run("document.getElementById('code').textContent")
    browser.run("document.getElementById('loss').focus()")
    browser.press("ArrowDown")
    browser.settle()
    assert browser.run("state.loss") == SHOWN[SHOWN.index("arcface") + 1]
    browser.run("new Promise((done) => setTimeout(done, 500))")
    assert re.match(r"θ 170°: φ\(θ\) −", browser.run("document.getElementById('said').textContent"))
    assert browser.errors == []


def test_the_pointer_drags_what_is_on_the_circle(browser: Browser, site: Path) -> None:
    opened(browser, site)
    spots = browser.run("""(() => {
        const { left, top, width, height } = document.querySelector('.rim').getBoundingClientRect();
        return [40, 120, 90, 60].map((degrees) => [left + width / 2 * (1 + Math.cos(degrees * DEGREE)),
                                                   top + height / 2 * (1 - Math.sin(degrees * DEGREE))]);
    })()""")
    browser.drag(spots[0], spots[1])
    browser.drag(spots[2], spots[3])
    browser.settle()
    assert browser.run("[state.theta, state.rival]") == [120, 60]
    assert browser.errors == []


def test_a_number_out_of_range_is_refused(browser: Browser, site: Path) -> None:
    opened(browser, site)
    browser.run("document.getElementById('option-margin').select(); document.getElementById('option-margin').focus()")
    browser.type("28.6")
    browser.settle()
    assert browser.run("[state.options.margin, document.getElementById('option-margin').getAttribute('aria-invalid'), "
                       "document.getElementById('option-margin-said').textContent]") == [
        0.5, "true", f"wanted a number from 0 to {math.pi}"]
    browser.press("Tab")
    browser.settle()
    assert browser.run("document.getElementById('option-margin').value") == "0.5"


def test_the_call_and_the_address_can_be_copied(browser: Browser, site: Path) -> None:
    """Or, where the browser does not let a page do so, are shown and selected."""
    opened(browser, site, "index.html#loss=cosface&margin=0.2")
    for button, wanted in (("copy", browser.run("document.getElementById('code').textContent")),
                           ("link", browser.run("location.href"))):
        browser.run(f"document.getElementById('{button}').focus()")
        browser.press("Enter")
        browser.run("new Promise((done) => setTimeout(done, 200))")
        said = browser.run(f"document.getElementById('{button}').textContent")
        copied = "navigator.clipboard.readText()" if said == "Copied" else "String(getSelection())"
        if said == "Copied":
            browser.send("Browser.setPermission", permission={"name": "clipboard-read"}, setting="granted")
        assert browser.run(copied) == wanted, said
    assert browser.errors == []


def test_an_address_is_a_setting(browser: Browser, site: Path) -> None:
    given = "#loss=magface&norm_range=5,60&past_pi=easy&label_smoothing=0.1&theta=75&classes=12&length=20"
    opened(browser, site, f"index.html{given}")
    assert browser.run("toHash(state)").replace("%2C", ",") == given
    browser.run("change({ theta: 20 }); new Promise((done) => setTimeout(done, 500))")
    assert "&theta=20&" in browser.run("location.hash")
    opened(browser, site, "index.html#loss=cosface&margin=9&scale=x&size=3&gradient=none&classes=2.5&theta=20")
    assert browser.run("document.getElementById('notice').textContent") == (
        "Of the address, not used: margin was 9; wanted a number from -2 to 2; scale was x; wanted a number from 0.001 "
        "to 1000; size was 3; cosface has no such option; gradient was none; wanted one of exact, straight_through; "
        "classes was 2.5; wanted an integer from 2 to 10000000.")
    assert browser.run("[state.options.margin, state.options.scale, state.theta]") == [0.35, 64, 20]


def test_links_of_the_page_are_settings(browser: Browser, site: Path) -> None:
    links = re.findall(r'href="explorer/(index\.html#[^"]+)"', (ROOT / "docs" / "explorer.md").read_text())
    assert len(links) == 4
    for link in links:
        opened(browser, site, link)
        assert browser.run("document.getElementById('notice').hidden"), link
        assert browser.run("toHash(state)") == link.removeprefix("index.html")


CUT = """
(() => {
  const { scrollWidth, clientWidth } = document.documentElement;
  const beyond = [...document.querySelectorAll("body, main *")].filter((one) => !one.closest(".scrolls, svg")
    && one.getBoundingClientRect().right > clientWidth + 0.5);
  return [...scrollWidth > clientWidth ? [scrollWidth] : [], ...beyond.map((one) => one.outerHTML.slice(0, 80))];
})()
"""

CONTRAST = """
(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const channel = (one) => one / 255 <= 0.04045 ? one / 255 / 12.92 : ((one / 255 + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    throw new Error("no ground");
  };
  const texts = [...document.querySelectorAll("body *")].filter((one) => one.getClientRects().length
    && [...one.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
  return texts.map((one) => {
    const style = getComputedStyle(one), colour = one.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [high, low] = [light(parse(colour)), light(ground(one))].sort((a, b) => b - a);
    return [(high + 0.05) / (low + 0.05), one.outerHTML.slice(0, 90)];
  });
})()
"""


@pytest.mark.parametrize("address", ["index.html", "index.html#loss=sphereface2", "index.html#loss=combined_margin",
                                     "check.html"])
def test_layout(browser: Browser, site: Path, address: str) -> None:
    """No sideways scrolling, nothing cut off at the side, and text that can be read (WCAG AA)."""
    opened(browser, site, address)
    for width, (scheme, ground) in product((320, 390, 768, 1280), (("light", "rgb(255, 255, 255)"),
                                                                   ("dark", "rgb(17, 22, 30)"))):
        browser.window(width=width, prefers_color_scheme=scheme)
        browser.settle()
        assert browser.run("getComputedStyle(document.body).backgroundColor") == ground
        assert browser.run("innerWidth") == width
        assert browser.run(CUT) == [], (width, scheme)
        contrasts = browser.run(CONTRAST)
        assert len(contrasts) > 20
        assert [one for one in contrasts if one[0] < 4.5] == [], (width, scheme)


def test_nothing_moves_where_motion_is_not_wanted(browser: Browser, site: Path) -> None:
    for wish, moving in (("reduce", False), ("no-preference", True)):
        opened(browser, site, prefers_reduced_motion=wish)
        durations = browser.run("[...document.querySelectorAll('*')].map((one) => getComputedStyle(one))"
                                ".map((style) => parseFloat(style.transitionDuration))")
        assert any(durations) == moving


def test_it_asks_for_nothing_from_elsewhere(site: Path) -> None:
    for path in site.iterdir():
        if path.suffix in (".html", ".css", ".js"):
            asked = re.findall(r"(?:src|href)=\"(?:https?:)?//|url\(|@import|fetch\(|XMLHttpRequest", path.read_text())
            assert asked == [], path.name
