"""The page of hard inputs: what it says of anglos and of others is what was measured."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def hard() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(DOCS / "_ext")
        yield import_module("hard_inputs")
    sys.modules.pop("hard_inputs", None)


@pytest.fixture(scope="module")
def found(hard: Any) -> dict[str, dict[str, dict[str, str]]]:
    """What is said, by loss, library and input."""
    tables = {group.title: hard.table(group) for group in hard.GROUPS}
    return {title: {library: {row[0]: row[place] for row in rows} for place, library in enumerate(heading) if place}
            for title, (heading, *rows) in tables.items()}


def test_anglos_is_right_but_where_a_gradient_does_not_fit(found: dict[str, dict[str, dict[str, str]]]) -> None:
    wrong = {(title, name): said for title, libraries in found.items() for name, said in libraries["anglos"].items()
             if said != "right"}
    assert wrong == {(title, "float16, length 0.0003"): "gradient too large for float16"
                     for title in ("ArcFace", "CosFace")}


def test_the_others_are_right_where_the_page_says_so(found: dict[str, dict[str, dict[str, str]]]) -> None:
    arcface = found["ArcFace"]
    for library in ("the formula", "pytorch-metric-learning"):
        assert arcface[library]["aligned with its prototype"] in ("gradient NaN", "not installed")
    assert arcface["with cos θ clamped"]["aligned with its prototype"] == "right"
    for libraries in found.values():
        for said in libraries["the formula"]["length 10²⁵"], libraries["the formula"]["length 10⁻²⁵"]:
            assert said.startswith("value ")
        assert libraries["the formula"]["one is zero" if "one is zero" in libraries["the formula"] else
                                        "zero embedding"] == "right"


def test_beyond_pi(hard: Any) -> None:
    rows = {row[0]: row[1:] for row in hard.beyond()}
    assert rows["anglos"][0] == "rises by 0.00"
    assert rows["anglos"][1].startswith("rises by")
    assert rows["the formula"][1].startswith("falls by")
    assert rows["pytorch-metric-learning"][0] in ("not installed", "rises by 3.77")


def test_it_sees_what_is_wrong(hard: Any) -> None:
    """A loss with a wrong value, with a wrong gradient, without one, and one that refuses."""
    group, inputs = hard.GROUPS[1], hard.HEADS["length 10²⁵"]
    easy = hard._at(1.0)
    right = group.peers["the formula"]()
    assert hard.says(group, easy, right) == "right"
    assert hard.says(group, easy, lambda *arrays: 1.1 * right(*arrays)).startswith("value ")
    assert hard.says(group, easy, lambda x, w, y: right(x, w, y) + (x - x.detach()).sum()).startswith("gradient ")
    assert hard.says(group, inputs, lambda x, w, y: (x * x).sum()) == "value infinite"
    assert hard.says(group, easy, lambda x, w, y: right(x, w, y) + (0 * x).sqrt().sum()) == "gradient NaN"

    def refusing(*arrays: Any) -> Any:
        raise TypeError

    assert hard.says(group, easy, refusing) == "refused: TypeError"


def test_a_library_that_is_not_there_is_said_to_be_so(hard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("pytorch_metric_learning", "pytorch_metric_learning.losses"):
        monkeypatch.setitem(sys.modules, name, None)
    heading, *rows = hard.table(hard.GROUPS[1])
    assert {row[heading.index("pytorch-metric-learning")] for row in rows} == {"not installed"}


def test_the_page_has_all_of_it(hard: Any) -> None:
    text, measured = (DOCS / "hard_inputs.md").read_text(), hard.page()
    assert text.count("<!-- measured -->") == 1
    assert measured.startswith("Measured with anglos ")
    assert [line[3:] for line in measured.splitlines() if line.startswith("## ")] == [
        group.title for group in hard.GROUPS]
    assert measured.count("\n| --- ") == len(hard.GROUPS) + 1
