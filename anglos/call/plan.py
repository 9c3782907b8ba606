"""The plan of a call: all but its arrays, and how its engine is asked for the value and the gradient."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of
from anglos.arrays.library import Array
from anglos.engines.numerics import float_type

if TYPE_CHECKING:
    from anglos.call.loss import Loss

# What an engine calls them.
_ALIASES = {"prototypes": "weights"}


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
        row = self.loss.function(*shaped, **{**self.loss.common, **dict(self.options)})
        return replace(self, shapes=shapes, known=(row, tuple([_ALIASES.get(name, name) for name in self.names])))

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

    def backward(self, g: Array, arrays: tuple[Array, ...], residuals: tuple[Array, ...],
                 needs: frozenset[str], memo: dict[str, Any] | None = None, anew: bool = False) -> dict[str, Array]:
        """∂(Σ g_i ℓ_i) for the inputs named in `needs`, each in its input's shape and dtype.

        Anew: residuals are computed again, since a second derivative must see how they depend on the inputs; but what
        the forward pass chose stays chosen.
        """
        memo = {} if memo is None or anew else memo
        (row, inputs), xp = memo.get("row") or self._row(arrays), self.backend.xp
        if anew:
            memo["chosen"] = residuals
            residuals = self.loss.engine.forward(self.backend, row, inputs, Means(), memo)[1]
        gradients: dict[str, Array] = self.loss.engine.backward(
            self.backend, row, inputs, residuals, g, needs, self.means, memo)
        for name, array in zip(self.names, arrays, strict=True):
            if name in gradients:
                gradient = gradients[name]
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
        row = loss.function(*positional, **{**loss.common, **options})
        return row, {_ALIASES.get(name, name): array for name, array in inputs.items()}


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
        if one is None:
            return None
        signatures.append(one)
    return wrt, *options, *signatures
