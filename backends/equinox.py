"""A layer for Equinox."""

from typing import Any

import equinox
import jax
import jax.numpy as jnp

from anglos.call.loss import Loss
from anglos.training.heads import check_given, check_head, logits_of, own_options

__all__ = ["Head"]


class Head(equinox.Module):
    """The last layer of a network: prototypes of the classes, and a loss that compares embeddings with them.

    `weight` is an array of shape (num_classes, embedding_dim), or (num_classes, prototypes_per_class, embedding_dim)
    for a loss that has several per class, drawn from a normal distribution of standard deviation 1/√embedding_dim: rows
    of length about 1. The options go to the loss at every call, which takes a whole batch. A number or a word is
    static, and a change of it compiles again under `equinox.filter_jit`:
    `equinox.tree_at(lambda head: head.options["margin"], head, 0.3)`, of an option that was given. An array does not;
    it is trained with the rest (a learnable scale, say) unless `equinox.partition` or an optimizer's mask leaves it
    out. One that is kept as its logarithm is set by `equinox.tree_at` in the function that is differentiated, to
    `jnp.exp(log_scale)`. A call without an option that was given, as with one half of a partition, is refused: the
    loss's default never takes its place.

    >>> import anglos, jax
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3, key=jax.random.key(0))
    >>> head(jnp.eye(4), jnp.asarray([0, 1, 2, 3])).shape, head.logits(jnp.eye(4)).shape
    ((), (4, 10))
    """

    weight: jax.Array
    options: dict[str, Any]
    loss: Loss[...] = equinox.field(static=True)
    _given: tuple[str, ...] = equinox.field(static=True)

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *, key: jax.Array,
                 prototypes_per_class: int | None = None, dtype: Any = jnp.float32, **options: Any) -> None:
        shape = check_head(loss, num_classes, embedding_dim, prototypes_per_class)
        self.loss, self.options = loss, own_options(loss, options)
        self._given = tuple(name for name, option in options.items() if option is not None)
        self.weight = jax.random.normal(key, shape, dtype) * embedding_dim**-0.5

    def __call__(self, embeddings: jax.Array, labels: jax.Array) -> jax.Array:
        """The loss of a batch."""
        value: jax.Array = self.loss(embeddings, self.weight, labels, **self._options())
        return value

    def logits(self, embeddings: jax.Array) -> jax.Array:
        """The scores of the classes without a margin, (B, C), for evaluation; the largest is the predicted class.

        z_ij = s |x_i| |w_j| cos θ_ij + b_j: the loss's scale and bias, and the lengths that it does not normalise. With
        several prototypes per class cos θ is what the loss makes of theirs. `proxy_anchor`: cos θ. `center`:
        x·c − ½ |c|².
        """
        scores: jax.Array = logits_of(self.loss, embeddings, self.weight, self._options())
        return scores

    def _options(self) -> dict[str, Any]:
        check_given(self.loss, self._given, self.options)
        return self.options


def __dir__() -> list[str]:
    return list(__all__)
