"""What is in arrays, which every call looks at: the numbers against their kinds."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import Spec
from anglos.call.kinds import Number, by_role, is_dtype, refuse
from anglos.engines.numerics import float_type


class Contents(NamedTuple):
    """What every call with arrays of the same specs has to look at."""

    kinds: Mapping[str, Any]
    named: Mapping[str, str]
    """The name of the argument in every role."""
    owners: tuple[tuple[str, Any], ...]
    """The library of every array."""
    ranged: tuple[tuple[str, Any], ...]
    """The library of every array whose numbers are checked."""
    integers: tuple[tuple[str, Any], ...]
    """Of every array of an integer, which stands for a number."""


def contents_of(kinds: Mapping[str, Any], arrays: Mapping[str, Spec]) -> Contents:
    """Of arrays that have been checked, except for their numbers."""
    owners = tuple([(name, spec.library) for name, spec in arrays.items()])
    return Contents(kinds, by_role({name: kinds[name] for name in arrays}), owners,
                    tuple([one for one in owners if kinds[one[0]].ranged]),
                    tuple([one for one in owners if is_integer(arrays[one[0]], kinds[one[0]])]))


def check_contents(loss: str, backend: Backend, contents: Contents, values: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays as the backend's own; the numbers of some of them against their kinds."""
    kinds, _, owners, ranged, integers = contents
    if integers:  # in the type of the arithmetic, as a number would be
        dtype = float_type(backend.xp, values[owners[0][0]])
        values = {**values, **{name: owner.xp.astype(values[name], dtype) for name, owner in integers}}
    arrays = {name: values[name] if owner is backend else backend.adopt(values[name]) for name, owner in owners}
    for name, owner in ranged:
        value, kind = values[name], kinds[name]
        bounds = None if 0 in value.shape else owner.bounds(kind.measured(owner.xp, value))
        if bounds is None:
            arrays[name] = kind.nan_outside(backend.xp, arrays[name])
        else:
            kind.check_range(partial(refuse, loss, name), "held", *bounds)
    return arrays


def is_integer(spec: Spec, kind: Any) -> bool:
    """Whether it is a 0-d array of an integer, which is a number too."""
    return isinstance(kind, Number) and len(spec.shape) == 0 and is_dtype(spec.library.xp, spec.dtype, "integral")
