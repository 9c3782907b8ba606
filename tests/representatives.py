"""Losses that stand for the others, for tests of what is an engine's and not a formula's: chosen by what they run."""

import sys
from collections.abc import Iterable, Mapping, Set
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

from libraries import LIBRARIES
from samples import arrays

import anglos
from anglos import Loss

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


def cover(features: Mapping[str, Set[Any]]) -> list[str]:
    """Names that between them have every feature: always the one with most that none before it has, or the first."""
    left: set[Any] = set().union(*features.values())
    chosen: list[str] = []
    while left:
        chosen.append(max(features, key=lambda name: len(features[name] & left)))
        left -= features[chosen[-1]]
    return chosen


def representatives(losses: Iterable[Loss[...]]) -> list[Loss[...]]:
    """Some of these that run all the lines, and take arrays of all the shapes, of all of these."""
    chosen = cover({loss.name: lines_of(loss) | kind_of(loss) for loss in losses})
    return [loss for loss in losses if loss.name in chosen]
