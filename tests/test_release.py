"""What a release says of itself, in the files that say it."""

import re
import tomllib
from importlib.metadata import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HOME = PROJECT["urls"]["Repository"]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_every_file_says_the_same_version() -> None:
    version = metadata("anglos")["Version"]
    assert re.findall(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M) == [version]
    assert re.findall(r'^  version: "(.+)"$', (ROOT / ".conda" / "recipe.yaml").read_text(), re.M) == [version]
    assert version in (ROOT / "CHANGELOG.md").read_text()


def test_the_recipe_asks_for_what_the_package_does() -> None:
    recipe = (ROOT / ".conda" / "recipe.yaml").read_text()
    for need in PROJECT["dependencies"]:
        assert re.sub(r"(?<=\w)(?=[<>=])", " ", need) in recipe
    assert HOME in recipe
    assert HOME in (ROOT / "CITATION.cff").read_text()


def test_urls_are_at_one_home() -> None:
    assert [url for url in PROJECT["urls"].values() if not url.startswith(HOME)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_that_a_page_links_to_are_there(page: Path) -> None:
    """Beside it, or at the home of the project, where an index of packages finds them too."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    places = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", text)
    here = [page.parent / place for place in places if not place.startswith("mailto:")]
    raw = HOME.replace("github.com", "raw.githubusercontent.com")
    here += [ROOT / place for place in re.findall(rf"(?:{HOME}/(?:blob|tree)|{raw})/main/([^)#\s\]]+)", text)]
    assert [str(path) for path in here if not path.exists()] == []


def test_an_index_of_packages_finds_what_readme_links_to() -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / "README.md").read_text(), flags=re.M | re.S)
    assert re.findall(r"\]\((?!https?:)[^)]*\)", text) == []
    used, defined = set(re.findall(r"\]\[([^]]+)\]", text)), set(re.findall(r"^\[([^]]+)\]: http", text, re.M))
    assert used == defined
