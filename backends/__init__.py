"""Adapters: one module per library, named after it, and the only place where one is imported.

A module has a `backend`, an `anglos.arrays.backend.Backend` that replaces what its library does better or otherwise:
how a loss is registered with automatic differentiation (`differentiable`), how tiles are swept (`sweep`), whether
values may be read (`bounds`), how automatic differentiation or mixed precision is switched off (`untracked`,
`plain`). It is imported when the first array of its library arrives. Every other library of the array API
standard is served by `Backend` itself.
"""

from anglos.arrays.backend import Backend as Backend
from anglos.arrays.dispatch import register as register

__all__ = ["Backend", "register"]


def __dir__() -> list[str]:
    return list(__all__)
