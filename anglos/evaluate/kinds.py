"""Options that are a number, several, or one of a few: as they were given, if they can be."""

import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from anglos.call.kinds import Number, Refuse, describe, refuse
from anglos.call.static_kinds import Integer, OneOf


def integer(caller: str, name: str, given: Any, low: int) -> int:
    """An integer from low on."""
    return Integer(low).static(_refuse(caller, name), given)


def number(caller: str, name: str, given: Any, low: float, high: float = math.inf, what: str = "a number") -> float:
    """A number within limits."""
    found: Any = Number(what, low, high, shapes=()).static(_refuse(caller, name), given)
    return float(found)


def one_of(caller: str, name: str, given: Any, choices: Iterable[Any]) -> Any:
    """One of a few values."""
    return OneOf(choices=tuple(choices)).static(_refuse(caller, name), given)


def several(caller: str, name: str, given: Any, one: Any) -> tuple[Any, ...]:
    """A number or a sequence of numbers, each as `one(caller, name, number)` takes it."""
    if isinstance(given, str) or not (isinstance(given, Iterable) or np.ndim(given) == 0):
        refuse(caller, name, TypeError, f"was {describe(given)}", "a number, or a tuple of numbers")
    values = (given,) if np.ndim(given) == 0 else tuple(given)
    return tuple(dict.fromkeys(one(caller, name, value) for value in values))


def check_idle(caller: str, name: str, given: Any, default: Any, without: str) -> None:
    """Refuse an option that means nothing, since another one was not given."""
    if given != default:
        refuse(caller, name, ValueError, f"was {describe(given)}", f"{default!r} without {without}")


def _refuse(caller: str, name: str) -> Refuse:
    return partial(refuse, caller, name)
