"""Roles of arguments, by which checks and engines know them, whatever they are called."""

from collections.abc import Mapping
from typing import Any

from anglos.call.kinds import by_role


def roles_of(loss: str, kinds: Mapping[str, Any], wanted: tuple[tuple[str, ...], ...]) -> dict[str, str]:
    """The roles of the arguments that are not called by them; refused where one is missing, or is there twice."""
    if not wanted:
        return {}
    arguments = by_role(kinds)
    for name, kind in kinds.items():
        role = getattr(kind, "role", None) or name
        if (other := arguments.get(role, name)) != name:
            raise TypeError(f"{loss}: {name} stood for {role}, as {other} does; wanted one argument that does")
    if not any(arguments.keys() >= set(roles) for roles in wanted):
        several = ", or ".join(" and ".join(roles) for roles in wanted)
        raise TypeError(f"{loss}: its arguments stood for {', '.join(arguments) or 'nothing'}; wanted {several}, "
                        "by their annotations")
    return {name: role for role, name in arguments.items() if role != name}
