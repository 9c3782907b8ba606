"""Checks of a call, before any arithmetic. Every refusal reads "loss: argument was this; wanted that"."""

import difflib
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, NoReturn

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of, hint, unwrapped
from anglos.call.kinds import ArrayOf, Number, Signs, describe, has_gradient, is_dtype, spell
from anglos.engines.numerics import float_type


class Checked(NamedTuple):
    """The backend, the arrays apart from the other values, and the sizes that the letters of shapes stand for."""

    backend: Backend
    arrays: dict[str, Any]
    static: dict[str, Any]
    sizes: dict[str, int]


def check_names(loss: str, arrays: tuple[str, ...], required: int, given: int, options: Mapping[str, Any],
                known: Mapping[str, Any]) -> None:
    """As many arrays as the loss takes, and no option that it does not have."""
    for name in options:
        if name in arrays:
            _refuse(loss, name, TypeError, "was given by name", f"it by position, in the order {', '.join(arrays)}")
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            _refuse(loss, name, TypeError, "was given, which is none of its options",
                    ", ".join(known) + (f" (did you mean {close[0]}?)" if close else ""))
    if not required <= given <= len(arrays):
        many = str(required) if required == len(arrays) else f"{required} or {len(arrays)}"
        _refuse(loss, "the arrays", TypeError, f"were {given}", f"{many}: {', '.join(arrays)}")


def check_together(loss: str, kinds: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Options that mean something only with each other."""
    one, other = "reference_embeddings", "reference_labels"
    weights = getattr(kinds.get("labels"), "other", None)
    if weights is not None and _is_of(values.get("labels"), weights):  # in the place of classes
        if values.get(other) is not None:
            _refuse(loss, other, TypeError, "was given", "None where labels are weights of positives")
        if (ignored := values.get("ignore_index", -100)) != -100:
            _refuse(loss, "ignore_index", ValueError, f"was {describe(ignored)}", "labels that are integers with it")
    elif (values.get(one) is None) != (values.get(other) is None):
        missing, there = (other, one) if values.get(other) is None else (one, other)
        _refuse(loss, missing, TypeError, "was None", f"it together with {there}")
    shape, rows = (tuple(getattr(values.get(name), "shape", ())) for name in ("false_negatives", "queries"))
    if shape and rows and values.get("negatives") is None and shape != (*rows[:1], *rows[:1]):
        _refuse(loss, "false_negatives", ValueError, f"was of shape {shape}", f"({rows[0]}, {rows[0]})")
    if values.get("negatives") is not None and values.get("symmetric"):
        _refuse(loss, "symmetric", ValueError, "was True", "False with negatives, which have no queries")


def check_options(loss: str, kinds: Mapping[str, Any], arrays: tuple[str, ...], options: Mapping[str, Any],
                  known: Mapping[str, Any]) -> dict[str, Any]:
    """The options, those that are no arrays as the values that a call would take from them."""
    check_names(loss, arrays, len(arrays), len(arrays), options, known)
    kinds, found = kinds_of(kinds, options), dict(options)
    for name, value in options.items():
        value = unwrapped(value)
        if backend_of(value) is None:
            found[name] = kinds[name].static(partial(_refuse_value, loss, name, value), value)
    return found


def check_defaults(loss: str, kinds: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults as the values that a call would take from them."""
    return {name: kinds[name].static(partial(_refuse, loss, name), value) for name, value in defaults.items()}


def check_values(loss: str, kinds: Mapping[str, Any], values: Mapping[str, Any]) -> Checked:
    """Every value against its kind; arrays against each other."""
    values = {name: unwrapped(value) for name, value in values.items()}
    check_together(loss, kinds, values)
    kinds = kinds_of(kinds, values)
    checked = check_kinds(loss, kinds, values)
    owners = checked.arrays
    arrays = check_contents(loss, kinds, checked.backend, owners, ranged_of(kinds, owners),
                            integers_of(kinds, owners, values), values)
    return checked._replace(arrays=arrays)


def kinds_of(kinds: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The kinds of what was given, where one kind may stand in the place of another."""
    others = {name: other for name in values if (other := getattr(kinds[name], "other", None)) is not None}
    without = {name: pair for name in values if (pair := getattr(kinds[name], "without", None)) is not None}
    return {**kinds, **{name: other for name, other in others.items() if _is_of(values[name], other)},
            **{name: kind for name, (option, kind) in without.items() if values.get(option) is None}}


def _is_of(value: Any, kind: ArrayOf) -> bool:
    """Whether an array has the type, and as many axes as one of the shapes."""
    owner = backend_of(value)
    return owner is not None and not owner.unfit(value) and is_dtype(owner.xp, value.dtype, kind.dtype) and any(
        len(value.shape) == len(shape.split()) for shape in kind.shapes)


def check_kinds(loss: str, kinds: Mapping[str, Any], values: Mapping[str, Any]) -> Checked:
    """The same without a look at the numbers in arrays: in the place of each is the library that it is of."""
    found = dict.fromkeys(owner for owner in map(backend_of, values.values()) if owner is not None)
    backend = next((one for one in found if all(map(one.accepts, found))), next(iter(found), None))
    arrays: dict[str, Any] = {}
    owners: dict[str, Backend] = {}
    static: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    sources: dict[str, str] = {}
    for name, value in values.items():
        kind, owner = kinds[name], backend_of(value)
        refuse = partial(_refuse, loss, name)
        if owner is None or backend is None or not getattr(kind, "shapes", ()):
            static[name] = kind.static(partial(_refuse_value, loss, name, value), value)
            continue
        if not backend.accepts(owner):
            refuse(TypeError, f"was a {owner.name} array", f"a {backend.name} array, as {next(iter(arrays))} is one")
        if (unfit := owner.unfit(value)) is not None:
            refuse(TypeError, f"was {unfit[0]}", unfit[1])
        if not (is_dtype(owner.xp, value.dtype, kind.dtype) or _is_integer(owner.xp, value, kind)):
            other = getattr(kind, "other", None)
            shape = "" if other is None or not is_dtype(owner.xp, value.dtype, other.dtype) else tuple(value.shape)
            refuse(TypeError, f"was of dtype {value.dtype}" + (f" and shape {shape}" if shape else ""), str(kind))
        _check_shape(refuse, name, value, kind, sizes, sources)
        if owner is backend and arrays:
            first = next(iter(arrays))
            here, there = backend.device(value), backend.device(arrays[first])
            if here != there:
                refuse(ValueError, f"was on device {here}", f"device {there}, where {first} is")
        arrays[name], owners[name] = value, owner
    if "reference_embeddings" not in arrays and sizes.get("N", rows := sizes.get("B")) != rows:
        _refuse(loss, sources["N"], ValueError, f"was of shape ({rows}, {sizes['N']})",
                f"({rows}, {rows}): every sample with every sample")
    assert backend is not None  # every loss takes an array, and refuses anything else in its place
    return Checked(backend, owners, static, sizes)


def ranged_of(kinds: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[str]:
    """The arrays whose numbers are checked."""
    return [name for name in arrays if kinds[name].ranged]


def integers_of(kinds: Mapping[str, Any], owners: Mapping[str, Backend], values: Mapping[str, Any]) -> list[str]:
    """The arrays of an integer that stand for numbers."""
    return [name for name, owner in owners.items() if _is_integer(owner.xp, values[name], kinds[name])]


def check_contents(loss: str, kinds: Mapping[str, Any], backend: Backend, owners: Mapping[str, Backend],
                   ranged: Sequence[str], integers: Sequence[str], values: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays as the backend's own; the numbers of some of them against their kinds."""
    if integers:  # in the type of the arithmetic, as a number would be
        dtype = float_type(backend.xp, values[next(iter(owners))])
        values = {**values, **{name: owners[name].xp.astype(values[name], dtype) for name in integers}}
    arrays = {name: values[name] if owner is backend else backend.adopt(values[name])
              for name, owner in owners.items()}
    for name in ranged:
        owner, value, kind = owners[name], values[name], kinds[name]
        measured = kind.measured(owner.xp, value) if isinstance(kind, Signs) else value
        bounds = owner.bounds(measured) if 0 not in value.shape else None
        if bounds is None:
            arrays[name] = kind.nan_outside(backend.xp, arrays[name])
        else:
            kind.check_range(partial(_refuse, loss, name), "held", *bounds)
    return arrays


def _is_integer(xp: Any, value: Any, kind: Any) -> bool:
    """Whether it is a 0-d array of an integer, which is a number too."""
    return isinstance(kind, Number) and len(value.shape) == 0 and is_dtype(xp, value.dtype, "integral")


def _check_shape(refuse: Any, name: str, value: Any, kind: ArrayOf | Number, sizes: dict[str, int],
                 sources: dict[str, str]) -> None:
    shape = tuple(value.shape)
    for letters in (form.split() for form in kind.shapes):
        if len(letters) == len(shape) and all(sizes.get(letter, size) == size
                                              for letter, size in zip(letters, shape, strict=True)):
            for letter, size in zip(letters, shape, strict=True):
                if letter in "CDKL" and size is None:
                    refuse(ValueError, f"was of shape {shape}", f"{letter} to be known in {spell(kind.shapes)}")
                if letter in "CDKLM" and size == 0:
                    refuse(ValueError, f"was of shape {shape}", f"{letter} to be at least 1 in {spell(kind.shapes)}")
                sizes[letter] = size
                sources.setdefault(letter, name)
            return
    known = [f"{letter} = {sizes[letter]} in {sources[letter]}"
             for letter in dict.fromkeys(" ".join(kind.shapes).split()) if letter in sizes]
    other = getattr(kind, "other", None)
    refuse(ValueError, f"was of shape {shape}", spell(kind.shapes) + (f", with {', '.join(known)}" if known else "") + (
        f"; or {other}" if other is not None and len(shape) == 2 else ""))


def check_wrt(loss: str, kinds: Mapping[str, Any], wrt: Any) -> None:
    """A tuple of names of inputs that have a gradient."""
    known = [name for name, kind in kinds.items() if has_gradient(kind)]
    if not isinstance(wrt, (tuple, list)) or not all(name in known for name in wrt):
        _refuse(loss, "wrt", ValueError, f"was {wrt if isinstance(wrt, (tuple, list)) else describe(wrt)}",
                f"a tuple of names out of {', '.join(known)}")


def _refuse(loss: str, name: str, kind: type[Exception], was: str, wanted: str) -> NoReturn:
    raise kind(f"{loss}: {name} {was}; wanted {wanted}")


def _refuse_value(loss: str, name: str, value: Any, kind: type[Exception], was: str, wanted: str) -> NoReturn:
    _refuse(loss, name, kind, was, wanted + hint(value))
