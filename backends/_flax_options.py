"""What a head of flax.nnx keeps its options in."""

from collections.abc import Iterator, MutableMapping
from typing import Any

import jax
from flax import nnx
from flax.nnx import reprlib


class Options(reprlib.MappingReprMixin, nnx.Module, MutableMapping[str, Any]):
    """A mapping whose variables are part of the state: as `nnx.Dict`, which flax 0.11 has not.

    An array in the place of a number is no part of the program, also where a traced function sets it.
    """

    def __init__(self, options: dict[str, Any]) -> None:
        for name, option in options.items():
            self[name] = option

    def __setattr__(self, name: str, value: Any) -> None:
        data = isinstance(value, jax.Array) and hasattr(nnx, "data")
        super().__setattr__(name, nnx.data(value) if data else value)

    def __getitem__(self, name: str) -> Any:
        if name not in vars(self):
            raise KeyError(name)
        return getattr(self, name)

    def __setitem__(self, name: str, option: Any) -> None:
        setattr(self, name, option)

    def __delitem__(self, name: str) -> None:
        if name not in vars(self):
            raise KeyError(name)
        delattr(self, name)

    def __iter__(self) -> Iterator[str]:
        return (name for name in vars(self) if not name.startswith("_"))  # which flax sets on every module

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __hash__(self) -> int:
        return id(self)
