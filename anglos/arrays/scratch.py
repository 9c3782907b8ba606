"""Arrays in which tiles compute."""

from threading import get_ident

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array


class Scratch:
    """Arrays that tiles use one after the other, a set for every thread.

    What is freed after every tile would be given back to the system, and be faulted in again by the next.
    """

    def __init__(self, backend: Backend, several: bool) -> None:
        self.backend, self.several = backend, several and backend.changes_arrays()
        self.arrays: dict[tuple[str, int], Array] = {}

    def take(self, name: str, like: Array, *shape: int) -> Array | None:
        """An array to be filled; None where one tile has all classes, or arrays are not changed."""
        if not self.several:
            return None
        key = name, get_ident()
        array = self.arrays.get(key)
        if array is None or array.shape[0] < shape[0]:
            array = self.arrays[key] = self.backend.scratch(like, *shape)
        return None if array is None else array[: shape[0], ...]
