"""What an argument may be. A loss says so in its annotations, with the names at the end of this file."""

import math
import numbers
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NoReturn, get_args, get_origin

Refuse = Callable[[type[Exception], str, str], NoReturn]
"""(kind of error, what the argument was, what is wanted)."""


@dataclass(frozen=True)
class ArrayOf:
    """An array; the letters of its shape are sizes that arguments share."""

    shape: str
    dtype: str = "real floating"
    optional: bool = False

    @property
    def shapes(self) -> tuple[str, ...]:
        return (self.shape,)

    def __str__(self) -> str:
        return f"an array of {self.dtype} dtype and shape {spell(self.shapes)}" + (" or None" if self.optional else "")

    def static(self, refuse: Refuse, value: Any) -> None:
        """The value, which is no array, if it is allowed all the same."""
        if not (value is None and self.optional):
            refuse(TypeError, f"was {describe(value)}",
                   f"{self}, of NumPy, PyTorch, JAX, CuPy or another library of the array API standard")


@dataclass(frozen=True)
class Number:
    """A number from low to high, or an array of such numbers in one of the shapes."""

    what: str
    low: float
    high: float = math.inf
    above: bool = False
    shapes: tuple[str, ...] = ("",)
    optional: bool = False

    dtype = "real floating"

    def __str__(self) -> str:
        span = f"above {self.low:g}" if self.above else f"from {self.low:g}"
        array = f"an array of {self.dtype} dtype and shape {spell(self.shapes)}"
        forms = ["a number", *([array] if self.shapes else []), *(["None"] if self.optional else [])]
        span += f" to {self.high:g}" if self.high < math.inf else ""
        return f"{self.what} {span}: {' or '.join(forms)}"

    def static(self, refuse: Refuse, value: Any) -> float | None:
        """The value, which is no array, if it is allowed all the same."""
        if value is None and self.optional:
            return None
        if isinstance(value, bool) or not isinstance(value, (float, int, numbers.Real)):
            refuse(TypeError, f"was {describe(value)}", str(self))
        self.check_range(refuse, "was", float(value), float(value))
        return float(value)

    def check_range(self, refuse: Refuse, verb: str, low: float, high: float) -> None:
        """Refuse a number, or an array with these bounds; NaN and infinity are never in range."""
        def inside(number: float) -> bool:
            return self.low <= number <= self.high and math.isfinite(number) and not (self.above and number == self.low)

        if inside(low) and inside(high):
            return
        number, hint = (high if inside(low) else low), ""
        if "radians" in self.what and number > self.high:
            hint = f" (if that is in degrees: math.radians({number:g}) is {math.radians(number):.4f})"
        refuse(ValueError, f"{verb} {number:g}", f"{self}{hint}")


@dataclass(frozen=True)
class OneOf:
    """One of a few values."""

    choices: tuple[Any, ...]

    def static(self, refuse: Refuse, value: Any) -> Any:
        """The value if it is one of them."""
        for choice in self.choices:
            if type(value) is type(choice) and value == choice:
                return value
        return refuse(ValueError, f"was {describe(value)}", f"one of {', '.join(map(repr, self.choices))}")


@dataclass(frozen=True)
class Integer:
    """An integer."""

    def static(self, refuse: Refuse, value: Any) -> int:
        """The value if it is one."""
        if isinstance(value, bool) or not isinstance(value, (int, numbers.Integral)):
            refuse(TypeError, f"was {describe(value)}", "an integer")
        return int(value)


def kind_of(annotation: Any) -> Any:
    """The kind that a parameter's annotation stands for."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[1]
    if get_origin(annotation) is Literal:
        return OneOf(get_args(annotation))
    return {bool: OneOf((True, False)), int: Integer()}[annotation]


def describe(value: Any) -> str:
    """A value in a message: itself if that is short, else its type."""
    if value is None or isinstance(value, (str, int, float)):
        return repr(value)
    kind = type(value)
    return f"a {kind.__name__}" if kind.__module__ == "builtins" else f"a {kind.__module__}.{kind.__name__}"


def spell(shapes: tuple[str, ...]) -> str:
    """Shapes as Python writes them."""
    return " or ".join("(" + ", ".join(shape.split()) + ("," if len(shape.split()) == 1 else "") + ")"
                       for shape in shapes)


Embeddings = Annotated[Any, ArrayOf("B D")]
Weights = Annotated[Any, ArrayOf("C D")]
Logits = Annotated[Any, ArrayOf("B C")]
Labels = Annotated[Any, ArrayOf("B", "integral")]
Bias = Annotated[Any, ArrayOf("C", optional=True)]
SampleWeight = Annotated[Any, ArrayOf("B", optional=True)]
Angle = Annotated[Any, Number("an angle in radians", 0.0, math.pi, shapes=("", "B"))]
CosineMargin = Annotated[Any, Number("a margin on the cosine", -2.0, 2.0, shapes=("", "B"))]
AngleFactor = Annotated[Any, Number("a factor of the angle", 1.0, 10.0, shapes=("", "B"))]
AnyAngleFactor = Annotated[Any, Number("a factor of the angle", 0.0, 10.0, above=True, shapes=("", "B"))]
Scale = Annotated[Any, Number("a scale", 0.0, above=True)]
OptionalScale = Annotated[Any, Number("a scale", 0.0, above=True, optional=True)]
Annealing = Annotated[Any, Number("a weight", 0.0)]
LabelSmoothing = Annotated[float, Number("a probability", 0.0, 1.0, shapes=())]
PastPi = Literal["smooth", "linear", "shifted", "reflect", "clamp", "easy"]
Gradient = Literal["exact", "straight_through"]
Reduction = Literal["none", "sum", "mean"]
