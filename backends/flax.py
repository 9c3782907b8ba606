"""A layer for flax.nnx."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from anglos._layer import check_head
from anglos._loss import Loss


class Head(nnx.Module):
    """The last layer of a network: one prototype per class, and a loss that compares embeddings with them.

    `weight` is a parameter of shape (num_classes, embedding_dim), drawn from a normal distribution of standard
    deviation 1/√embedding_dim: rows of length about 1. The options go to the loss at every call. A number or a
    word can be changed between steps (`head.options["margin"] = 0.3`), which compiles anew under jit; an array, or
    an `nnx.Variable`, does not. An `nnx.Param` (a learnable scale, say) is trained with the rest.

    >>> import anglos, jax.numpy as jnp
    >>> from flax import nnx
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3, rngs=nnx.Rngs(0))
    >>> head(jnp.eye(4), jnp.asarray([0, 1, 2, 3])).shape
    ()
    """

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *, rngs: nnx.Rngs,
                 param_dtype: Any = jnp.float32, **options: Any) -> None:
        check_head(loss, num_classes, embedding_dim, {name: _array(option) for name, option in options.items()})
        self.loss = loss
        draw = jax.random.normal(rngs.params(), (num_classes, embedding_dim), param_dtype)
        self.weight = nnx.Param(draw * embedding_dim**-0.5)
        self.options = nnx.Dict({name: nnx.Variable(option) if isinstance(option, jax.Array) else option
                                 for name, option in options.items()})

    def __call__(self, embeddings: jax.Array, labels: jax.Array) -> jax.Array:
        """The loss of a batch."""
        options = {name: _array(option) for name, option in self.options.items()}
        value: jax.Array = self.loss(embeddings, self.weight[...], labels, **options)
        return value


def _array(option: Any) -> Any:
    return option[...] if isinstance(option, nnx.Variable) else option
