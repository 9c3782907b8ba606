"""What an argument may be that is never an array: words, integers, pairs of numbers; and the kind of an annotation."""

import numbers
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Annotated, Any, Literal, get_args, get_origin

from anglos.call.kinds import Kind, Number, Refuse, describe, refuse


@dataclass(frozen=True)
class OneOf(Kind):
    """One of a few values: those given, else those of the annotated type."""

    choices: tuple[Any, ...] = ()
    because: str = ""
    without: "tuple[str, OneOf] | None" = None  # a role, and the kind in place of this where it is not taken

    def __str__(self) -> str:
        several = "one of " if len(self.choices) > 1 else ""
        return several + ", ".join(map(repr, self.choices)) + self.because

    def static(self, refuse: Refuse, value: Any) -> Any:
        """The value if it is one of them."""
        for choice in self.choices:
            if type(value) is type(choice) and value == choice:
                return value
        return refuse(ValueError, f"was {describe(value)}", str(self))


@dataclass(frozen=True)
class Integer(Kind):
    """An integer from low, and less than the other."""

    low: int = -(2**31)
    below: int = 2**31

    def __str__(self) -> str:
        return "an integer" + (f" from {self.low}" if self.low >= 0 else "")

    def static(self, refuse: Refuse, value: Any) -> int:
        """The value if it is one."""
        if isinstance(value, bool) or not isinstance(value, (int, numbers.Integral)):
            refuse(TypeError, f"was {describe(value)}", str(self))
        number = int(value)
        if not self.low <= number < self.below:
            refuse(ValueError, f"was {number}", f"{self} below 2**{self.below.bit_length() - 1}")
        return number


def number_of_classes(caller: str, given: Any) -> int | None:
    """As it was given, or None."""
    refused: Any = partial(refuse, caller, "num_classes")
    return None if given is None else Integer(1).static(refused, given)


@dataclass(frozen=True)
class Words(Kind):
    """One or several of a few words, none twice."""

    words: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "a tuple of one or several of " + ", ".join(map(repr, self.words))

    def static(self, refuse: Refuse, value: Any) -> tuple[str, ...]:
        """The words, in the kind's own order."""
        if not isinstance(value, (tuple, list)):
            refuse(TypeError, f"was {describe(value)}", str(self))
        if not value or len(set(value)) < len(value) or not set(value) <= set(self.words):
            refuse(ValueError, f"was {tuple(value)}", str(self))
        return tuple([word for word in self.words if word in value])


@dataclass(frozen=True)
class Pair(Kind):
    """Two numbers, the first the smaller."""

    number: Number

    def static(self, refuse: Refuse, value: Any) -> tuple[float, float]:
        """The value if it is that."""
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            refuse(TypeError, f"was {describe(value)}", f"a pair of numbers, each {self.number}")
        first, second = (self.number.static(refuse, one) for one in value)
        if first >= second:  # type: ignore[operator]
            refuse(ValueError, f"was {tuple(value)}", "the first to be the smaller")
        return first, second  # type: ignore[return-value]


@cache
def kind_of(annotation: Any) -> Any:
    """The kind that a parameter's annotation stands for."""
    if get_origin(annotation) is Annotated:
        annotated, kind = get_args(annotation)[:2]
        worded = isinstance(kind, OneOf) and not kind.choices
        return replace(kind, choices=kind_of(annotated).choices) if worded else kind
    if get_origin(annotation) is Literal:
        return OneOf(get_args(annotation))
    return {bool: OneOf((True, False)), int: Integer()}[annotation]
