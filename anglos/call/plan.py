"""The plan of a call: all but its arrays, and how its engine is asked for the value and the gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of
from anglos.arrays.library import Array
from anglos.engines.contract import pack
from anglos.engines.numerics import float_type

if TYPE_CHECKING:
    from anglos.call.loss import Loss

# Equal numbers of two types, as 1 and True, are apart by their types; what lies in a tuple would not be.
_PLAIN = frozenset((type(None), bool, int, float, str))


class Means(NamedTuple):
    """How a loss is computed, which does not change what it is."""

    keep_bytes: int = 0
    gradient_products: str = "full"


@dataclass(frozen=True)
class Plan:
    """All of a call but its arrays: what an adapter hands to its framework as static. Hashable."""

    loss: "Loss[...]"
    backend: Backend
    names: tuple[str, ...]
    options: tuple[tuple[str, Any], ...]
    with_gradient: frozenset[str]
    """Of the names, those of what the loss may be differentiated by."""
    means: Means
    shapes: tuple[Any, ...] | None = None
    """Of the arrays, if they are settled: a scale or a bias may depend on the number of classes."""
    known: tuple[Any, tuple[str, ...]] | None = field(default=None, compare=False)
    """What the loss makes of its options and of its arrays' shapes, if that is all it needs; an engine's names."""

    def settled(self, arrays: tuple[Array, ...]) -> "Plan":
        """The same for all arrays of these shapes, with what the loss makes of its arguments known if it can be."""
        if not set(self.names) <= set(self.loss.arrays) - set(self.loss.frozen):
            return self
        shapes = tuple([tuple(array.shape) for array in arrays])
        shaped = [SimpleNamespace(shape=shape) for shape in shapes]  # a loss may ask for nothing else
        row = self.loss.row(*shaped, **dict(self.options))
        names = tuple([self.loss.roles.get(name, name) for name in self.names])
        return replace(self, shapes=shapes, known=(row, names))

    def for_value_only(self) -> "Plan":
        """The same, when no gradient will follow: nothing is kept for it."""
        return replace(self, means=Means())

    def prepare(self, arrays: tuple[Array, ...], *, residuals: tuple[Array, ...] | None = None, anew: bool = False,
                remembered: Any = None) -> Any:
        """The step of the engine, which both passes start from.

        With residuals, their numbers are taken; or, anew, all is computed again, since a second derivative must see how
        they depend on the inputs, but what the forward pass chose stays chosen.
        """
        row, inputs = self._row(arrays)
        record = None if residuals is None else self.loss.engine.unpack(row, residuals)
        return self.loss.engine.prepare(
            self.backend, row, inputs, **self.means._asdict(), saved=None if anew else record,
            chosen=record if anew else None, remembered=remembered)

    def forward(self, arrays: tuple[Array, ...], step: Any = None) -> tuple[Array, tuple[Array, ...]]:
        """The loss of every sample, (B,), and residuals: a cache for `backward`."""
        value, saved = self.loss.engine.forward(self.prepare(arrays) if step is None else step)
        return value, pack(saved)

    def backward(self, g: Array, arrays: tuple[Array, ...], residuals: tuple[Array, ...], needs: frozenset[str],
                 step: Any = None, anew: bool = False, remembered: Any = None) -> dict[str, Array]:
        """∂(Σ g_i ℓ_i) for the inputs named in `needs`, each in its input's shape and dtype."""
        xp, engine = self.backend.xp, self.loss.engine
        step = step or self.prepare(arrays, residuals=residuals, anew=anew, remembered=None if anew else remembered)
        saved = engine.forward(step)[1] if anew else engine.unpack(step.row, residuals)
        roles, gradients = self.loss.roles, {}
        found: dict[str, Array] = engine.backward(step, saved, g, frozenset([roles.get(name, name) for name in needs]))
        for name, array in zip(self.names, arrays, strict=True):
            if name in needs:
                gradient = found[roles.get(name, name)]
                gradient = xp.sum(gradient) if gradient.ndim > array.ndim else gradient
                gradients[name] = gradient if gradient.dtype == array.dtype else xp.astype(gradient, array.dtype)
        return gradients

    def _row(self, arrays: tuple[Array, ...]) -> tuple[Any, dict[str, Array]]:
        """What the loss makes of its arguments, and its arrays by name; options in the type of the arithmetic."""
        if self.known is not None:
            row, names = self.known
            return row, dict(zip(names, arrays, strict=True))
        loss, inputs, options = self.loss, dict(zip(self.names, arrays, strict=True)), dict(self.options)
        for name in loss.frozen:
            if name in inputs:
                inputs[name] = self.backend.stop_gradient(inputs[name])
        positional = [inputs[name] for name in loss.arrays if name in inputs]
        if len(inputs) > len(positional):
            dtype = float_type(self.backend.xp, *(inputs[name] for name in inputs if name in loss.arrays
                                                  and loss.kinds[name].dtype == "real floating"))
            for name in self.names[len(positional):]:  # options come last
                if loss.kinds[name].dtype == "real floating":
                    inputs[name] = self.backend.xp.astype(inputs[name], dtype, copy=False)
                options[name] = inputs[name]
        row = loss.row(*positional, **options)
        return row, {loss.roles.get(name, name): array for name, array in inputs.items()}


def signature(arrays: tuple[Any, ...], options: Mapping[str, Any], wrt: Any) -> Any:
    """What a call's checks depend on but for the numbers in its arrays; None where that cannot be told."""
    if wrt is not None and not (type(wrt) is tuple and {str}.issuperset(map(type, wrt))):
        return None
    signatures: list[Any] = []
    for value in (*arrays, *options.values()):
        if type(value) in _PLAIN:
            one: Any = type(value), value
        else:
            owner = backend_of(value)
            one = None if owner is None else owner.signature(value)
            signatures.append(owner)
        if one is None:
            return None
        signatures.append(one)
    return wrt, *options, *signatures
