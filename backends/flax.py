"""A layer for flax.nnx."""

from collections.abc import Iterator
from typing import Any, Never

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx import reprlib

from anglos.call.kinds import describe, has_gradient
from anglos.call.loss import Loss
from anglos.training.heads import (
    NEW_CLASSES,
    check_attribute,
    check_given,
    check_head,
    check_others,
    has_classes,
    in_force,
    logits_of,
    own_options,
    settings_of,
    spelled,
    warn_of_others,
)

from ._flax_options import Options
from .jax._resize import carried, resized

__all__ = ["Head"]


class Head(nnx.Module):
    """The last layer of a network: prototypes of the classes, and a loss that compares embeddings with them.

    `weight` is a parameter of shape (num_classes, embedding_dim), or (num_classes, prototypes_per_class,
    embedding_dim) for a loss that has several per class, drawn from a normal distribution of standard deviation
    1/√embedding_dim: rows of length about 1. The options go to the loss at every call. A number or a word can be
    changed between steps (`head.options["margin"] = 0.3`, not `head.margin`), which compiles again under jit; an
    array, or an `nnx.Variable`, does not: a function of `nnx.jit` may set `head.options["margin"] = 0.5 * step /
    steps`. An `nnx.Param` (a learnable scale, say) is trained with the rest, and refused for a constant to the
    gradient; one that is kept as its logarithm is set in the function that is differentiated:
    `head.options["scale"] = jnp.exp(log_scale)`. A call without an option that was given is refused: the loss's default
    never takes its place. What was not given is in `head.all_options`.

    A state has neither the loss nor options that are no arrays: save `head.settings`, which JSON can, beside it, and
    after loading `head.check_settings(saved)` warns of what is not as it was.

    >>> import anglos, jax.numpy as jnp
    >>> from flax import nnx
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3, rngs=nnx.Rngs(0))
    >>> head(jnp.eye(4), jnp.asarray([0, 1, 2, 3])).shape, head.logits(jnp.eye(4)).shape
    ((), (4, 10))
    """

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *, rngs: nnx.Rngs,
                 prototypes_per_class: int | None = None, param_dtype: Any = jnp.float32, **options: Any) -> None:
        shape = check_head(loss, num_classes, embedding_dim, prototypes_per_class)
        given = own_options(loss, {name: _array(option) for name, option in options.items()}, num_classes)
        for name, option in options.items():
            if isinstance(option, nnx.Param) and not has_gradient(loss.kinds[name]):
                raise ValueError(f"Head({loss.name}): {name} was an nnx.Param, and is a constant to the gradient; "
                                 f"wanted {loss.kinds[name]}, as it is or in an nnx.Variable")
        options = {name: option if isinstance(option, nnx.Variable) else given[name]
                   for name, option in options.items()}
        self.loss = loss
        self.weight = nnx.Param(_drawn(rngs, shape, param_dtype))
        self.options = Options({name: nnx.Variable(option) if isinstance(option, jax.Array) else option
                                for name, option in options.items()})
        self._given = tuple(name for name, option in given.items() if option is not None)

    def __call__(self, embeddings: jax.Array, labels: jax.Array, *others: Never) -> jax.Array:
        """The loss of a batch."""
        check_others(self.loss, others)
        value: jax.Array = self.loss(embeddings, _array(self.weight), labels, **self._options())
        return value

    def logits(self, embeddings: jax.Array) -> jax.Array:
        """The scores of the classes without a margin, (B, C), for evaluation; the largest is the predicted class.

        z_ij = s |x_i| |w_j| cos θ_ij + b_j: the loss's scale and bias, and the lengths that it does not normalise. With
        several prototypes per class cos θ is what the loss makes of theirs. `proxy_anchor`: cos θ. `center`:
        x·c − ½ |c|².
        """
        scores: jax.Array = logits_of(self.loss, embeddings, _array(self.weight), self._options())
        return scores

    def resize_classes(self, num_classes: int, *, rngs: nnx.Rngs, model: nnx.Module | None = None,
                       optimizer: "nnx.Optimizer[Any] | None" = None) -> None:
        """Have so many classes: the first keep their prototypes, new ones are drawn as at the start.

        So does a bias of each class, which is 0 for new ones (a weight of each class is 1). With the optimizer, and the
        model that it was made for, if that is more than the head, what it keeps of each class stays, and starts for new
        ones as it starts anyway. Everything is changed in place; an optimizer that is not given has the old shapes.
        Not under a transformation, which is refused. Call it before copies are made for an average of the parameters.
        """
        count, *_ = check_head(self.loss, num_classes, self.weight.shape[-1], *self.weight.shape[1:-1])
        if optimizer is not None and not isinstance(optimizer, nnx.Optimizer):
            raise TypeError(f"Head: optimizer was {describe(optimizer)}; wanted a flax.nnx.Optimizer")
        if model is not None and not any(node is self for _, node in nnx.iter_graph(model)):
            raise ValueError(f"Head: model was {describe(model)} without this head; wanted the one that holds it")
        if isinstance(_array(self.weight), jax.core.Tracer):
            raise TypeError("Head: weight was traced; wanted resize_classes outside of nnx.jit and all transformations")
        if optimizer is not None:
            _carried(optimizer, self if model is None else model)  # is refused before anything is changed
        old = {name: _array(option) for name, option in self._of_classes().items()}
        _fill(self.weight, resized(_array(self.weight), _drawn(rngs, (count, *self.weight.shape[1:]),
                                                               self.weight.dtype)))
        for name, option in self._of_classes().items():
            array = resized(old[name], jnp.full((count,), NEW_CLASSES[name], old[name].dtype))
            if isinstance(option, nnx.Variable):
                _fill(option, array)
            else:
                self.options[name] = array
        if optimizer is not None:
            nnx.update(optimizer.opt_state, _carried(optimizer, self if model is None else model))

    @property
    def all_options(self) -> dict[str, Any]:
        """Every option of the loss as the next call uses it: from `options`, or else its default."""
        return in_force(self.loss, self._options())

    @property
    def settings(self) -> dict[str, Any]:
        """The loss and its options that are no arrays, to be saved beside the state, which has neither."""
        return settings_of(self.loss, self._options())

    def check_settings(self, saved: Any) -> None:
        """Warn if what `settings` was then is something else now."""
        warn_of_others(self.loss, self._options(), saved)

    def __nnx_repr__(self) -> Iterator[Any]:
        options = {name: _array(option) for name, option in self.options.items()}
        yield reprlib.Object("Head", empty_repr=spelled(self.loss, self.weight.shape, options))

    def _of_classes(self) -> dict[str, Any]:
        return {name: option for name, option in self.options.items()
                if name in self.loss.kinds and has_classes(self.loss, name) and _array(option) is not None}

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(vars(self).get("loss"), name)
        super().__setattr__(name, value)

    def _options(self) -> dict[str, Any]:
        options = {name: _array(option) for name, option in self.options.items()}
        check_given(self.loss, self._given, options)
        return options


def _drawn(rngs: nnx.Rngs, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Prototypes of length about 1."""
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"Head: rngs was {describe(rngs)}; wanted flax.nnx.Rngs, as nnx.Rngs(0) or nnx.Rngs(key)")
    drawn: jax.Array = jax.random.normal(rngs.params(), shape, dtype) * shape[-1]**-0.5
    return drawn


def _carried(optimizer: Any, model: nnx.Module) -> Any:
    """What an optimizer keeps, in the shapes that the model has now."""
    fresh = nnx.Optimizer(model, optimizer.tx, wrt=optimizer.wrt)
    return carried(nnx.state(optimizer.opt_state), nnx.state(fresh.opt_state))


def _fill(variable: Any, array: jax.Array) -> None:
    """An array of another shape in a variable that others hold."""
    if hasattr(variable, "set_value"):
        variable.set_value(array)
    else:
        variable.value = array


def _array(option: Any) -> Any:
    if not isinstance(option, nnx.Variable):
        return option
    if hasattr(option, "shape"):
        return option[...]
    return option.get_value() if hasattr(type(option), "get_value") else option.value  # of a Python number


def __dir__() -> list[str]:
    return list(__all__)
