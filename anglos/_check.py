"""What each argument may be, and the message when it is something else.

A loss says so in its annotations, with the names at the end of this file. Everything is refused before any
arithmetic, in one form: "loss: argument was this; wanted that".
"""

import difflib
import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, NoReturn, get_args, get_origin

from anglos._backend import Backend
from anglos._dispatch import backend_of

_LIBRARIES = "NumPy, PyTorch, JAX, CuPy or another library of the array API standard"


@dataclass(frozen=True)
class ArrayOf:
    """An array; the letters of its shape are sizes that arguments share."""

    shape: str
    dtype: Literal["real floating", "integral"] = "real floating"
    optional: bool = False


@dataclass(frozen=True)
class Number:
    """A number from low to high, or an array of such numbers in one of the shapes."""

    what: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    shapes: tuple[str, ...] = ("",)
    optional: bool = False

    def __str__(self) -> str:
        if self.above or self.high == math.inf:
            return f"{self.what} {'above' if self.above else 'of at least'} {self.low:g}"
        return f"{self.what} from {self.low:g} to {self.high:g}"

    def holds(self, low: float, high: float) -> bool:
        """Whether everything from low to high is allowed; NaN never is."""
        return (low > self.low if self.above else low >= self.low) and high <= self.high and abs(high) < math.inf


class _Refusal(NamedTuple):
    """Raises the one form of message."""

    loss: str

    def __call__(self, kind: type[Exception], name: str, was: str, wanted: str) -> NoReturn:
        raise kind(f"{self.loss}: {name} {was}; wanted {wanted}")


def check_names(loss: str, arrays: tuple[str, ...], given: int, options: Mapping[str, Any], known: Mapping[str, Any]
                ) -> None:
    """As many arrays as the loss takes, and no option that it does not have."""
    if given != len(arrays):
        raise TypeError(f"{loss}: {given} arrays were given; wanted {len(arrays)}: {', '.join(arrays)}")
    for name in options:
        if name in arrays:
            raise TypeError(f"{loss}: {name} was given by name; wanted by position, in the order {', '.join(arrays)}")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise TypeError(f"{loss}: {name} was given, which is no option of it; wanted one of {', '.join(known)}"
                            + (f" (did you mean {close[0]}?)" if close else ""))


def check_values(loss: str, kinds: Mapping[str, Any], values: Mapping[str, Any]
                 ) -> tuple[Backend, dict[str, Any], dict[str, Any], dict[str, int]]:
    """The backend, the arrays and the other options apart, and the sizes that the shapes' letters stand for."""
    refuse = _Refusal(loss)
    owners = [owner for owner in map(backend_of, values.values()) if owner is not None]
    backend = next((one for one in owners if all(map(one.accepts, owners))), owners[0] if owners else None)
    arrays: dict[str, Any] = {}
    static: dict[str, Any] = {}
    sizes: dict[str, tuple[int, str]] = {}
    for name, value in values.items():
        kind = kinds[name]
        if isinstance(kind, tuple):
            if value not in kind or type(value) not in {type(choice) for choice in kind}:
                refuse(ValueError, name, f"was {value!r}", f"one of {', '.join(map(repr, kind))}")
            static[name] = value
        elif kind is int:
            if isinstance(value, bool) or not isinstance(value, numbers.Integral):
                refuse(TypeError, name, f"was {value!r}", "an integer")
            static[name] = int(value)
        elif value is None and kind.optional:
            static[name] = None
        elif isinstance(kind, Number) and isinstance(value, numbers.Real) and not isinstance(value, bool):
            number = float(value)
            if not kind.holds(number, number):
                refuse(ValueError, name, f"was {number:g}", _wanted(kind, number))
            static[name] = number
        else:
            arrays[name] = _check_array(refuse, name, value, kind, backend, arrays, sizes)
    assert backend is not None  # every loss has an array
    for letter in "CD":
        if letter in sizes and sizes[letter][0] == 0:
            name = sizes[letter][1]
            refuse(ValueError, name, f"was of shape {tuple(values[name].shape)}", f"at least one for {letter}")
    return backend, arrays, static, {letter: size for letter, (size, _) in sizes.items()}


def _check_array(refuse: _Refusal, name: str, value: Any, kind: ArrayOf | Number, backend: Backend | None,
                 arrays: dict[str, Any], sizes: dict[str, tuple[int, str]]) -> Any:
    own = backend_of(value)
    shapes = (kind.shape,) if isinstance(kind, ArrayOf) else kind.shapes
    dtype = kind.dtype if isinstance(kind, ArrayOf) else "real floating"
    wanted = f"{dtype} array of shape {' or '.join(map(_spell, shapes))}"
    if isinstance(kind, Number):
        wanted = f"{kind}" + (f", or a {wanted}" if shapes else "")
    if own is None or backend is None or not shapes:
        was = f"was {value!r}" if isinstance(value, (str, int, float, type(None))) else f"was a {_type_name(value)}"
        refuse(TypeError, name, was, wanted if isinstance(kind, Number) else f"a {wanted}, of {_LIBRARIES}")
    first = next(iter(arrays), name)
    if not backend.accepts(own):
        refuse(TypeError, name, f"was a {own.name} array", f"a {backend.name} array, as {first} is one")
    if not own.xp.isdtype(value.dtype, dtype):
        refuse(TypeError, name, f"was of dtype {value.dtype}", f"a {dtype} dtype")
    shape = tuple(value.shape)
    for letters in shapes:
        split = letters.split()
        if len(split) == len(shape) and all(sizes.get(letter, (size,))[0] == size
                                            for letter, size in zip(split, shape, strict=True)):
            sizes.update({letter: (size, name) for letter, size in zip(split, shape, strict=True)
                          if letter not in sizes})
            break
    else:
        known = [f"{letter} being {sizes[letter][0]} in {sizes[letter][1]}"
                 for letter in dict.fromkeys(" ".join(shapes).split()) if letter in sizes]
        refuse(ValueError, name, f"was of shape {shape}",
               "shape " + " or ".join(map(_spell, shapes)) + (f", {', '.join(known)}" if known else ""))
    if own is backend and arrays:
        there, here = backend.device(arrays[first]), backend.device(value)
        if there != here:
            refuse(ValueError, name, f"was on device {here}", f"device {there}, as {first} is there")
    if isinstance(kind, Number) and own.is_readable(value) and math.prod(shape):
        low, high = float(own.xp.min(value)), float(own.xp.max(value))
        if not kind.holds(low, high):
            number = high if kind.holds(low, low) else low
            refuse(ValueError, name, f"held {number:g}", _wanted(kind, number))
    return value if own is backend else backend.adopt(value)


def check_labels(loss: str, backend: Backend, labels: Any, classes: int, ignore_index: int) -> bool:
    """Whether all labels are known to be classes; one that is neither that nor ignored is refused, if readable."""
    if not backend.is_readable(labels):
        return False
    if labels.shape[0] == 0:
        return True
    xp = backend.xp
    inside = int(xp.min(labels)) >= 0 and int(xp.max(labels)) < classes
    if not inside:
        outside = ((labels < 0) | (labels >= classes)) & (labels != ignore_index)
        if bool(xp.any(outside)):
            where = int(xp.argmax(xp.astype(outside, backend.index_type)))
            _Refusal(loss)(ValueError, "labels", f"held {int(labels[where])} at position {where}",
                          f"0 to {classes - 1}, or ignore_index ({ignore_index})")
    return inside and not 0 <= ignore_index < classes


def _wanted(kind: Number, number: float) -> str:
    if "radians" in kind.what and number > kind.high:
        return f"{kind} (if it is in degrees: math.radians({number:g}) = {math.radians(number):g})"
    return str(kind)


def _spell(letters: str) -> str:
    split = letters.split()
    return f"({', '.join(split)}{',' if len(split) == 1 else ''})"


def _type_name(value: Any) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def kind_of(annotation: Any) -> Any:
    """What a parameter's annotation allows: a kind of this file, a tuple of choices, or int."""
    if get_origin(annotation) is Annotated:
        return get_args(annotation)[1]
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return (True, False) if annotation is bool else annotation


Embeddings = Annotated[Any, ArrayOf("B D")]
Weights = Annotated[Any, ArrayOf("C D")]
Logits = Annotated[Any, ArrayOf("B C")]
Labels = Annotated[Any, ArrayOf("B", "integral")]
Bias = Annotated[Any, ArrayOf("C", optional=True)]
SampleWeight = Annotated[Any, ArrayOf("B", optional=True)]
Angle = Annotated[Any, Number("an angle in radians", 0.0, math.pi, shapes=("", "B"))]
CosineMargin = Annotated[Any, Number("a margin in units of the cosine", -2.0, 2.0, shapes=("", "B"))]
AngleFactor = Annotated[Any, Number("a factor of the angle", 1.0, 10.0, shapes=("", "B"))]
AnyAngleFactor = Annotated[Any, Number("a factor of the angle", 0.0, 10.0, above=True, shapes=("", "B"))]
Scale = Annotated[Any, Number("a number", 0.0, above=True)]
OptionalScale = Annotated[Any, Number("a number", 0.0, above=True, optional=True)]
Annealing = Annotated[Any, Number("a number", 0.0)]
LabelSmoothing = Annotated[float, Number("a number", 0.0, 1.0, shapes=())]
PastPi = Literal["smooth", "linear", "shifted", "reflect", "clamp", "easy"]
Gradient = Literal["exact", "straight_through"]
Reduction = Literal["none", "sum", "mean"]
