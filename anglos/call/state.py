"""The update of a loss's state, and what it starts from: a checked batch."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import update_wrapper
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array
from anglos.call.check import check_values
from anglos.call.kinds import by_role, dotted_name
from anglos.call.samples import Samples, reduce, samples_of_labels

Arguments = ParamSpec("Arguments")

_IGNORED = -100
"""No label."""


class Batch(NamedTuple):
    """The values of an update by name, and which of its samples count.

    Attributes
    ----------
    backend
        That of the arrays: `backend.xp` has the functions of the array API.
    values
        The arguments, by name.
    sizes
        Of the letters in shapes: B samples, C classes.
    samples
        Which count, and by how much.
    """

    backend: Backend
    values: dict[str, Any]
    sizes: Mapping[str, int]
    samples: Samples

    def weight(self, like: Array) -> Array:
        """1 for a sample that counts, 0 for one that is ignored, NaN for one whose label is no class: as `like`, (B,).

        A wrong label is refused, except where it cannot be read: under a trace, or on another device.
        """
        xp, weight = self.backend.xp, self.samples.weight
        return xp.ones_like(like) if weight is None else xp.astype(weight, like.dtype)

    def mean(self, per_sample: Array) -> Array:
        """Of the samples that count; 0 if there is none."""
        return reduce(self.backend.xp, per_sample, self.samples, "mean")

    def counted(self, like: Array) -> Array:
        """Whether a sample counts, (B,)."""
        xp, counted = self.backend.xp, self.samples.counted
        return xp.ones_like(like, dtype=xp.float32) > 0.0 if counted is None else counted


@contextmanager
def batch_of(update: str, kinds: Mapping[str, Any], **values: Any) -> Iterator[Batch]:
    """The values, checked against their kinds; inside, arithmetic is that of a loss, without autocast."""
    backend, arrays, static, sizes, kinds = check_values(update, kinds, values)
    samples, labels = Samples(None, None), by_role({name: kinds[name] for name in arrays}).get("labels")
    if labels is not None:
        samples, arrays[labels] = samples_of_labels(update, backend, arrays[labels], sizes["C"], _IGNORED, None,
                                                    name=labels)
    with backend.plain(tuple(arrays.values())):
        yield Batch(backend, {**static, **arrays}, sizes, samples)


class Update(Generic[Arguments]):
    """The update of a loss's state, made by `define.update` of a function whose signature and docstring it takes over.

    The function is given the batch, and then its arguments as they were checked.
    """

    def __init__(self, function: Callable[Concatenate[Batch, Arguments], Any], kinds: Mapping[str, Any]) -> None:
        update_wrapper(self, function)
        _, *parameters = inspect.signature(function).parameters.values()
        self.name, self.function, self.kinds = function.__name__, function, kinds
        self.__signature__ = inspect.Signature(parameters)

    def __repr__(self) -> str:
        return f"<update {dotted_name(self)}>"

    def __reduce__(self) -> str:
        return self.name

    def __call__(self, *arguments: Arguments.args, **options: Arguments.kwargs) -> Any:
        """The next state."""
        given = self.given(arguments, options)
        with batch_of(self.name, self.kinds, **{name: given[name] for name in self.kinds if name in given}) as batch:
            function: Callable[..., Any] = self.function
            return function(batch, **{**given, **batch.values})

    def given(self, arguments: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
        """The values of the arguments by name."""
        try:
            bound = self.__signature__.bind(*arguments, **options)
        except TypeError as error:
            raise TypeError(f"{self.name}: {error}; wanted {', '.join(self.__signature__.parameters)}") from None
        bound.apply_defaults()
        return bound.arguments
