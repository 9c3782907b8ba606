"""Checks of what the functions of a loss return, before it is used: slopes; of `Direct` also shapes and types."""

from collections.abc import Mapping
from typing import Any

from anglos.call.kinds import describe, is_dtype, refuse
from anglos.engines.rowwise import Direct

_OF_ROWS = "was given no slope by its row", "one in names, or among the option_slopes of its functions"
_OF_DIRECT = "had no gradient", "one among what gradients returns, by its name"


def check_value(loss: str, step: Any, value: Any, independent: bool) -> None:
    """What a `Direct` returned: one number per sample, or one of the batch, which has an axis before it by now."""
    if type(step.row) is not Direct:
        return
    shape: Any = getattr(value, "shape", None)
    if shape is not None:
        _check_type(loss, "its value", step.backend.xp, value)
    if independent:
        _check(loss, "its value", value, shape, step.arrays[0].shape[:1], "one number per sample")
    else:
        _check(loss, "its value", value, shape if shape is None else shape[1:], (), "one number of the batch")


def check_slopes(loss: str, role_of: Mapping[str, str], found: Mapping[str, Any], step: Any, independent: bool) -> None:
    """A gradient in every input of which one is needed; of a `Direct` in its shape, or in a number sample by sample."""
    direct = type(step.row) is Direct
    given = dict(zip(step.names, step.arrays, strict=True)) if direct else {}
    for name, role in role_of.items():
        if role not in found:
            refuse(loss, name, TypeError, *(_OF_DIRECT if direct else _OF_ROWS))
        if direct:
            array, gradient = given[role], found[role]
            shape: Any = getattr(gradient, "shape", None)
            if shape is not None:
                _check_type(loss, f"the gradient in {name}", step.backend.xp, gradient)
            by_sample = independent and not array.ndim and shape is not None and len(shape)
            wanted, of = (step.arrays[0].shape[:1], "or of shape ()") if by_sample else (array.shape, f"as {name} has")
            _check(loss, f"the gradient in {name}", gradient, shape, wanted, of)


def _check_type(loss: str, what: str, xp: Any, found: Any) -> None:
    """Truth values and complex numbers would be cast in silence; a library knows no other's types."""
    dtype = getattr(found, "dtype", None)
    if not is_dtype(xp, dtype, "real floating"):
        refuse(loss, what, TypeError, f"was {describe(found)} of dtype {dtype}",
               "an array of real floating dtype, of the library of the arrays")


def _check(loss: str, what: str, found: Any, shape: Any, wanted: tuple[Any, ...], of: str) -> None:
    """Sizes that are no integers are symbols, which are not compared."""
    if shape is None or len(shape) != len(wanted) or any(
            one != other for one, other in zip(shape, wanted, strict=True)
            if isinstance(one, int) and isinstance(other, int)):
        refuse(loss, what, TypeError, f"was {describe(found)}" if shape is None else f"was of shape {tuple(shape)}",
               f"an array of shape {tuple(wanted)}, {of}")
