"""The Loss object: from a call to its checks, its backend, and its engine; and the registry of all losses."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import update_wrapper
from types import ModuleType
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, TypeVar, overload

from anglos._arguments import Array as ArrayType
from anglos._backend import Array, Backend
from anglos._check import check_defaults, check_names, check_together, check_values, check_wrt
from anglos._kinds import has_gradient, kind_of
from anglos._numerics import float_type
from anglos._reduce import Rows, reduce, reduce_pullback, settle_groups, settle_labels, zero_elsewhere

Options = ParamSpec("Options")
First = TypeVar("First", bound=ArrayType)  # of this type the result is taken to be

LOSSES: dict[str, "Loss[...]"] = {}
"""Every loss by name, in the order of the catalogue."""

_MISSING: Any = None  # a first array, for type checkers: the refusal is ours

# Handled here for every loss; the others go to its engine.
_COMMON = ("sample_weight", "ignore_index", "keep_bytes", "gradient_products", "reduction")
# What an engine calls them.
_ALIASES = {"prototypes": "weights"}


class Loss(Generic[Options]):
    """A loss: its value, differentiable where the library differentiates, and its analytical gradient.

    Made by `@loss(...)` from a function whose signature and docstring it takes over. Hashable and picklable.
    """

    def __init__(self, function: Callable[Concatenate[Any, Options], Any], engine: ModuleType, formula: str, paper: str
                 ) -> None:
        update_wrapper(self, function)  # type: ignore[arg-type]
        self.name, self.function, self.engine = function.__name__, function, engine
        self.formula, self.paper = formula, paper
        signature = inspect.signature(function)
        self.__signature__ = signature.replace(return_annotation=Any)
        parameters = signature.parameters.values()
        positional = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
        self.arrays = tuple(p.name for p in positional)
        self.required = sum(p.default is p.empty for p in positional)
        self.defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
        self.kinds = {p.name: kind_of(p.annotation) for p in parameters}
        self.common = {name: None for name in _COMMON if name in self.defaults}
        self.with_gradient = tuple(name for name in self.arrays if has_gradient(self.kinds[name]))
        self.settled = check_defaults(self.name, self.kinds, self.defaults)

    def __repr__(self) -> str:
        return f"<loss anglos.{self.name}>"

    def __reduce__(self) -> str:
        return self.name

    def __call__(self, first: First = _MISSING, /, *arrays: Options.args, **options: Options.kwargs) -> First:
        """The loss. In PyTorch and JAX it can be differentiated, by the analytical gradient."""
        call = self._prepare((first, *arrays), options)
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
        arrays = first, *others
        if wrt is None:
            wrt = tuple(name for name in self.with_gradient if name in self.arrays[:len(arrays)])
        else:
            check_wrt(self.name, self.kinds, wrt)
        call = self._prepare(arrays, options, wrt)
        memo: dict[str, Any] = {}
        with call.plan.backend.untracked(call.arrays):
            per_row, residuals = call.plan.forward(call.arrays, memo)
            count = self.engine.count(residuals)
            g, d_sample_weight = reduce_pullback(call.plan.backend.xp, per_row, call.rows, call.reduction, count)
            needs = frozenset(wrt) - {"sample_weight"}
            gradients = call.plan.backward(g, call.arrays, residuals, needs, memo)
            gradients["sample_weight"] = d_sample_weight
            return call.reduce(per_row, residuals), tuple(gradients[name] for name in wrt)

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: tuple[str, ...] = ()) -> "_Call":
        arrays = () if len(arrays) == 1 and arrays[0] is _MISSING else arrays
        while len(arrays) > self.required and arrays[-1] is None:
            arrays = arrays[:-1]
        check_names(self.name, self.arrays, self.required, len(arrays), options, self.defaults)
        values = {**dict(zip(self.arrays, arrays, strict=False)), **options}
        check_together(self.name, values)
        backend, inputs, given, sizes = check_values(self.name, self.kinds, values)
        static = {name: value for name, value in {**self.settled, **given}.items() if name not in inputs}
        for name in wrt:
            if name not in inputs:
                inputs[name] = self._as_input(backend, name, static.pop(name, None), inputs)
        reduction, ignore_index = static.pop("reduction"), static.pop("ignore_index", None)
        sample_weight = inputs.pop("sample_weight", static.pop("sample_weight", None))
        rows = Rows(sample_weight, None)
        if "labels" in inputs and not self.engine.ROWS_ARE_INDEPENDENT:
            rows, inputs = settle_groups(self.name, backend, inputs, sizes.get("C"), ignore_index, sample_weight)
            static["ignore_index"] = ignore_index
        elif "labels" in inputs:
            rows, inputs["labels"] = settle_labels(self.name, backend, inputs["labels"], sizes["C"], ignore_index,
                                                   sample_weight)
        if rows.counted is not None:
            inputs = {name: zero_elsewhere(backend.xp, self.kinds[name], array, rows.counted)
                      for name, array in inputs.items()}
        means = Means(**{name: static.pop(name) for name in Means._fields if name in static})
        plan = Plan(self, backend, tuple(inputs), tuple(static.items()), means)
        return _Call(plan, tuple(inputs.values()), rows, reduction)

    def _as_input(self, backend: Backend, name: str, number: float | None, inputs: dict[str, Array]) -> Array:
        if number is None:
            raise ValueError(f"{self.name}: wrt named {name}, which was None; wanted an array or a number for it")
        like = inputs[self.arrays[0]]
        return backend.asarray(number, like, float_type(backend.xp, like))


class _Call(NamedTuple):
    """A checked call."""

    plan: "Plan"
    arrays: tuple[Array, ...]
    rows: Rows
    reduction: str

    def reduce(self, per_row: Array, residuals: tuple[Array, ...]) -> Array:
        count = self.plan.loss.engine.count(residuals)
        return reduce(self.plan.backend.xp, per_row, self.rows, self.reduction, count)


class Means(NamedTuple):
    """How a loss is computed, which does not change what it is."""

    keep_bytes: int = 0
    gradient_products: str = "full"


@dataclass(frozen=True)
class Plan:
    """All of a call but its arrays: what an adapter hands to its framework as static. Hashable."""

    loss: Loss[...]
    backend: Backend
    names: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]
    means: Means

    def for_value_only(self) -> "Plan":
        """The same, when no gradient will follow: nothing is kept for it."""
        return replace(self, means=Means())

    def forward(self, arrays: tuple[Array, ...], memo: dict[str, Any] | None = None
                ) -> tuple[Array, tuple[Array, ...]]:
        """The loss of every row, (B,), and residuals: a cache for `backward`.

        So is the memo, of whatever costs less to keep than to make again, for those who can hand it on as it is.
        """
        row, inputs = self._row(arrays)
        memo = {} if memo is None else memo
        memo["row"] = row, inputs
        result: tuple[Array, tuple[Array, ...]] = self.loss.engine.forward(
            self.backend, row, inputs, self.means, memo)
        return result

    def backward(self, g: Array, arrays: tuple[Array, ...], residuals: tuple[Array, ...] | None,
                 needs: frozenset[str], memo: dict[str, Any] | None = None) -> dict[str, Array]:
        """∂(Σ g_i ℓ_i) for the inputs named in `needs`, each in its input's shape and dtype.

        Without residuals they are computed anew: a second derivative must see how they depend on the inputs.
        """
        memo = {} if memo is None or residuals is None else memo
        (row, inputs), xp = memo.get("row") or self._row(arrays), self.backend.xp
        if residuals is None:
            residuals = self.loss.engine.forward(self.backend, row, inputs, Means(), {})[1]
        gradients = self.loss.engine.backward(self.backend, row, inputs, residuals, g, needs, self.means, memo)
        originals = dict(zip(self.names, arrays, strict=True))
        return {name: xp.astype(xp.sum(gradient) if gradient.ndim > originals[name].ndim else gradient,
                                originals[name].dtype, copy=False) for name, gradient in gradients.items()}

    def _row(self, arrays: tuple[Array, ...]) -> tuple[Any, dict[str, Array]]:
        """What the loss makes of its arguments, and its arrays by name; options in the type of the arithmetic."""
        xp, inputs, known = self.backend.xp, dict(zip(self.names, arrays, strict=True)), self.loss.arrays
        dtype = float_type(xp, *(inputs[name] for name in known if name in inputs and name != "labels"))
        for name, array in inputs.items():
            if name not in known and self.loss.kinds[name].dtype == "real floating":
                inputs[name] = xp.astype(array, dtype, copy=False)
            if self.loss.kinds[name].frozen:
                inputs[name] = self.backend.stop_gradient(inputs[name])
        given = {name: array for name, array in inputs.items() if name not in known}
        positional = (inputs[name] for name in known if name in inputs)
        row = self.loss.function(*positional, **{**self.loss.common, **dict(self.options), **given})
        return row, {_ALIASES.get(name, name): array for name, array in inputs.items()}


def loss(engine: ModuleType, *, formula: str, paper: str) -> Callable[
        [Callable[Concatenate[Any, Options], Any]], Loss[Options]]:
    """Make a function a loss: its signature and docstring are the public ones, its result the engine's row."""

    def register(function: Callable[Concatenate[Any, Options], Any]) -> Loss[Options]:
        made = Loss(function, engine, formula, paper)
        if made.name in LOSSES:
            raise ValueError(f"loss: name was {made.name}, which there is; wanted another")
        LOSSES[made.name] = made
        return made

    return register
