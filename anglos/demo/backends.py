"""How each array library takes the gradient of a loss at the end of the network."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from anglos import Loss
from anglos.demo.network import Array, Arrays, embed, embed_pullback

Gradient = Callable[[Arrays, Array, Array, dict[str, float]], tuple[Array, Arrays]]
"""(parameters, images, labels, options of the loss) -> the loss, and its gradient for every parameter."""


class Library(NamedTuple):
    """All that differs from one library to the next."""

    xp: Any
    gradient: Callable[[Loss[...]], Gradient]
    to_numpy: Callable[[Array], Any]
    compile: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda step: step


def _numpy() -> Library:
    import array_api_compat.numpy as xp

    return Library(xp, partial(_by_hand, xp), xp.asarray)


def _cupy() -> Library:
    import array_api_compat.cupy as xp
    import cupy

    if not cupy.cuda.is_available():
        raise SystemExit("anglos demo: cupy is installed but finds no GPU; --backend numpy needs none")
    return Library(xp, partial(_by_hand, xp), cupy.asnumpy)


def _by_hand(xp: Any, loss: Loss[...]) -> Gradient:
    def gradient(parameters: Arrays, images: Array, labels: Array, options: dict[str, float]
                 ) -> tuple[Array, Arrays]:
        values = embed(xp, parameters, images)
        value, (d_embeddings, d_weights) = loss.value_and_grad(values[-1], parameters["weights"], labels, **options)
        return value, {"weights": d_weights} | embed_pullback(xp, parameters, values, d_embeddings)

    return gradient


def _torch() -> Library:
    import array_api_compat.torch as xp
    import torch

    def by_autograd(loss: Loss[...]) -> Gradient:
        def gradient(parameters: Arrays, images: Array, labels: Array, options: dict[str, float]
                     ) -> tuple[Array, Arrays]:
            leaves = {name: parameter.detach().requires_grad_() for name, parameter in parameters.items()}
            value = loss(embed(xp, leaves, images)[-1], leaves["weights"], labels, **options)
            return value.detach(), dict(zip(leaves, torch.autograd.grad(value, [*leaves.values()]), strict=True))

        return gradient

    return Library(xp, by_autograd, torch.Tensor.numpy)


def _jax() -> Library:
    import jax
    import jax.numpy as jnp
    import numpy as np

    def by_custom_vjp(loss: Loss[...]) -> Gradient:
        def value(parameters: Arrays, images: Array, labels: Array, options: dict[str, float]) -> Array:
            return loss(embed(jnp, parameters, images)[-1], parameters["weights"], labels, **options)

        return jax.value_and_grad(value)

    return Library(jnp, by_custom_vjp, np.asarray, jax.jit)


BACKENDS: dict[str, Callable[[], Library]] = {"numpy": _numpy, "torch": _torch, "jax": _jax, "cupy": _cupy}
