"""A loss, as its plans see it."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from anglos.engines.contract import Engine


class Defined(Protocol):
    """What a plan has to know of a loss."""

    name: str
    engine: Engine
    arrays: tuple[str, ...]
    required: int
    """So many of the arrays must be given."""
    frozen: tuple[str, ...]
    """Arguments that are constants to the gradient."""

    @property
    def defaults(self) -> Mapping[str, Any]: ...

    @property
    def dotted_name(self) -> str: ...

    @property
    def kinds(self) -> Mapping[str, Any]: ...

    @property
    def roles(self) -> Mapping[str, str]:
        """What its engine calls its arguments, where that is not their names."""

    @property
    def row(self) -> Callable[..., Any]:
        """(*arrays, **options) -> what its engine wants to know."""

    def __hash__(self) -> int: ...
