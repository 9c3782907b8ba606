"""The plan of a call: all but its arrays, and how its engine is asked for the value and the gradient."""

from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from types import SimpleNamespace
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import spec_of, unwrapped
from anglos.arrays.library import Array, Spec
from anglos.call import class_margins
from anglos.call.check import check_defaults, check_names, check_specs, check_wrt
from anglos.call.check_direct import check_slopes, check_value
from anglos.call.contents import Contents, contents_of
from anglos.call.defined import Defined
from anglos.call.kinds import has_gradient
from anglos.engines.contract import pack
from anglos.engines.numerics import float_type

# Equal numbers of two types, such as 1 and True, differ by their types; in a tuple they would not.
_PLAIN, _WORDS = frozenset((type(None), bool, int, float, str)), frozenset((str,))

# Options that are not a row's, and their values where a loss does not have them.
_HANDLED: dict[str, Any] = {"sample_weight": None, "ignore_index": None, "reduction": None, "keep_bytes": 0,
                            "gradient_products": "full"}


@dataclass(frozen=True)
class Plan:
    """All of a call but its arrays: what an adapter hands to its framework as static. Hashable, and equal by value."""

    loss: Defined
    backend: Backend
    given: tuple[str, ...]
    """The names of the values of the call."""
    names: tuple[str, ...]
    """Of the arrays that the engine is given."""
    options: tuple[tuple[str, Any], ...]
    """Of the row, those that are no arrays."""
    numbers: tuple[tuple[str, float], ...]
    """Those that are to be differentiated by, and become arrays: the last of the names."""
    wrt: tuple[str, ...]
    reduction: str
    ignore_index: Any
    classes: Any
    keep_bytes: int
    gradient_products: str
    roles: tuple[str, ...] = field(compare=False)
    """Of the names, what the engine calls them."""
    with_gradient: frozenset[str] = field(compare=False)
    """Of the names, those of what the loss may be differentiated by."""
    needs: frozenset[str] = field(compare=False)
    """Of the names, those that are among `wrt`."""
    contents: Contents = field(compare=False)
    """What is still to be checked."""
    shapes: tuple[Any, ...] | None = None
    """Of the arrays, if the row is there: a scale or a bias may depend on the number of classes."""
    row: Any = field(default=None, compare=False)
    """What the loss makes of its options and of its arrays' shapes, if that is all it needs."""

    @cached_property
    def _hash(self) -> int:
        return hash((self.loss, self.backend, self.names, self.options, self.numbers, self.wrt, self.reduction,
                     self.ignore_index, self.keep_bytes, self.gradient_products, self.shapes))

    def __hash__(self) -> int:
        return self._hash

    @property
    def name(self) -> str:
        """Of the loss, as it would be imported."""
        return self.loss.dotted_name

    def prepare(self, arrays: tuple[Array, ...], *, residuals: tuple[Array, ...] | None = None, anew: bool = False,
                remembered: Any = None, keeps: bool = True) -> Any:
        """The step of the engine, which both passes start from.

        With residuals, their numbers are used. Anew: all is computed again, since a second derivative must see how they
        depend on the inputs; what the forward pass chose stays chosen.
        """
        row, inputs = self.row_of(self.of_all(arrays, None if anew else residuals))
        record = None if residuals is None else self.unpack(row, residuals)
        return self.loss.engine.prepare(
            self.backend, row, inputs, keep_bytes=self.keep_bytes if keeps else 0,
            gradient_products=self.gradient_products, saved=None if anew else record, chosen=record if anew else None,
            remembered=remembered)

    def of_all(self, arrays: tuple[Array, ...], residuals: tuple[Array, ...] | None = None) -> tuple[Array, ...]:
        """The arrays as the engine is given them: with the samples of all who have some."""
        return arrays

    def forward(self, arrays: tuple[Array, ...], step: Any = None) -> tuple[Array, tuple[Array, ...]]:
        """The loss of every sample, (B,), and residuals: a cache for `backward`."""
        value, saved = self.run(self.prepare(arrays) if step is None else step)
        return value, pack(saved)

    def run(self, step: Any) -> tuple[Array, Any]:
        """The same with the engine's record."""
        value, saved = self.loss.engine.forward(step)
        check_value(self.loss.name, step, value, self.loss.engine.SAMPLES_ARE_INDEPENDENT)
        return value, saved

    def unpack(self, row: Any, residuals: tuple[Array, ...]) -> Any:
        """The engine's record of the residuals."""
        return self.loss.engine.unpack(row, residuals)

    def value(self, arrays: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
        """The same where no gradient will follow: nothing is kept for it."""
        return self.forward(arrays, self.prepare(arrays, keeps=False))

    def backward(self, g: Array, arrays: tuple[Array, ...], residuals: tuple[Array, ...], needs: frozenset[str],
                 anew: bool = False, remembered: Any = None) -> dict[str, Array]:
        """∂(Σ g_i ℓ_i) for the inputs named in `needs`, each in its input's shape and dtype."""
        step = self.prepare(arrays, residuals=residuals, anew=anew, remembered=None if anew else remembered)
        saved = self.loss.engine.forward(step)[1] if anew else self.unpack(step.row, residuals)
        return self.gradients(step, saved, g, arrays, needs)

    def gradients(self, step: Any, saved: Any, g: Array, arrays: tuple[Array, ...], needs: frozenset[str]
                  ) -> dict[str, Array]:
        """The same by the step and the record of the forward pass, for who could keep them."""
        role_of = {name: role for name, role in zip(self.names, self.roles, strict=True) if name in needs}
        found = self._found(step, saved, g, frozenset(role_of.values()))
        check_slopes(self.loss.name, role_of, found, step, self.loss.engine.SAMPLES_ARE_INDEPENDENT)
        return {name: self.of_input(name, array, found[role_of[name]])
                for name, array in zip(self.names, arrays, strict=True) if name in role_of}

    def _found(self, step: Any, saved: Any, g: Array, needs: frozenset[str]) -> dict[str, Array]:
        """By what the engine calls its arrays."""
        if class_margins.ROLE not in needs:
            return self.loss.engine.backward(step, saved, g, needs)
        margin = class_margins.margin_of(self.loss.kinds)
        found = self.loss.engine.backward(step, saved, g, needs - {class_margins.ROLE} | {margin})
        found[class_margins.ROLE] = class_margins.added_pullback(
            self.backend, found[margin], step.inputs[class_margins.ROLE], step.inputs["labels"])
        return found

    def of_input(self, name: str, array: Array, gradient: Array) -> Array:
        """A gradient in the shape and dtype of its input."""
        xp = self.backend.xp
        gradient = xp.sum(gradient) if gradient.ndim > array.ndim else gradient
        return gradient if gradient.dtype == array.dtype else xp.astype(gradient, array.dtype)

    def row_of(self, arrays: tuple[Array, ...]) -> tuple[Any, dict[str, Array]]:
        """What the loss makes of its arguments, and its arrays as its engine calls them."""
        if self.row is not None:
            return self.row, dict(zip(self.roles, arrays, strict=True))
        backend, loss, inputs = self.backend, self.loss, dict(zip(self.names, arrays, strict=True))
        for name in inputs.keys() & set(loss.frozen):
            inputs[name] = backend.stop_gradient(inputs[name])
        floats = [name for name in self.names if loss.kinds[name].dtype == "real floating"]
        dtype = float_type(backend.xp, *(inputs[name] for name in floats if name in loss.arrays))
        for name in [name for name in floats if name not in loss.arrays]:  # options are in the type of the arithmetic
            inputs[name] = backend.xp.astype(inputs[name], dtype, copy=False)
        positional = [inputs[name] for name in self.names if name in loss.arrays]
        options = {**dict(self.options), **{name: inputs[name] for name in self.names if name not in loss.arrays}}
        if (of_classes := self.contents.named.get(class_margins.ROLE)) is not None:
            margin = class_margins.margin_of(loss.kinds)
            options[margin] = class_margins.added(
                backend, options[margin], options.pop(of_classes), inputs[self.contents.named["labels"]])
        row = loss.row(*positional, **options)
        return row, dict(zip(self.roles, inputs.values(), strict=True))


def plan_of(loss: Defined, values: list[Any], given: int, options: tuple[str, ...], wrt: Any) -> Plan:
    """The plan of a call with so many arrays and with these options; its values are unwrapped here.

    Calls whose arrays have the same specs, and whose other values are the same, share one, except where a value cannot
    be compared.
    """
    lasting = wrt is None or (type(wrt) is tuple and _WORDS.issuperset(map(type, wrt)))
    specs: list[Any] = []
    for place, value in enumerate(values):
        spec = value
        if type(value) not in _PLAIN:
            spec = spec_of(value)
            if spec is value:
                values[place] = unwrapped(value)
                spec = spec_of(values[place])
            lasting = lasting and isinstance(spec, Spec) and spec.lasting
        specs.append(spec)
    return (kept_plan if lasting else make_plan)(loss, wrt, given, options, *specs)


@lru_cache(maxsize=1024, typed=True)
def kept_plan(loss: Defined, wrt: tuple[str, ...] | None, given: int, options: tuple[str, ...], *specs: Any) -> Plan:
    """`make_plan`, with the row if it can be made of the specs."""
    plan = make_plan(loss, wrt, given, options, *specs)
    if not set(plan.names) <= set(loss.arrays) - set(loss.frozen):
        return plan
    named = dict(zip(plan.given, specs, strict=True))
    shapes = tuple([tuple(named[name].shape) for name in plan.names])
    shaped = [SimpleNamespace(shape=shape) for shape in shapes]  # a loss may ask for nothing else
    return replace(plan, shapes=shapes, row=loss.row(*shaped, **dict(plan.options)))


def make_plan(loss: Defined, wrt: Any, given: int, options: tuple[str, ...], *specs: Any) -> Plan:
    """The plan of a call, which is refused if its arguments are wrong, whatever numbers the arrays hold."""
    check_names(loss.name, loss.arrays, loss.required, given, options, loss.defaults, loss.kinds)
    named = (*loss.arrays[:given], *options)
    values = dict(zip(named, specs, strict=True))
    checked = check_specs(loss.name, loss.kinds, values, loss.defaults)
    arrays, kinds = checked.arrays, checked.kinds
    defaults = {name: default for name, default in loss.defaults.items() if name not in values}
    static = {**check_defaults(loss.name, kinds, defaults), **checked.static}
    if wrt is None:
        wrt = tuple(name for name in loss.arrays if name in arrays and has_gradient(loss.kinds[name]))
    check_wrt(loss.name, kinds, wrt)
    numbers = {name: static.pop(name, None) for name in wrt if name not in arrays}
    for name, number in numbers.items():
        if number is None or isinstance(number, str):
            raise ValueError(f"{loss.name}: wrt named {name}, which was {number!r}; wanted an array or a number for it")
    handled = {name: static.pop(name, default) for name, default in _HANDLED.items()}
    contents = contents_of(kinds, arrays)
    if "labels" in contents.named and not loss.engine.SAMPLES_ARE_INDEPENDENT:
        static["ignore_index"] = handled["ignore_index"]
    names = tuple(name for name in (*arrays, *numbers) if name != "sample_weight")
    del handled["sample_weight"]
    return Plan(
        loss, checked.backend, named, names, tuple(static.items()), tuple(numbers.items()), tuple(wrt),
        classes=checked.sizes.get("C"), roles=tuple([loss.roles.get(name, name) for name in names]),
        with_gradient=frozenset(name for name in names if has_gradient(kinds[name])),
        needs=frozenset(wrt) - {"sample_weight"}, contents=contents, **handled)
