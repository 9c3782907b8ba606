"""Losses that stand for the others, for tests of what is an engine's and not a formula's: chosen by what they run."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dis import get_instructions
from functools import cache
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import numpy as np
from libraries import LIBRARIES
from samples import CLASSES, array_options, arrays, float_arrays

import anglos
from anglos import Loss
from anglos.define import linear, prototypes_engine

ROOMS = tuple(str(Path(anglos.__file__).parent / room) for room in ("engines", "arrays"))

IN_PLACE: dict[str, Callable[[Any], Any]] = {
    "B": lambda given: 1.0 * given,
    "B C": lambda given: 0.9 * np.eye(CLASSES)[given] + 0.1 / CLASSES,
    "B N": lambda given: 1.0 * (given[:, None] == given),
    "B or B T": lambda given: 1.0 * given,
}
"""What may stand in place of labels or signs, by its shape."""


def calls_of(loss: Loss[...]) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """By default; learning every option that may be an array, of its first shape, and of its last; with other labels.

    Of the last with rounded products, too, where the loss has them.
    """
    given = arrays(loss, LIBRARIES["numpy"]())
    yield given, {}
    options = array_options(loss)
    wrt = (*float_arrays(loss), *options)
    yield given, {"wrt": wrt, **{name: np.asarray(values[0]) for name, values in options.items()}}
    last = {"wrt": wrt, **{name: np.asarray(values[-1]) for name, values in options.items()}}
    yield given, last | ({"gradient_products": "bfloat16"} if "gradient_products" in loss.defaults else {})
    if other := getattr(loss.kinds[loss.arrays[-1]], "other", None):
        yield [*given[:-1], IN_PLACE[other.shape](given[-1])], {}


@cache
def lines_of(loss: Loss[...]) -> frozenset[tuple[str, int]]:
    """Of the engines and what they are made of, that these calls for value and gradient run in NumPy."""
    seen: set[tuple[str, int]] = set()

    def line(frame: FrameType, event: str, _: Any) -> Any:
        seen.add((frame.f_code.co_filename, frame.f_lineno))
        return line

    def call(frame: FrameType, event: str, _: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(ROOMS) else None

    before = sys.gettrace()
    try:
        for given, options in calls_of(loss):
            loss.value_and_grad(*given, **options)  # the first time makes a plan, too
            sys.settrace(call)
            loss.value_and_grad(*given, **options)
            sys.settrace(before)
    except Exception:  # of a loss that is being written: it stands for itself, and its tests say why
        return frozenset({(loss.name, 0)})
    finally:
        sys.settrace(before)
    return frozenset(seen)


def kind_of(loss: Loss[...]) -> frozenset[Any]:
    """Its engine, and the shapes of its arrays."""
    return frozenset({loss.engine, *(shape for name in loss.arrays for shape in loss.kinds[name].shapes)})


def options_of(loss: Loss[...]) -> frozenset[Any]:
    """The names of what it can learn beside its arrays, each with its shapes."""
    return frozenset((name, loss.kinds[name].shapes) for name in array_options(loss))


def words_of(loss: Loss[...]) -> frozenset[Any]:
    """What its own file asks of arrays, of their library and of `define`; and its name, if that decides anything.

    Against prototypes it decides by branches alone, of what is one number of each sample, and the engine does the rest.
    Elsewhere it handles whole arrays.
    """
    module = sys.modules[loss.function.__module__]
    found: set[Any] = set() if loss.engine in (prototypes_engine, linear) else {loss.name}

    def look(code: CodeType) -> None:
        for step in get_instructions(code):
            if step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                found.add(step.argval)
            elif "_IF_" in step.opname:
                found.add(loss.name)
        for inner in code.co_consts:
            if isinstance(inner, CodeType):
                look(inner)

    for one in vars(module).values():
        function = getattr(one, "function", one)
        if isinstance(function, FunctionType) and function.__module__ == module.__name__:
            look(function.__code__)
    return frozenset(found)


def cover(features: Mapping[str, Set[Any]]) -> list[str]:
    """Names that between them have every feature: always the one with most that none before it has, or the first."""
    left: set[Any] = set().union(*features.values())
    chosen: list[str] = []
    while left:
        chosen.append(max(features, key=lambda name: len(features[name] & left)))
        left -= features[chosen[-1]]
    return chosen


def representatives(losses: Iterable[Loss[...]], *, words: bool = False) -> list[Loss[...]]:
    """Some of these that run all the lines, take arrays of all the shapes and learn all the options of all of these.

    With words, they use all words too, and every loss is there whose own code decides anything.
    """
    chosen = cover({loss.name: lines_of(loss) | kind_of(loss) | options_of(loss)
                    | (words_of(loss) if words else frozenset()) for loss in losses})
    return [loss for loss in losses if loss.name in chosen]
