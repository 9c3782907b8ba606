"""What is checked, with what, and how a fault is said."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple, NoReturn

import numpy as np

from anglos.call.kinds import has_gradient
from anglos.call.loss import Loss
from anglos.checks import samples


class Fault(AssertionError):
    """A loss that is not what it should be."""


class Subject(NamedTuple):
    """What is checked, and with what."""

    loss: Loss[...]
    libraries: list[Any]
    differences: bool
    inert: tuple[str, ...]
    constants: tuple[str, ...]

    def fault(self, library: str, what: str, was: str, wanted: str, look: str) -> NoReturn:
        raise Fault(f"{self.loss.name}, {library}: {what} was {was}; wanted {wanted}. Look at {look}.")

    @contextmanager
    def calls(self, library: str) -> Iterator[None]:
        """Where an error is of the loss: told with its name and the library."""
        try:
            yield
        except Fault:
            raise
        except Exception as error:
            look = "its traceback" if library == "numpy" and not isinstance(error, AttributeError) else (
                "what the function calls: `backend.xp` has the functions of the array API, and of arrays only "
                "operators, `shape`, `ndim` and `dtype` are the same in all libraries")
            raise Fault(f"{self.loss.name}, {library}: a call raised {type(error).__name__}: {error}. Look at {look}."
                        ) from error

    def inputs(self, seed: int = 0, more: Mapping[str, Any] = MappingProxyType({})
               ) -> tuple[list[str], list[np.ndarray], dict[str, Any]]:
        """The names of what is differentiated, the arrays, and options of which some are arrays."""
        options = {**samples.gentle(self.loss), **samples.learnt(self.loss), **more}
        arrays = [name for name in self.loss.arrays if has_gradient(self.loss.kinds[name])]
        learnt = [name for name, option in options.items() if isinstance(option, np.ndarray)]
        return [*arrays, *learnt], samples.arrays_of(self.loss, seed), options


def same(subject: Subject, library: Any, what: str, got: Any, want: Any, whose: str = "NumPy's", rtol: float = 1e-9
          ) -> None:
    one, other = (np.asarray(array) if isinstance(array, np.ndarray | np.generic) else library.numpy(array)
                  for array in (got, want))
    if one.shape != other.shape:
        subject.fault(library.name, f"the shape of {what}", str(one.shape), f"{other.shape}", "what it is made of")
    error = np.abs(one - other)
    if one.size and not np.all(error <= rtol * max(1.0, float(np.abs(other).max()))):
        times = multiple(one.reshape(-1), other.reshape(-1))
        place = np.unravel_index(int(np.argmax(np.where(error == error, error, np.inf))), error.shape)
        subject.fault(library.name, f"{what}{list(map(int, place)) if place else ''}", f"{one[place]:.6g}",
                      f"{other[place]:.6g}, {whose}", "slopes, and what a constant was made of" if times is None else
                      f"a factor: all of it is {times} times {whose}")


def multiple(got: np.ndarray, want: np.ndarray) -> str | None:
    """By what one is the other, if that is the same for all of several numbers."""
    largest = float(np.abs(want).max(initial=0.0))
    if got.size < 2 or not largest or not np.isfinite(got).all():
        return None
    times = float(np.sum(got * want) / np.sum(want * want))
    same = np.allclose(got, times * want, rtol=1e-4, atol=1e-5 * abs(times) * largest)
    return f"{times:.4g}" if same and abs(times - 1.0) > 1e-3 else None
