"""docs/migration.md speaks of every name that the other libraries export: in a row, or with the reason why not."""

import inspect
import re
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from test_migration import ROWS, SECTIONS, setup


def exported_by(*modules: str) -> Callable[[], set[str]]:
    """Classes and functions without an underscore."""
    def names() -> set[str]:
        found: list[Any] = [import_module(module) for module in modules]
        return {name for module in found for name, value in vars(module).items()
                if name[0] != "_" and callable(value) and not inspect.ismodule(value)
                and value.__module__.partition(".")[0] == module.__name__.partition(".")[0]}
    return names


def sentences() -> set[str]:
    return set(import_module("sentence_transformers.sentence_transformer.losses").__all__)


def losses_of_open_clip() -> set[str]:
    return {name for name in setup("open_clip") if name.endswith("Loss")}


EXPORTED: dict[str, Callable[[], set[str]]] = {
    "pytorch-metric-learning": exported_by(
        *(f"pytorch_metric_learning.{room}" for room in ("losses", "miners", "distances"))),
    "sentence-transformers": sentences,
    "lightly": exported_by("lightly.loss"),
    "optax": exported_by("optax.losses"),
    "open_clip": losses_of_open_clip,
}


def in_rows(section: str) -> set[str]:
    return {name for row in ROWS if row.section == section for name in re.findall(r"\w+", row.theirs)}


@pytest.mark.slow
@pytest.mark.parametrize("section", EXPORTED)
def test_every_name_is_spoken_of(section: str) -> None:
    if find_spec(section.replace("-", "_")) is None:
        pytest.skip(f"{section} is not installed")
    setup(section)
    exported = EXPORTED[section]()
    assert len(exported) > 2
    assert len(exported & in_rows(section)) > 1
    assert exported - {*re.findall(r"\w+", SECTIONS[section])} == set()
