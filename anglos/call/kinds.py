"""What an argument may be: arrays, and numbers that may be arrays. Losses say so by the names of `arguments.py`."""

import math
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from anglos.arrays.library import Spec

Refuse = Callable[[type[Exception], str, str], NoReturn]
"""(kind of error, what the argument was, what is wanted)."""


@dataclass(frozen=True)
class Idle:
    """Where an option means nothing, and is refused: beside one of some values of each of other arguments."""

    beside: tuple[tuple[str, tuple[Any, ...]], ...]  # by names or roles; ... is any array, None also no argument
    values: tuple[Any, ...] | None = None  # of the option, where that is so, but for its default; None is all


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What all kinds have in common: the text by which docstrings describe an argument of this kind."""

    text: str = field(default="", repr=False)
    idle: tuple[Idle, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ArrayOf(Kind):
    """An array; the letters of its shape, or of one of several, are sizes that arguments share."""

    shape: str
    dtype: str = "real floating"
    optional: bool = False
    low: float = -math.inf
    frozen: bool = False
    other: "ArrayOf | None" = None  # what may stand in its place, told by its dtype
    role: str | None = None  # by which checks and engines know it, whatever the argument is called
    together: tuple[tuple[str, str | None], ...] = ()  # roles that come with it, always or beside others
    excludes: tuple[tuple[str, Any], ...] = ()  # roles of arguments that must be this beside it
    without: "tuple[str, ArrayOf] | None" = None  # a role, or what is True or False, and the kind without it

    @property
    def ranged(self) -> bool:
        """Whether it has values that are refused."""
        return self.low > -math.inf

    @property
    def shapes(self) -> tuple[str, ...]:
        return tuple(self.shape.split(" or "))

    def __str__(self) -> str:
        low = f" of numbers from {self.low:g}" if self.low > -math.inf else ""
        none = " or None" if self.optional else ""
        other = "" if self.other is None else f", or {self.other}"
        return f"an array{low} of {self.dtype} dtype and shape {spell(self.shapes)}{none}{other}"

    def static(self, refuse: Refuse, value: Any) -> None:
        """The value, which is no array, if it is allowed all the same."""
        if not (value is None and self.optional):
            refuse(TypeError, f"was {describe(value)}",
                   f"{self}, of NumPy, PyTorch, JAX, CuPy or another library of the array API standard")

    def measured(self, xp: Any, array: Any) -> Any:
        """What has to be in range."""
        return array

    def check_range(self, refuse: Refuse, verb: str, low: float, high: float) -> None:
        """Refuse an array with these bounds; NaN and infinity are never in range."""
        if not (low >= self.low and high < math.inf):
            refuse(ValueError, f"{verb} {low if not low >= self.low else high:g}", str(self))

    def nan_outside(self, xp: Any, array: Any) -> Any:
        """The array, with NaN where a value is refused: for when it cannot be looked at."""
        return xp.where((array >= self.low) & (array < math.inf), array, math.nan)


@dataclass(frozen=True)
class Signs(ArrayOf):
    """An array of 1 and −1."""

    def __str__(self) -> str:
        return f"an array of 1 and -1, of integral or real floating dtype and shape {spell(self.shapes)}"

    def measured(self, xp: Any, array: Any) -> Any:
        """Magnitudes, of integers of any type."""
        return xp.abs(array if xp.isdtype(array.dtype, "real floating") else xp.astype(array, xp.float32))

    def check_range(self, refuse: Refuse, verb: str, low: float, high: float) -> None:
        """Refuse an array whose magnitudes have these bounds."""
        if not low == high == 1.0:
            hint = " (of 0 and 1: 2 * targets - 1)" if low == 0.0 else ""
            refuse(ValueError, f"{verb} a number of magnitude {high if low == 1.0 else low:g}", f"{self}{hint}")

    def nan_outside(self, xp: Any, array: Any) -> Any:
        """The array: an integer cannot be NaN, so that the loss must be."""
        return array


@dataclass(frozen=True)
class Number(Kind):
    """A number from low to high, or an array of such numbers in one of the shapes, or a word in its place."""

    what: str
    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    shapes: tuple[str, ...] = ("",)
    optional: bool = False
    frozen: bool = False  # a constant to the gradient
    word: str | None = None
    without: "tuple[str, Number] | None" = None  # an option, and the kind in place of this where that is None

    dtype, ranged = "real floating", True

    def __str__(self) -> str:
        span = "that is finite" if self.low == -math.inf else f"{'above' if self.above else 'from'} {self.low:g}"
        array = f"an array of {self.dtype} dtype and shape {spell(self.shapes)}"
        forms = ["a number", *([array] if self.shapes else []), *(["None"] if self.optional else [])]
        span += f" {'and below' if self.below else 'to'} {self.high:g}" if self.high < math.inf else ""
        word = "" if self.word is None else f", or {self.word!r}"
        return f"{self.what} {span}: {' or '.join(forms)}{word}"

    def static(self, refuse: Refuse, value: Any) -> float | str | None:
        """The value, which is no array, if it is allowed all the same."""
        if value is None and self.optional:
            return None
        if self.word is not None and isinstance(value, str):
            if value != self.word:
                refuse(ValueError, f"was {value!r}", str(self))
            return value
        real = isinstance(value, (float, int, numbers.Real))
        symbolic = not real and hasattr(value, "__sym_float__")  # of torch.export; float() would make it a constant
        if isinstance(value, bool) or not (real or symbolic):
            refuse(TypeError, f"was {describe(value)}", str(self))
        try:
            number = value.__sym_float__() if symbolic else float(value) + 0.0  # -0.0 is 0.0: equal calls share a plan
        except OverflowError:
            number = math.inf if value > 0 else -math.inf
        self.check_range(refuse, "was", number, number)
        return number

    def measured(self, xp: Any, array: Any) -> Any:
        """What has to be in range."""
        return array

    def nan_outside(self, xp: Any, array: Any) -> Any:
        """The array, with NaN where a value is refused: for when it cannot be looked at."""
        from_low = array > self.low if self.above else array >= self.low
        return xp.where(from_low & (array < self.high if self.below else array <= self.high), array, math.nan)

    def check_range(self, refuse: Refuse, verb: str, low: float, high: float) -> None:
        """Refuse a number, or an array with these bounds; NaN and infinity are never in range."""
        def inside(number: float) -> bool:
            # Not by math.isfinite, which torch.compile cannot ask of a number that it takes for a variable.
            return self.low <= number <= self.high and -math.inf < number < math.inf and not (
                self.above and number == self.low) and not (self.below and number == self.high)

        if inside(low) and inside(high):
            return
        number = high if inside(low) else low
        refuse(ValueError, f"{verb} {number:g}", f"{self}{in_degrees(self, number) if number > self.high else ''}")


def in_degrees(kind: Any, number: float) -> str:
    """A hint, for a number that is too large for an angle."""
    angle = "radians" in getattr(kind, "what", "") and math.isfinite(number)
    return f" (if that is in degrees: math.radians({number:g}) is {math.radians(number):.4f})" if angle else ""


def by_role(kinds: Mapping[str, Any]) -> dict[str, str]:
    """The name of the argument in every role that there is."""
    return {kind.role: name for name, kind in kinds.items() if getattr(kind, "role", None) is not None}


def has_gradient(kind: Any) -> bool:
    """Whether an argument of this kind may be an array that losses are differentiated by."""
    return bool(getattr(kind, "shapes", ())) and kind.dtype == "real floating" and not kind.frozen


def is_dtype(xp: Any, dtype: Any, kind: str) -> bool:
    """Whether a type is of a kind of the standard's."""
    try:
        return bool(xp.isdtype(dtype, kind))
    except (TypeError, ValueError, AttributeError):  # not one of the library's own, as NumPy's bfloat16
        return False


def refuse(loss: str, name: str, kind: type[Exception], was: str, wanted: str) -> NoReturn:
    """The one form of all refusals."""
    raise kind(f"{loss}: {name} {was}; wanted {wanted}")


def dotted_name(of: Any) -> str:
    """A loss, or an update, as it would be imported: those of the library from `anglos`."""
    return f"{'anglos' if of.__module__.startswith('anglos.') else of.__module__}.{of.name}"


def describe(value: Any) -> str:
    """A value in a message: itself if that is short, else its type."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    kind = value.type if isinstance(value, Spec) else type(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__name__}"


def is_of_classes(kind: Any) -> bool:
    """Whether an argument has a row, or a number, for every class."""
    return _has_rows(kind, "C")


def is_of_samples(kind: Any) -> bool:
    """The same for every sample."""
    return _has_rows(kind, "B")


def _has_rows(kind: Any, letter: str) -> bool:
    return any(shape.startswith(letter) for shape in getattr(kind, "shapes", ()))


def spell(shapes: tuple[str, ...]) -> str:
    """Shapes as Python writes them."""
    return " or ".join("(" + ", ".join(shape.split()) + ("," if len(shape.split()) == 1 else "") + ")"
                       for shape in shapes)
