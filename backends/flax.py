"""A layer for flax.nnx."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from anglos.call.loss import Loss
from anglos.training.heads import check_attribute, check_given, check_head, logits_of, own_options

__all__ = ["Head"]


class Head(nnx.Module):
    """The last layer of a network: prototypes of the classes, and a loss that compares embeddings with them.

    `weight` is a parameter of shape (num_classes, embedding_dim), or (num_classes, prototypes_per_class, embedding_dim)
    for a loss that has several per class, drawn from a normal distribution of standard deviation 1/√embedding_dim: rows
    of length about 1. The options go to the loss at every call. A number or a word can be changed between steps
    (`head.options["margin"] = 0.3`, not `head.margin`), which compiles again under jit; an array, or an `nnx.Variable`,
    does not. An `nnx.Param` (a learnable scale, say) is trained with the rest; one that is kept as its logarithm is set
    in the function that is differentiated: `head.options["scale"] = jnp.exp(log_scale)`. A call without an option that
    was given is refused: the loss's default never takes its place.

    >>> import anglos, jax.numpy as jnp
    >>> from flax import nnx
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3, rngs=nnx.Rngs(0))
    >>> head(jnp.eye(4), jnp.asarray([0, 1, 2, 3])).shape, head.logits(jnp.eye(4)).shape
    ((), (4, 10))
    """

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *, rngs: nnx.Rngs,
                 prototypes_per_class: int | None = None, param_dtype: Any = jnp.float32, **options: Any) -> None:
        shape = check_head(loss, num_classes, embedding_dim, prototypes_per_class)
        given = own_options(loss, {name: _array(option) for name, option in options.items()})
        options = {name: option if isinstance(option, nnx.Variable) else given[name]
                   for name, option in options.items()}
        self.loss = loss
        self.weight = nnx.Param(jax.random.normal(rngs.params(), shape, param_dtype) * embedding_dim**-0.5)
        self.options = nnx.Dict({name: nnx.Variable(option) if isinstance(option, jax.Array) else option
                                 for name, option in options.items()})
        self._given = tuple(name for name, option in given.items() if option is not None)

    def __call__(self, embeddings: jax.Array, labels: jax.Array) -> jax.Array:
        """The loss of a batch."""
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

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(vars(self).get("loss"), name)
        super().__setattr__(name, value)

    def _options(self) -> dict[str, Any]:
        options = {name: _array(option) for name, option in self.options.items()
                   if name != "__captures__"}  # which nnx.capture sets on every module
        check_given(self.loss, self._given, options)
        return options


def _array(option: Any) -> Any:
    if not isinstance(option, nnx.Variable):
        return option
    return option[...] if hasattr(option, "shape") else option.get_value()  # of a Python number


def __dir__() -> list[str]:
    return list(__all__)
