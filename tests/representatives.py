"""Losses that stand for the others, for tests of what is an engine's and not a formula's: chosen by what they run."""

import sys
from collections.abc import Iterable, Mapping, Set
from dis import get_instructions
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

from libraries import LIBRARIES
from samples import arrays

import anglos
from anglos import Loss
from anglos.define import linear, prototypes_engine

ROOMS = tuple(str(Path(anglos.__file__).parent / room) for room in ("engines", "arrays"))


@cache
def lines_of(loss: Loss[...]) -> frozenset[tuple[str, int]]:
    """Of the engines and what they are made of, that a call for value and gradient runs."""
    seen: set[tuple[str, int]] = set()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(ROOMS) else None

    given, before = arrays(loss, LIBRARIES["numpy"]()), sys.gettrace()
    try:
        loss.value_and_grad(*given)  # the first time makes a plan, too
        sys.settrace(call)
        loss.value_and_grad(*given)
    except Exception:  # of a loss that is being written: it stands for itself, and its tests say why
        return frozenset({(loss.name, 0)})
    finally:
        sys.settrace(before)
    return frozenset(seen)


def kind_of(loss: Loss[...]) -> frozenset[Any]:
    """Its engine, and the shapes of its arrays."""
    return frozenset({loss.engine, *(shape for name in loss.arrays for shape in loss.kinds[name].shapes)})


def words_of(loss: Loss[...]) -> frozenset[Any]:
    """What its own file asks of arrays, of their library and of `define`; and its name, if that handles whole arrays.

    Against prototypes it handles one number of each sample, and the engine the rest.
    """
    module = sys.modules[loss.function.__module__]
    found: set[Any] = set()

    def look(code: CodeType) -> None:
        found.update(step.argval for step in get_instructions(code) if step.opname in ("LOAD_ATTR", "LOAD_METHOD"))
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                look(inner)

    for one in vars(module).values():
        function = getattr(one, "function", one)
        if isinstance(function, FunctionType) and function.__module__ == module.__name__:
            look(function.__code__)
    return frozenset(found if loss.engine in (prototypes_engine, linear) else {*found, loss.name})


def cover(features: Mapping[str, Set[Any]]) -> list[str]:
    """Names that between them have every feature: always the one with most that none before it has, or the first."""
    left: set[Any] = set().union(*features.values())
    chosen: list[str] = []
    while left:
        chosen.append(max(features, key=lambda name: len(features[name] & left)))
        left -= features[chosen[-1]]
    return chosen


def representatives(losses: Iterable[Loss[...]], *, words: bool = False) -> list[Loss[...]]:
    """Some of these that run all the lines, and take arrays of all the shapes, of all of these; and use all words."""
    chosen = cover({loss.name: lines_of(loss) | kind_of(loss) | (words_of(loss) if words else frozenset())
                    for loss in losses})
    return [loss for loss in losses if loss.name in chosen]
