"""How the states of two tiles of a sweep become one."""

from typing import Any, Protocol

from anglos.arrays.library import Array


class Monoid(Protocol):
    """An associative operation on the states of tiles, which come in any order."""

    @property
    def name(self) -> str:
        """"sum" if states are added, array by array: a library may then do so in its own way."""

    def combine(self, xp: Any, a: Any, b: Any) -> Any:
        """The state of both; may use the arrays of the first."""


class _Sum:
    name = "sum"

    def combine(self, xp: Any, a: dict[str, Array], b: dict[str, Array]) -> dict[str, Array]:
        for name in a:
            a[name] += b[name]
        return a


SUM: Monoid = _Sum()
"""Of arrays by name."""
