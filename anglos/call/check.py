"""Checks of a call, before any arithmetic. Every refusal reads "loss: argument was this; wanted that"."""

from collections.abc import Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import hint, spec_of, unwrapped
from anglos.arrays.library import Spec
from anglos.call import guesses
from anglos.call.contents import check_contents, contents_of, is_integer
from anglos.call.kinds import ArrayOf, by_role, describe, has_gradient, is_dtype, refuse, spell
from anglos.call.together import check_idle, check_together


class Checked(NamedTuple):
    """The backend, the arrays apart from the other values, and the sizes that the letters of shapes stand for."""

    backend: Backend
    arrays: dict[str, Any]
    static: dict[str, Any]
    sizes: dict[str, int]
    kinds: Mapping[str, Any]
    """Of what was given, where one kind may stand in place of another."""


def check_names(loss: str, arrays: tuple[str, ...], required: int, given: int, options: Iterable[str],
                names: Mapping[str, Any], kinds: Mapping[str, Any]) -> None:
    """As many arrays as the loss takes, and no option that it does not have."""
    for name in options:
        if name in arrays:
            refuse(loss, name, TypeError, "was given by name", f"it by position, in the order {', '.join(arrays)}")
        if name not in names:
            refuse(loss, name, TypeError, "was given, which is none of its options",
                   ", ".join(names) + guesses.of_name(name, kinds, arrays, arrays if given < required else ()))
    if not required <= given <= len(arrays):
        many = str(required) if required == len(arrays) else f"{required} or {len(arrays)}"
        refuse(loss, "the arrays", TypeError, f"were {given}",
               f"{many}: {', '.join(arrays)}{guesses.of_count(arrays, given)}")


def check_options(loss: str, kinds: Mapping[str, Any], arrays: tuple[str, ...], options: Mapping[str, Any],
                  names: Mapping[str, Any], classes: int | None = None) -> dict[str, Any]:
    """The options, those that are no arrays as the values that a call would take from them.

    If the number of classes is known, also the types and shapes of arrays, of which (1,) may stand for a number.
    """
    check_names(loss, arrays, len(arrays), len(arrays), options, names, kinds)
    specs = {name: spec_of(unwrapped(value)) for name, value in options.items()}
    kinds = kinds_of(kinds, specs)
    for name, spec in specs.items():
        if classes is not None and isinstance(spec, Spec) and (shapes := getattr(kinds[name], "shapes", ())):
            refused, sizes, library = partial(refuse, loss, name), {"C": classes}, cast(Any, spec.library)
            _check_array(refused, spec, kinds, name, library, {}, sizes)
            if not ("" in shapes and tuple(spec.shape) == (1,)):
                _check_shape(refused, name, spec, kinds, sizes, {"C": "num_classes"})
    return {name: options[name] if isinstance(spec, Spec) else _static(loss, name, spec, kinds[name])
            for name, spec in specs.items()}


def check_defaults(loss: str, kinds: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults as the values that a call would take from them."""
    return {name: kinds[name].static(partial(refuse, loss, f"the default of {name}"), value)
            for name, value in defaults.items()}


def check_values(loss: str, kinds: Mapping[str, Any], values: Mapping[str, Any],
                 defaults: Mapping[str, Any] = MappingProxyType({})) -> Checked:
    """Every value against its kind, arrays against each other, and options that have these defaults."""
    values = {name: unwrapped(value) for name, value in values.items()}
    checked = check_specs(loss, kinds, {name: spec_of(value) for name, value in values.items()}, defaults)
    contents = contents_of(checked.kinds, checked.arrays)
    return checked._replace(arrays=check_contents(loss, checked.backend, contents, values))


def check_specs(loss: str, kinds: Mapping[str, Any], specs: Mapping[str, Any],
                defaults: Mapping[str, Any] = MappingProxyType({})) -> Checked:
    """The same without a look at the numbers in arrays: in place of each is its spec."""
    kinds = kinds_of(kinds, specs)
    check_together(loss, kinds, specs)
    found = [spec.library for spec in specs.values() if isinstance(spec, Spec)]
    backend: Any = next((one for one in found if all(map(one.accepts, found))), next(iter(found), None))
    arrays: dict[str, Spec] = {}
    static: dict[str, Any] = {}
    sizes: dict[str, int] = {}
    sources: dict[str, str] = {}
    for name, spec in specs.items():
        kind = kinds[name]
        if not isinstance(spec, Spec) or not getattr(kind, "shapes", ()):
            static[name] = _static(loss, name, spec, kind)
            continue
        refused = partial(refuse, loss, name)
        _check_array(refused, spec, kinds, name, backend, arrays, sizes)
        _check_shape(refused, name, spec, kinds, sizes, sources)
        if spec.library is backend and arrays:
            first, beside = next(iter(arrays.items()))
            if spec.device != beside.device:
                refused(ValueError, f"was on device {spec.device}", f"device {beside.device}, where {first} is")
        arrays[name] = spec
    check_idle(loss, kinds, {**static, **arrays}, defaults)
    assert backend is not None  # every loss takes an array, and refuses anything else in its place
    return Checked(backend, arrays, static, sizes, kinds)


def kinds_of(kinds: Mapping[str, Any], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The kinds of what was given, where one may stand in place of another, or depends on what else was given."""
    named, found = by_role(kinds), dict(kinds)
    for name in kinds:
        other = getattr(found[name], "other", None)
        if other is not None and _is_of(values.get(name), other):
            found[name] = other
        while (without := getattr(found[name], "without", None)) is not None:
            beside = values.get(named.get(without[0], without[0]))
            if not (beside is None or beside is False):
                break
            found[name] = without[1]
    return found


def check_wrt(loss: str, kinds: Mapping[str, Any], wrt: Any) -> None:
    """A tuple of names of inputs that have a gradient."""
    allowed = [name for name, kind in kinds.items() if has_gradient(kind)]
    if not isinstance(wrt, (tuple, list)) or not all(name in allowed for name in wrt):
        refuse(loss, "wrt", ValueError, f"was {wrt if isinstance(wrt, (tuple, list)) else describe(wrt)}",
               f"a tuple of names out of {', '.join(allowed)}")


def _static(loss: str, name: str, value: Any, kind: Any) -> Any:
    """A value that is no array, or stands where none may, as its kind takes it."""
    return kind.static(lambda error, was, wanted: refuse(
        loss, name, error, was, wanted + (hint(value) or guesses.of_word(value))), value)


def _is_of(spec: Any, kind: ArrayOf) -> bool:
    """Whether an array has the type, and as many axes as one of the shapes."""
    return isinstance(spec, Spec) and spec.unfit is None and is_dtype(spec.library.xp, spec.dtype, kind.dtype) and any(
        len(spec.shape) == len(shape.split()) for shape in kind.shapes)


def _check_array(refused: Any, spec: Spec, kinds: Mapping[str, Any], name: str, backend: Backend,
                 arrays: Mapping[str, Spec], sizes: Mapping[str, int]) -> None:
    """Its library beside the others', and its type."""
    kind = kinds[name]
    if not backend.accepts(spec.library):
        refused(TypeError, f"was a {spec.library.name} array",
                f"a {backend.name} array, as {next(iter(arrays))} is one")
    if spec.unfit is not None:
        refused(TypeError, f"was {spec.unfit[0]}", spec.unfit[1])
    xp = spec.library.xp
    if not (is_dtype(xp, spec.dtype, kind.dtype) or is_integer(spec, kind)):
        other = getattr(kind, "other", None)
        shape = f" and shape {tuple(spec.shape)}" if other is not None and is_dtype(xp, spec.dtype, other.dtype) else ""
        refused(TypeError, f"was of dtype {spec.dtype}{shape}", str(kind) + guesses.of_dtype(kinds, name, spec, sizes))


def _check_shape(refused: Any, name: str, spec: Spec, kinds: Mapping[str, Any], sizes: dict[str, int],
                 sources: dict[str, str]) -> None:
    shape, kind = tuple(spec.shape), kinds[name]
    for letters in (form.split() for form in kind.shapes):
        if len(letters) == len(shape) and all(sizes.get(letter, size) == size
                                              for letter, size in zip(letters, shape, strict=True)):
            for letter, size in zip(letters, shape, strict=True):
                if letter in "CDHKLT" and size is None:
                    refused(ValueError, f"was of shape {shape}", f"{letter} to be known in {spell(kind.shapes)}")
                if letter in "CDHKLMT" and size == 0:
                    refused(ValueError, f"was of shape {shape}", f"{letter} to be at least 1 in {spell(kind.shapes)}")
                sizes[letter] = size
                sources.setdefault(letter, name)
            return
    others = [f"{letter} = {sizes[letter]} in {sources[letter]}"
             for letter in dict.fromkeys(" ".join(kind.shapes).split()) if letter in sizes]
    other = getattr(kind, "other", None)
    beside = f", with {', '.join(others)}" if others else ""
    instead = f"; or {other}" if other is not None and len(shape) == 2 else ""
    guess = guesses.of_shape(kinds, name, spec, sizes)
    refused(ValueError, f"was of shape {shape}", f"{spell(kind.shapes)}{beside}{instead}{guess}")
