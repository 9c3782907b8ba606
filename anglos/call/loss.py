"""The Loss object: from a call to its checks, its backend, and its engine."""

from functools import update_wrapper
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, overload

from anglos.arrays.library import Array
from anglos.call.arguments import Array as ArrayType
from anglos.call.check import check_defaults
from anglos.call.contents import check_contents
from anglos.call.definition import Definition
from anglos.call.documentation import document, shown
from anglos.call.kinds import dotted_name
from anglos.call.plan import Plan, plan_of
from anglos.call.roles import roles_of
from anglos.call.samples import Samples, of_batch, reduce, reduce_pullback, samples_of
from anglos.engines.contract import Engine
from anglos.engines.numerics import float_type

Options = ParamSpec("Options")
First = TypeVar("First", bound=ArrayType)  # of this type the result is taken to be

_MISSING: Any = None  # a first array, for type checkers: the refusal is ours


class Loss(Generic[Options]):
    """A loss: its value, differentiable where the library differentiates, and its analytical gradient.

    Made by `anglos.define` from a function whose signature and docstring it takes over. Hashable and picklable.
    """

    def __init__(self, definition: Definition, engine: Engine, formula: str = "", paper: str = "") -> None:
        update_wrapper(self, definition.function)  # type: ignore[arg-type]
        self.__qualname__ = definition.function.__qualname__
        self.name, self.function, self.engine = definition.function.__name__, definition.function, engine
        self.formula, self.paper = formula, paper
        self.signature = definition.signature
        """With the kinds of the arguments for annotations; `__signature__` has their types."""
        self.arrays, self.required = definition.arrays, definition.required
        self.defaults, self.kinds, self.row = definition.defaults, definition.kinds, definition.row
        self.roles = roles_of(self.name, self.kinds, engine.ROLES)
        self.frozen = tuple(name for name, kind in self.kinds.items() if getattr(kind, "frozen", False))
        check_defaults(self.name, self.kinds, self.defaults)
        del self.__doc__  # assembled when it is read

    def __repr__(self) -> str:
        return f"<loss {self.dotted_name}>"

    def __get__(self, owner: Any, kind: Any = None) -> "Loss[Options]":
        """Itself, as an attribute of a class too. `help` shows the signature of what has this."""
        return self

    @property
    def dotted_name(self) -> str:
        """As it would be imported: those of the library from `anglos`."""
        return dotted_name(self)

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
            value: First = call.reduce(*call.plan.value(call.arrays))
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
        plan, backend = call.plan, call.plan.backend
        with backend.untracked(call.arrays):
            step = plan.prepare(call.arrays)
            per_sample, saved = plan.run(step)
            count = self.engine.count(saved)
            g, d_sample_weight = reduce_pullback(backend.xp, per_sample, call.samples, plan.reduction, count)
            gradients = plan.gradients(step, saved, g, call.arrays, plan.needs)
            gradients["sample_weight"] = d_sample_weight
            return call.reduce(per_sample, saved), tuple([self._returned(name, gradients[name]) for name in plan.wrt])

    def _returned(self, name: str, gradient: Array) -> Array:
        """A gradient as `value_and_grad` returns it."""
        return gradient

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] | None = ()) -> "_Call":
        """A call with its plan, and its arrays checked."""
        arrays, options = self._given(arrays, options)
        values = [*arrays, *options.values()]
        plan = self._plan(values, len(arrays), tuple(options), wrt)
        inputs = check_contents(self.name, plan.backend, plan.contents, dict(zip(plan.given, values, strict=True)))
        for name, number in plan.numbers:
            like = inputs[self.arrays[0]]
            with plan.backend.errstate():
                inputs[name] = plan.backend.asarray(number, like, float_type(plan.backend.xp, like))
        samples, inputs = samples_of(self.name, plan.backend, plan.contents, inputs,
                                     self.engine.SAMPLES_ARE_INDEPENDENT, plan.classes, plan.ignore_index)
        if "reduction" not in self.defaults:
            samples = of_batch(plan.backend.xp, samples)
        return _Call(plan, tuple(inputs.values()), samples)

    def _given(self, arrays: tuple[Any, ...], options: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Without arrays that may be left out and are none, and options of the rows of such a one."""
        arrays = () if len(arrays) == 1 and arrays[0] is _MISSING else arrays
        while len(arrays) > self.required and _is_none(arrays[-1], arrays[0]):
            if arrays[-1] is not None and len(arrays) <= len(self.arrays):
                rows = self.kinds[self.arrays[len(arrays) - 1]].shape.split()[0]
                options = {name: value for name, value in options.items() if not self._is_empty(name, value, rows)}
            arrays = arrays[:-1]
        return arrays, options

    def _is_empty(self, name: str, value: Any, rows: str) -> bool:
        """Whether an option has one number for each of these rows, such as "M", and there are none."""
        shapes = getattr(self.kinds.get(name), "shapes", ())
        return tuple(shapes) == (rows,) and getattr(value, "shape", None) == (0,)

    def _plan(self, values: list[Any], given: int, options: tuple[str, ...], wrt: Any) -> Plan:
        """The plan of a call; its values are unwrapped here."""
        return plan_of(self, values, given, options, wrt)


def _is_none(array: Any, first: Any) -> bool:
    """Whether an array that may be left out is none, or has no rows, as a queue that nothing has come into yet."""
    shape = getattr(array, "shape", None)
    return array is None or (shape is not None and len(shape) == 2 and shape[0] == 0
                             and tuple(shape[1:]) == tuple(getattr(first, "shape", ())[1:]))


class _Call(NamedTuple):
    """A checked call."""

    plan: Plan
    arrays: tuple[Array, ...]
    samples: Samples

    def reduce(self, per_sample: Array, saved: tuple[Any, ...]) -> Array:
        """The value; `saved` may be packed."""
        count = self.plan.loss.engine.count(saved)
        return reduce(self.plan.backend.xp, per_sample, self.samples, self.plan.reduction, count)


class _Docstring:
    """Of the class its own; of a loss that of its function, completed when it is first read."""

    def __init__(self, text: str | None) -> None:
        self.text = text

    def __get__(self, loss: Loss[...] | None, owner: type) -> str | None:
        if loss is None:
            return self.text
        text = loss.function.__doc__ or f"The loss {loss.name}" + (f": {loss.formula}" if loss.formula else ".")
        loss.__doc__ = document(text, loss.paper, loss.signature, loss.kinds)
        return loss.__doc__


class _Signature:
    """None of the class; of a loss what `help` shows, made when it is first read."""

    def __get__(self, loss: Loss[...] | None, owner: type) -> Any:
        if loss is None:
            return None
        vars(loss)["__signature__"] = found = shown(loss.signature)
        return found


setattr(Loss, "__doc__", _Docstring(Loss.__doc__))  # noqa: B010 (a type checker takes it for a string)
setattr(Loss, "__signature__", _Signature())  # noqa: B010
