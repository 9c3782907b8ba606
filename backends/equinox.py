"""A layer for Equinox."""

from importlib import import_module
from typing import Any, Never

import equinox
import jax
import jax.numpy as jnp

from anglos.call.loss import Loss
from anglos.training.heads import (
    NEW_CLASSES,
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

from .jax._resize import carried, resized

__all__ = ["Head", "carry_state"]


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
    loss's default never takes its place. What was not given is in `head.all_options`.

    Leaves that are saved have neither the loss nor options that are no arrays: save `head.settings`, which JSON can,
    beside them, and after loading `head.check_settings(saved)` warns of what is not as it was.

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
        self.loss, self.options = loss, own_options(loss, options, num_classes)
        self._given = tuple(name for name, option in options.items() if option is not None)
        self.weight = _drawn(key, shape, dtype)

    def __call__(self, embeddings: jax.Array, labels: jax.Array, *others: Never) -> jax.Array:
        """The loss of a batch."""
        check_others(self.loss, others)
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

    def resize_classes(self, num_classes: int, *, key: jax.Array) -> "Head":
        """A head of so many classes: the first keep their prototypes, new ones are drawn as at the start.

        So does a bias of each class, which is 0 for new ones (a weight of each class is 1). In a model
        `equinox.tree_at(lambda model: model.head, model, model.head.resize_classes(1200, key=key))`; what an optimizer
        of optax keeps of each class goes on by `carry_state(state, optimizer.init(equinox.filter(model, ...)))`.
        """
        count, *_ = check_head(self.loss, num_classes, self.weight.shape[-1], *self.weight.shape[1:-1])
        weight = resized(self.weight, _drawn(key, (count, *self.weight.shape[1:]), self.weight.dtype))
        options = {name: resized(option, jnp.full((count,), NEW_CLASSES[name], option.dtype))
                   if has_classes(self.loss, name) and option is not None else option
                   for name, option in self.options.items()}
        head: Head = equinox.tree_at(lambda head: (head.weight, head.options), self, (weight, options),
                                     is_leaf=lambda leaf: leaf is None)
        return head

    @property
    def all_options(self) -> dict[str, Any]:
        """Every option of the loss as the next call uses it: from `options`, or else its default."""
        return in_force(self.loss, self._options())

    @property
    def settings(self) -> dict[str, Any]:
        """The loss and its options that are no arrays, to be saved beside the leaves, as JSON say."""
        return settings_of(self.loss, self.options)

    def check_settings(self, saved: Any) -> None:
        """Warn if what `settings` was then is something else now."""
        warn_of_others(self.loss, self.options, saved)

    def __repr__(self) -> str:
        shape = getattr(self.weight, "shape", ())
        return f"Head({spelled(self.loss, shape, self.options)})"

    def __pdoc__(self, **_: Any) -> Any:
        """As a part of a model."""
        return import_module("wadler_lindig").TextDoc(repr(self))

    def _options(self) -> dict[str, Any]:
        check_given(self.loss, self._given, self.options)
        return self.options


def carry_state(state: Any, fresh: Any) -> Any:
    """What an optimizer of optax keeps, after `resize_classes`: `fresh` is how it starts with the new model.

    What has the same shape stays; what has a row for every class keeps the first, and starts for new ones as it starts
    anyway.
    """
    return carried(state, fresh)


def _drawn(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Prototypes of length about 1."""
    drawn: jax.Array = jax.random.normal(key, shape, dtype) * shape[-1]**-0.5
    return drawn


def __dir__() -> list[str]:
    return list(__all__)
