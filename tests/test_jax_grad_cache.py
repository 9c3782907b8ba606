"""grad_cache: the gradient of a batch, by chunks of it."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos

jax: Any = import_module("jax")
jnp: Any = jax.numpy
grad_cache: Any = import_module("anglos.backends.jax").grad_cache

LABELS = np.arange(10) % 4


def encode(parameters: Any, x: Any, keys: Any = None) -> Any:
    hidden = jnp.tanh(x @ parameters["first"])
    if keys is not None:
        hidden = jnp.where(jax.random.bernoulli(keys[0], 0.5, hidden.shape), 2.0 * hidden, 0.0)
    return hidden @ parameters["second"]


def parameters_of() -> Any:
    first, second = (jax.random.normal(jax.random.key(number), shape)
                     for number, shape in enumerate(((8, 16), (16, 4))))
    return {"first": first, "second": second}


@pytest.mark.parametrize("transformed", [lambda function: function, jax.jit], ids=["eager", "jit"])
@pytest.mark.parametrize("size", [1, 3, 5, 10, 99])
def test_gradient_is_that_of_the_same_chunks(size: int, transformed: Callable[..., Any], jax_library: Library) -> None:
    """With dropout; in the network's parameters, in its inputs and in the loss's."""
    x, keys = jax.random.normal(jax.random.key(2), (10, 8)), jax.random.split(jax.random.key(3), 10)

    def chunked(parameters: Any, x: Any, keys: Any) -> Any:
        return jnp.concatenate([encode(parameters, x[start:start + size], keys[start:start + size])
                                for start in range(0, 10, size)])

    def loss(network: Any, parameters: Any, x: Any, temperature: Any) -> Any:
        return anglos.supcon(network(parameters, x, keys), LABELS, temperature=temperature)

    found, wanted = (transformed(jax.value_and_grad(partial(loss, network), argnums=(0, 1, 2)))(parameters_of(), x, 0.2)
                     for network in (grad_cache(encode, chunk_size=size), chunked))
    for got, want in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


def test_a_large_batch_takes_the_memory_of_a_small_one(jax_library: Library) -> None:
    """But for its inputs and embeddings, and what the loss has of them."""
    def temporary(network: Any, rows: int) -> int:
        step = jax.jit(jax.grad(lambda parameters, x: jnp.sum(network(parameters, x) ** 2)))
        x = jax.ShapeDtypeStruct((rows, 8), jnp.float64)
        parameters = {"first": jax.ShapeDtypeStruct((8, 256), jnp.float64),
                      "second": jax.ShapeDtypeStruct((256, 4), jnp.float64)}
        found: int = step.lower(parameters, x).compile().memory_analysis().temp_size_in_bytes
        return found

    small, plain, cached = temporary(encode, 64), temporary(encode, 1024), temporary(
        grad_cache(encode, chunk_size=64), 1024)
    of_batch = 1024 * (8 + 4) * 8
    assert plain > 8 * small
    assert cached < 2 * small + 4 * of_batch


X = np.ones((10, 8))


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: grad_cache(encode, chunk_size=0), ValueError, "chunk_size was 0; wanted an integer of at least 1"),
    (lambda: grad_cache(3, chunk_size=1), TypeError, "encode was 3; wanted a function of parameters and arrays"),
    (lambda: grad_cache(encode, chunk_size=4)(parameters_of(), jnp.asarray(X), jnp.asarray(X[:3])), ValueError,
     r"array 2 after the parameters had shape \(3, 8\); wanted a row per sample, \(10, ...\), as array 1 has$"),
    (lambda: grad_cache(encode, chunk_size=4)(None, {"x": jnp.asarray(X)}, jax.random.key(0)), ValueError,
     r"array 2 after .* shape \(\); .*, as array 1\['x'\] has \(of a random key: jax.random.split\(key, samples\), of"),
    (lambda: grad_cache(encode, chunk_size=4)(None, 3.0), ValueError, r"array 1 .* shape \(\); .*, at least 1$"),
    (lambda: grad_cache(lambda p, x: x[:1], chunk_size=4)(None, jnp.asarray(X)), TypeError,
     r"encode returned .* of shape \(1, 8\); wanted an array with an embedding of each of 4 samples"),
])
def test_refusals(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=rf"^grad_cache: {message}"):
        call()
