"""Checks of arguments that mean something only with each other, or only without."""

from collections.abc import Mapping
from typing import Any

from anglos.arrays.library import Spec
from anglos.call.kinds import by_role, describe, refuse


def check_together(loss: str, kinds: Mapping[str, Any], values: Mapping[str, Any]) -> None:
    """Arrays that come with others, or in place of them."""
    named, excluded = by_role(kinds), set()
    for name, kind in kinds.items():
        if values.get(name) is None:
            continue
        for role, default in getattr(kind, "excludes", ()):
            other = named.get(role, role)
            excluded.add(role)
            if other in values and values[other] != default:
                was = "was given" if isinstance(values[other], Spec) else f"was {describe(values[other])}"
                refuse(loss, other, ValueError if default is not None else TypeError, was,
                       f"{default!r} with {name} of {kind.dtype} dtype")
    for name, kind in kinds.items():
        for role, beside in getattr(kind, "together", ()):
            given = [name] if beside is None else [name, named.get(beside, beside)]
            missed = role in named and role not in excluded and values.get(named[role]) is None
            if missed and all(values.get(one) is not None for one in given):
                was = "was None, or without rows" if getattr(kinds[named[role]], "shape", "") == "M D" else "was None"
                refuse(loss, named[role], TypeError, was, f"it together with {' and '.join(given)}")


def check_idle(loss: str, kinds: Mapping[str, Any], values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Options that mean nothing beside the others; of those that were not given the defaults."""
    named, every = by_role(kinds), {**defaults, **values}
    for name in [name for name in values if name in defaults]:
        value, default = values[name], defaults[name]
        for idle in getattr(kinds[name], "idle", ()):
            others = {named.get(role, role): some for role, some in idle.beside}
            wrong = value != default and (idle.values is None or value in idle.values)
            if wrong and all(_is_one_of(every.get(other), some) for other, some in others.items()):
                beside = {other: every.get(other) for other in others if other in kinds}
                was = "was given" if isinstance(value, Spec) else f"was {describe(value)}"
                refuse(loss, name, ValueError, was, f"{default!r} {_spelled(beside)}")


def _is_one_of(value: Any, some: tuple[Any, ...]) -> bool:
    return ... in some if isinstance(value, Spec) else value in some


def _spelled(values: Mapping[str, Any]) -> str:
    """Beside what it was."""
    missed = [name for name, value in values.items() if value is None]
    there = [name if isinstance(value, Spec) else f"{name} = {value!r}" for name, value in values.items()
             if value is not None]
    parts = (f"with {' and '.join(there)}" if there else "", f"without {' and '.join(missed)}" if missed else "")
    return " and ".join(filter(None, parts))
