"""The Loss object: from a call to its checks, its backend, and its engine; and the registry of all losses."""

from collections.abc import Mapping
from functools import update_wrapper
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import unwrapped
from anglos.arrays.library import Array
from anglos.call.arguments import Array as ArrayType
from anglos.call.check import (
    check_contents,
    check_defaults,
    check_kinds,
    check_names,
    check_together,
    check_wrt,
    integers_of,
    kinds_of,
    ranged_of,
)
from anglos.call.definition import Definition
from anglos.call.documentation import document
from anglos.call.kinds import has_gradient, roles_of
from anglos.call.plan import Means, Plan, signature
from anglos.call.samples import Samples, reduce, reduce_pullback, samples_of
from anglos.engines.contract import Engine
from anglos.engines.numerics import float_type

Options = ParamSpec("Options")
First = TypeVar("First", bound=ArrayType)  # of this type the result is taken to be

_MISSING: Any = None  # a first array, for type checkers: the refusal is ours

_FORMS = 256  # of a loss, at most: batches of every size have one


class Loss(Generic[Options]):
    """A loss: its value, differentiable where the library differentiates, and its analytical gradient.

    Made by `anglos.define` from a function whose signature and docstring it takes over. Hashable and picklable.
    """

    def __init__(self, definition: Definition, engine: Engine, formula: str = "", paper: str = "") -> None:
        update_wrapper(self, definition.function)  # type: ignore[arg-type]
        self.__qualname__ = definition.function.__qualname__
        self.name, self.function, self.engine = definition.function.__name__, definition.function, engine
        self.formula, self.paper = formula, paper
        self.__signature__ = definition.signature
        self.arrays, self.required = definition.arrays, definition.required
        self.defaults, self.kinds, self.row = definition.defaults, definition.kinds, definition.row
        self.roles = roles_of(self.name, self.kinds, engine.ROLES)
        self.with_gradient = tuple(name for name in self.arrays if has_gradient(self.kinds[name]))
        self.frozen = tuple(name for name, kind in self.kinds.items() if getattr(kind, "frozen", False))
        self.settled = check_defaults(self.name, self.kinds, self.defaults)
        self.forms: dict[Any, _Form] = {}  # of calls before, by signature

        del self.__doc__  # assembled when it is read

    def __repr__(self) -> str:
        return f"<loss {'anglos' if self.__module__.startswith('anglos.') else self.__module__}.{self.name}>"

    def __reduce__(self) -> str:
        return self.__qualname__

    def __call__(self, first: First = _MISSING, /, *arrays: Options.args, **options: Options.kwargs) -> First:
        """The loss. In PyTorch and JAX it can be differentiated, by the analytical gradient."""
        call = self._prepare((first, *arrays), options)
        with call.plan.backend.errstate():
            value: First = call.reduce(*call.plan.backend.differentiable(call.plan, call.arrays))
            return value

    def plain(self, first: First = _MISSING, /, *arrays: Options.args, **options: Options.kwargs) -> First:
        """The same value in bare array operations, for any automatic differentiation, forward mode too."""
        call = self._prepare((first, *arrays), options)
        with call.plan.backend.plain(call.arrays):
            value: First = call.reduce(*call.plan.for_value_only().forward(call.arrays))
            return value

    @overload
    def value_and_grad(self, first: First, /, *arrays: Options.args, **options: Options.kwargs
                       ) -> tuple[First, tuple[First, ...]]: ...
    @overload  # a type checker cannot know the options and `wrt` beside them
    def value_and_grad(self, first: First, /, *arrays: Any, wrt: tuple[str, ...], **options: Any
                       ) -> tuple[First, tuple[First, ...]]: ...
    def value_and_grad(  # type: ignore[misc]
            self, first: Any = _MISSING, /, *others: Any, wrt: tuple[str, ...] | None = None, **options: Any
            ) -> tuple[Any, tuple[Any, ...]]:
        """The loss and its gradient with respect to the inputs named in `wrt`, in that order, in any library.

        `wrt` names arrays or options of the loss; by default all arrays but the labels. A gradient has the dtype
        of its input. With reduction="none" it is the gradient of the sum. Nothing is recorded for automatic
        differentiation in PyTorch; in JAX the result can be differentiated again.
        """
        call = self._prepare((first, *others), options, wrt)
        backend, form = call.plan.backend, call.form
        with backend.untracked(call.arrays):
            step = call.plan.prepare(call.arrays)
            per_sample, residuals = call.plan.forward(call.arrays, step)
            count = self.engine.count(residuals)
            g, d_sample_weight = reduce_pullback(backend.xp, per_sample, call.samples, form.reduction, count)
            gradients = call.plan.backward(g, call.arrays, residuals, form.needs, step)
            gradients["sample_weight"] = d_sample_weight
            return call.reduce(per_sample, residuals), tuple([gradients[name] for name in form.wrt])

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None = ()) -> "_Call":
        """A call with its values checked; its form, which is all else, is checked once and remembered."""
        arrays = () if len(arrays) == 1 and arrays[0] is _MISSING else arrays
        while len(arrays) > self.required and arrays[-1] is None:
            arrays = arrays[:-1]
        values = {**dict(zip(self.arrays, arrays, strict=False)), **options}
        key = signature(arrays, options, wrt)
        form = None if key is None else self.forms.get(key)
        if key is None:
            values = {name: unwrapped(value) for name, value in values.items()}
        if form is None:
            check_names(self.name, self.arrays, self.required, len(arrays), options, self.defaults)
            form = self._form(values, wrt)
            if key is not None:
                if len(self.forms) >= _FORMS:
                    self.forms.clear()
                form = form._replace(plan=form.plan.settled(arrays))
                self.forms[key] = form
        plan = form.plan
        inputs = check_contents(self.name, form.kinds, plan.backend, form.owners, form.ranged, form.integers, values)
        for name, number in form.numbers.items():
            like = inputs[self.arrays[0]]
            with plan.backend.errstate():
                inputs[name] = plan.backend.asarray(number, like, float_type(plan.backend.xp, like))
        samples, inputs = samples_of(self.name, plan.backend, form.kinds, inputs, self.engine.SAMPLES_ARE_INDEPENDENT,
                                     form.classes, form.ignore_index)
        return _Call(plan, tuple(inputs.values()), samples, form)

    def _form(self, values: dict[str, Any], wrt: tuple[str, ...] | None) -> "_Form":
        check_together(self.name, self.kinds, values)
        kinds = kinds_of(self.kinds, values)
        backend, owners, given, sizes = check_kinds(self.name, kinds, values)
        static = {name: value for name, value in {**self.settled, **given}.items() if name not in owners}
        if wrt is None:
            wrt = tuple(name for name in self.with_gradient if name in owners)
        check_wrt(self.name, kinds, wrt)
        numbers = {name: static.pop(name, None) for name in wrt if name not in owners}
        for name, number in numbers.items():
            if number is None or isinstance(number, str):
                raise ValueError(
                    f"{self.name}: wrt named {name}, which was {number!r}; wanted an array or a number for it")
        reduction, ignore_index = static.pop("reduction"), static.pop("ignore_index", None)
        static.pop("sample_weight", None)
        if "labels" in owners and not self.engine.SAMPLES_ARE_INDEPENDENT:
            static["ignore_index"] = ignore_index
        means = Means(**{name: static.pop(name) for name in Means._fields if name in static})
        names = tuple(name for name in (*owners, *numbers) if name != "sample_weight")
        with_gradient = frozenset(name for name in names if has_gradient(kinds[name]))
        plan = Plan(self, backend, names, tuple(static.items()), with_gradient, means)
        return _Form(plan, kinds, owners, ranged_of(kinds, owners), integers_of(kinds, owners, values), numbers,
                     tuple(wrt), frozenset(wrt) - {"sample_weight"}, sizes.get("C"), reduction, ignore_index)


class _Form(NamedTuple):
    """What every call with arrays of these types and shapes and with these options has in common."""

    plan: Plan
    kinds: Mapping[str, Any]
    owners: dict[str, Backend]
    """The library of every array."""
    ranged: list[str]
    """Arrays whose numbers are checked at every call."""
    integers: list[str]
    """Arrays of an integer, which stand for numbers."""
    numbers: dict[str, float]
    """That are to be differentiated by, and become arrays."""
    wrt: tuple[str, ...]
    needs: frozenset[str]
    classes: Any
    reduction: str
    ignore_index: Any


class _Call(NamedTuple):
    """A checked call."""

    plan: Plan
    arrays: tuple[Array, ...]
    samples: Samples
    form: _Form

    def reduce(self, per_sample: Array, residuals: tuple[Array, ...]) -> Array:
        count = self.plan.loss.engine.count(residuals)
        return reduce(self.plan.backend.xp, per_sample, self.samples, self.form.reduction, count)


class _Docstring:
    """Of the class its own; of a loss that of its function, completed when it is first read."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __get__(self, loss: Loss[...] | None, owner: type) -> str | None:
        if loss is None:
            return self.text
        text = loss.function.__doc__ or f"The loss {loss.name}" + (f": {loss.formula}" if loss.formula else ".")
        loss.__doc__ = document(text, loss.paper, loss.__signature__, loss.kinds)
        return loss.__doc__


setattr(Loss, "__doc__", _Docstring(Loss.__doc__))  # noqa: B010 (a type checker takes it for a string)
