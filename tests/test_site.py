"""The documentation as a site: it builds without a warning, links where it says, and search finds every public name."""

import importlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

import anglos
from anglos import Loss

ROOT = Path(__file__).parents[1]
MODULES = ("anglos", "anglos.define", "anglos.mining", "anglos.evaluate", "anglos.plot", "anglos.backends.torch",
           "anglos.backends.jax", "anglos.backends.flax", "anglos.backends.equinox")


class Page(HTMLParser):
    """The anchors of a page, what it links to, and what it loads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors, self.links, self.loads = {""}, set[str](), set[str]()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.add(values["href"])
        self.loads |= {values[name] for name in ("src", "href") if name in values and tag in ("script", "img", "link")}


@pytest.mark.slow
def test_the_site(tmp_path: Path) -> None:
    """In one test, since two processes would build it twice."""
    pytest.importorskip("furo", reason="the extra docs is not installed")
    site = tmp_path / "html"
    done = subprocess.run([sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-d", str(tmp_path / "trees"),
                           str(ROOT / "docs"), str(site)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = {path: Page(path) for path in sorted(site.rglob("*.html"))}
    check_that_search_finds_every_public_name(site)
    check_that_links_within_the_site_lead_somewhere(site, pages)
    check_that_pages_load_nothing_from_elsewhere(site, pages)
    check_that_every_loss_has_a_page_with_its_formula_and_its_call(site)
    check_that_cells_say_their_column(site)


def check_that_cells_say_their_column(site: Path) -> None:
    """On a narrow screen the head of a table is not shown; of two columns the first heads the second."""
    def columns(page: str) -> set[str]:
        return set(re.findall(r'<span class="column">(.*?): </span>', (site / page).read_text()))

    assert {"anglos", "pytorch-metric-learning", "with cos θ clamped"} <= columns("hard_inputs.html")
    assert columns("options.html") == set()


def public_names() -> Iterator[str]:
    """What tools show of the package: `__all__`, or what `dir` says that is not another package's."""
    for name in MODULES:
        try:
            module = importlib.import_module(name)
        except ModuleNotFoundError as missing:
            if missing.name != name:
                raise
            continue
        for each in getattr(module, "__all__", dir(module)):
            value = getattr(module, each)
            home = getattr(value, "__module__", None) or ""
            own = hasattr(module, "__all__") or (home.startswith("anglos") if name in ("anglos", "anglos.define")
                                                 else home == module.__name__)
            if own and not each.startswith("_") and not inspect.ismodule(value):
                yield f"{name}.{each}"


def check_that_search_finds_every_public_name(site: Path) -> None:
    """In the inventory, by which other projects link here, and in what the page's own search looks through."""
    from sphinx.util.inventory import InventoryFile

    with (site / "objects.inv").open("rb") as file:
        inventory = InventoryFile.load(file, "", lambda base, path: path)
    listed = {name for kind in inventory for name in inventory[kind] if kind.startswith("py:")}
    index = json.loads((site / "searchindex.js").read_text().removeprefix("Search.setIndex(").removesuffix(")"))
    searched = {f"{prefix}.{entry[-1]}" for prefix, entries in index["objects"].items() for entry in entries}
    names = set(public_names())
    assert len(names) > 200
    assert {f"anglos.{name}" for name in anglos.LOSSES} < names
    assert names - listed == set()
    assert names - searched == set()


def check_that_links_within_the_site_lead_somewhere(site: Path, pages: dict[Path, Page]) -> None:
    broken = set()
    for path, page in pages.items():
        for link in page.links | page.loads:
            parts = urlsplit(link)
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[target].anchors if target in pages else {unquote(parts.fragment)}
            is_setting = "=" in parts.fragment  # of the explorer: test_explorer.py
            if not parts.scheme and not (target.is_file() and (is_setting or unquote(parts.fragment) in anchors)):
                broken.add(f"{path.relative_to(site)}: {link}")
    assert broken == set()


def check_that_pages_load_nothing_from_elsewhere(site: Path, pages: dict[Path, Page]) -> None:
    elsewhere = {load for page in pages.values() for load in page.loads if urlsplit(load).scheme not in ("", "data")}
    assert elsewhere == set()
    for path in site.rglob("*.css"):
        assert re.findall(r"url\(\s*['\"]?(?:https?:)?//", path.read_text()) == [], path


def check_that_every_loss_has_a_page_with_its_formula_and_its_call(site: Path) -> None:
    for name in anglos.LOSSES:
        text = (site / "losses" / f"{name}.html").read_text()
        assert "<math" in text, name
        assert f'id="anglos.{name}"' in text, name
        assert "py:function" not in text, name  # no markup that was not read


@pytest.fixture(scope="module")
def tex() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "docs" / "_ext")
        yield importlib.import_module("formulas").tex


def test_formulas_are_read_to_the_last_sign(tex: Any, loss: Loss[...]) -> None:
    """A sign that the table does not have would stay as it is."""
    formula = tex(loss.formula)
    assert formula.isascii()
    assert formula.count("{") == formula.count("}")


@pytest.mark.parametrize(("formula", "expected"), [
    ("φ = cos(θ + m)", r"\varphi = \cos (\theta + m)"),
    ("z = (a + b) / (1 + λ)", r"z = \frac{a + b}{1 + \lambda}"),
    ("ℓ = −log(e^(q·k/τ) / Σ_j e^(q·k_j/τ))",
     r"\ell = -\log \left( \frac{e^{q\cdot k/\tau }}{\sum _j e^{q\cdot k_j/\tau }}\right)"),
    ("η = t + 1 if hard", r"\eta = t + 1 \text{ if hard }"),
    ("m(|x|), y_ij", r"m(\lvert x\rvert ),\quad y_{ij}"),
])
def test_formulas_become_tex(tex: Any, formula: str, expected: str) -> None:
    assert tex(formula) == expected
