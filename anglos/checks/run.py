"""Whether a loss is what it should be, in the libraries that are installed: the first fault is raised, shown small."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from anglos.call.loss import Loss
from anglos.checks.forms import devices, options, shapes, tiles
from anglos.checks.libraries import Jax, installed
from anglos.checks.numbers import dtypes, hard_inputs
from anglos.checks.slopes import agreement, slopes
from anglos.checks.subject import Subject


def run(loss: Loss[...], differences: bool = True, inert: tuple[str, ...] = (), constants: tuple[str, ...] = ()) -> str:
    """All checks; what was checked, in words."""
    if not isinstance(loss, Loss):
        raise TypeError(f"check: loss was {type(loss).__name__}; wanted a loss, as the decorators of anglos.define "
                        "make it")
    for argument, names in (("inert", inert), ("constants", constants)):
        for name in names:
            if name not in loss.defaults:
                raise ValueError(f"check: {argument} named {name}; wanted options of {loss.name}: "
                                 f"{', '.join(loss.defaults)}")
    subject = Subject(loss, installed(), differences, inert, constants)
    with _float64(subject.libraries):
        done = [name for name in CHECKS if _applies(subject, name)]
    return f"{loss.name}: {', '.join(done)}: right in {', '.join(one.name for one in subject.libraries)}"


def _applies(subject: Subject, name: str) -> bool:
    with subject.calls("numpy"):  # where a check takes another library, it says so
        return CHECKS[name](subject) is not False


def _float64(libraries: list[Any]) -> AbstractContextManager[Any]:
    """In which JAX has it."""
    jax = next((one.jax for one in libraries if isinstance(one, Jax)), None)
    if jax is None:
        return nullcontext()
    context: AbstractContextManager[Any] = (jax if hasattr(jax, "enable_x64") else jax.experimental).enable_x64(True)
    return context


CHECKS: dict[str, Callable[[Subject], bool | None]] = {
    "shapes": shapes, "slopes": slopes, "agreement and second derivatives": agreement, "hard inputs": hard_inputs,
    "dtypes": dtypes, "options": options, "tiles": tiles, "devices": devices,
}
"""By what is said of them when they are done; one that returns False does not apply."""
