"""How each array library takes the gradient of a loss at the end of the network."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from anglos.call.loss import Loss
from anglos.tools.demo.network import SMALL, Array, Arrays, Network

Options = dict[str, Any]
AnyLoss = Loss[...]


class Library(NamedTuple):
    """All that differs from one library to the next."""

    xp: Any
    gradient: Callable[[AnyLoss, Arrays, Array, Array, Options], tuple[Array, Arrays]]
    """(loss, parameters, images, labels, options of the loss) -> its value, and a gradient for every parameter."""
    to_numpy: Callable[[Array], Any]
    compile: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda step: step


def by_hand(xp: Any, loss: AnyLoss, parameters: Arrays, images: Array, labels: Array, options: Options, *,
            network: Network = SMALL) -> tuple[Array, Arrays]:
    """Without automatic differentiation: the loss gives its gradient, the network passes it on."""
    values = network.embed(xp, parameters, images)
    value, gradients = loss.value_and_grad(*_arrays(loss, parameters, values[-1], labels), **options)
    of_loss = dict(zip((name for name in loss.arrays if name != "labels"), gradients, strict=True))
    return value, network.pullback(xp, parameters, values, of_loss.pop("embeddings")) | of_loss


def _arrays(loss: AnyLoss, parameters: Arrays, embeddings: Array, labels: Array) -> list[Array]:
    """The arrays of the loss: some have weights, some do not."""
    given = {**parameters, "embeddings": embeddings, "labels": labels}
    return [given[name] for name in loss.arrays]


def _numpy(network: Network = SMALL) -> Library:
    import array_api_compat.numpy as xp
    import numpy as np

    return Library(xp, partial(by_hand, xp, network=network), np.asarray)


def _cupy(network: Network = SMALL) -> Library:
    import array_api_compat.cupy as xp
    import cupy

    if not cupy.cuda.is_available():
        raise SystemExit("anglos demo: cupy is installed but finds no GPU; --backend numpy needs none")
    return Library(xp, partial(by_hand, xp, network=network), cupy.asnumpy)


def _torch(network: Network = SMALL) -> Library:
    import array_api_compat.torch as xp
    import torch

    def by_autograd(loss: AnyLoss, parameters: Arrays, images: Array, labels: Array, options: Options
                    ) -> tuple[Array, Arrays]:
        leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
        value = loss(*_arrays(loss, leaves, network.embed(xp, leaves, images)[-1], labels), **options)
        return value.detach(), dict(zip(leaves, torch.autograd.grad(value, [*leaves.values()]), strict=True))

    return Library(xp, by_autograd, lambda tensor: tensor.numpy(force=True))


def _jax(network: Network = SMALL) -> Library:
    import jax
    import jax.numpy as xp
    import numpy as np

    def value(loss: AnyLoss, parameters: Arrays, images: Array, labels: Array, options: Options) -> Array:
        return loss(*_arrays(loss, parameters, network.embed(xp, parameters, images)[-1], labels), **options)

    return Library(xp, jax.value_and_grad(value, argnums=1), np.asarray, jax.jit)


BACKENDS: dict[str, Callable[..., Library]] = {"numpy": _numpy, "torch": _torch, "jax": _jax, "cupy": _cupy}
