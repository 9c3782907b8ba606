"""The docstring of a loss: what its function says of it, completed by the texts of its arguments' kinds."""

import inspect
import math
import re
import textwrap
from collections.abc import Mapping
from functools import singledispatch
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from anglos.call.arguments import Array
from anglos.call.kinds import ArrayOf, Number, Signs, spell
from anglos.call.static_kinds import Integer, OneOf, Pair, Words

_WIDTH = 116

_RETURNS = "array ()", """
    Of the floating-point type of the inputs, float32 at least."""

_RAISES = """TypeError, ValueError
    Before any arithmetic, with the argument's name, what it was and what is wanted."""

_UNITS = ("angle in radians", "cosine", "factor of the angle", "squared distance")
"""What a number is where "number" does not say enough."""


def document(text: str, paper: str, signature: inspect.Signature, kinds: Mapping[str, Any]) -> str:
    """The docstring: the sections of the text, and what they do not say of parameters, result and paper.

    What the text says of a parameter stays as it is. If it gives no type, as in "name" and not "name : type", that is
    the kind's; "...", at the beginning or the end, stands for the text of the kind.
    """
    head, *parts = re.split(r"(?:^|\n\n)(\w[\w ]*)\n---+\n", inspect.cleandoc(text))
    sections = dict(zip(parts[::2], parts[1::2], strict=True))
    told = re.split(r"\n(?=\S)", sections.pop("Parameters", ""))
    own = {re.split(r"\W", entry, maxsplit=1)[0]: entry for entry in told}
    entries = [_entry(name, own.pop(name, name), kinds[name], parameter.default)
               for name, parameter in signature.parameters.items()]
    parameters = "\n".join([*entries, *filter(None, own.values())])
    if paper and "References" not in sections:
        sections["References"] = paper
    returns = (" or (B,)" if "reduction" in kinds else "").join(_RETURNS)
    sections = {"Parameters": parameters, "Returns": returns, "Raises": _RAISES, **sections}
    return "\n\n".join([head.rstrip(), *(f"{name}\n{'-' * len(name)}\n{body.rstrip()}"
                                        for name, body in sections.items())]) + "\n"


class _Word(str):
    """An annotation that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shown(signature: inspect.Signature) -> inspect.Signature:
    """A signature as users read it: of annotations their types, not the kinds that ours carry beside them."""
    parameters = [one.replace(annotation=_Word(_type_name(one.annotation))) for one in signature.parameters.values()]
    return signature.replace(parameters=parameters, return_annotation=_Word("Array"))


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, UnionType):
        return " | ".join(map(_type_name, get_args(annotation)))
    if get_origin(annotation) is None and isinstance(annotation, type):
        return "None" if annotation is type(None) else annotation.__name__
    return str(annotation).replace("typing.", "").replace(f"{Array.__module__}.", "")


def _entry(name: str, entry: str, kind: Any, default: Any) -> str:
    """What is said of one parameter."""
    head, _, text = entry.partition("\n")
    head = head if " : " in head else f"{name} : {type_of(kind, default)}"
    if text and not (text.lstrip().startswith("... ") or text.endswith(" ...")):
        return f"{head}\n{text}"
    text = re.sub(r"^\.\.\.|(?<= )\.\.\.$", lambda _: kind.text, " ".join(text.split())) or kind.text
    return head + textwrap.fill(text, _WIDTH, initial_indent="\n    ", subsequent_indent="    ") if text else head


def type_of(kind: Any, default: Any = inspect.Parameter.empty) -> str:
    """What an argument may be, and its default."""
    text = _type_of(kind)
    if default is None:
        return f"{text}, optional"
    none = ", or None" if getattr(kind, "optional", False) else ""
    return f"{text}{none}" + ("" if default is inspect.Parameter.empty else f", default {_python(default)}")


@singledispatch
def _type_of(kind: Any) -> str:
    return str(kind)


@_type_of.register
def _(kind: ArrayOf) -> str:
    words = {"integral": "integer array", "bool": "boolean array", "real floating": "array"}
    other = "" if kind.other is None else f", or real floating array {spell(kind.other.shapes)}"
    return f"{words[kind.dtype]} {spell(kind.shapes)}{other}"


@_type_of.register
def _(kind: Signs) -> str:
    return f"array {spell(kind.shapes)}, of integers or of real floating dtype"


@_type_of.register
def _(kind: Number) -> str:
    unit = next((unit for unit in _UNITS if unit in kind.what), "number")
    above, low, high = kind.above, f" of at least {_spell(kind.low)}", ""
    if kind.high < math.inf:
        low, high = f" from {_spell(kind.low)}", f" {'and up ' if above else ''}to {_spell(kind.high)}"
    span = "" if kind.low == -math.inf else f" above {_spell(kind.low)}{high}" if above else f"{low}{high}"
    text = f"positive {unit}" if span == " above 0" else f"{unit}{span}"
    array = f"array {spell(kind.shapes)}" if kind.shapes else ""
    text += array and (f", or {array}" if unit == "number" else f"; a number, or an {array}")
    return text if kind.word is None else f'{text}, or "{kind.word}"'


@_type_of.register
def _(kind: OneOf) -> str:
    if {*map(type, kind.choices)} == {bool}:
        return "bool"
    return "{" + ", ".join(map(_python, kind.choices)) + "}"


@_type_of.register
def _(kind: Integer) -> str:
    return "int" if kind.low < 0 else f"integer of at least {kind.low}"


@_type_of.register
def _(kind: Words) -> str:
    return "tuple of {" + ", ".join(map(_python, kind.words)) + "}"


@_type_of.register
def _(kind: Pair) -> str:
    return "pair of numbers, the first the smaller"


def _spell(number: float) -> str:
    return "π" if number == math.pi else f"{number:g}".replace("-", "−")


def _python(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    power = isinstance(value, int) and value >= 2**16 and value & (value - 1) == 0
    return f"2**{value.bit_length() - 1}" if power else repr(value)
