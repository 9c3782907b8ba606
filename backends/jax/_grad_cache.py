"""The gradient of one large batch, with the network's memory for a small one."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from anglos.call.kinds import describe

Encode = Callable[..., Any]


def grad_cache(encode: Encode, *, chunk_size: int) -> Encode:
    """A network that sees no more than a chunk of a batch at a time, and gives the embeddings of all.

    Its gradient embeds each chunk once more and takes that chunk's part of the loss's gradient back. So the embeddings
    of the whole batch are in memory and the activations of one chunk, for a forward pass more than usual. The gradient
    is that of the whole batch to rounding; random numbers come from keys, which are arguments, and are the same both
    times. It is differentiated, traced and sharded as any function, with any loss after it. What a network has of a
    whole batch, as batch normalisation, it has of each chunk.

    Parameters
    ----------
    encode
        Of parameters and arrays, or trees of them, with a row per sample, to embeddings with a row per sample.
    chunk_size
        Samples of a chunk, at least 1. The last may be smaller.

    Returns
    -------
    callable
        Of the same arguments.

    Raises
    ------
    TypeError, ValueError
        If chunk_size is not as above; in a call, if arrays have not as many samples each, or the embeddings not as many
        as these.

    References
    ----------
    Gao, Zhang, Han, Callan, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021,
    arXiv:2101.06983.

    Examples
    --------
    For dropout, a key per sample, of which a chunk uses its first: `encode(w, x, keys)` with `keys[0]` in it.

    >>> import anglos, jax
    >>> w, x = jax.random.normal(jax.random.key(0), (8, 4)), jax.random.normal(jax.random.key(1), (6, 8))
    >>> labels = jax.numpy.asarray([0, 1, 2, 0, 1, 2])
    >>> def encode(w, x):
    ...     return jax.numpy.tanh(x @ w)
    >>> cached, whole = (jax.grad(lambda w: anglos.supcon(network(w, x), labels))(w)
    ...                  for network in (grad_cache(encode, chunk_size=2), encode))
    >>> bool(jax.numpy.allclose(cached, whole, atol=1e-5))
    True
    """
    if not isinstance(chunk_size, int) or isinstance(chunk_size, bool) or chunk_size < 1:
        raise ValueError(f"grad_cache: chunk_size was {chunk_size!r}; wanted an integer of at least 1")
    if not callable(encode):
        raise TypeError(f"grad_cache: encode was {describe(encode)}; wanted a function of parameters and arrays")

    def encoded(parameters: Any, *arrays: Any) -> Any:
        samples = _samples(arrays)
        whole = samples - samples % chunk_size
        parts = []
        if whole:
            chunks = jax.tree.map(lambda one: one[:whole].reshape(-1, chunk_size, *one.shape[1:]), arrays)
            once = jax.checkpoint(encode, prevent_cse=False)  # which a loop prevents
            found = jax.lax.map(lambda chunk: _checked(once(parameters, *chunk), chunk_size), chunks)
            parts.append(found.reshape(whole, *found.shape[2:]))
        if whole < samples:
            rest = jax.tree.map(lambda one: one[whole:], arrays)
            parts.append(_checked(jax.checkpoint(encode)(parameters, *rest), samples - whole))
        return parts[0] if len(parts) == 1 else jnp.concatenate(parts)

    return encoded


def _samples(arrays: tuple[Any, ...]) -> int:
    """How many there are, by the first array; every array has a row for each."""
    leaves = [(f"array {number}{jax.tree_util.keystr(path)}", leaf) for number, one in enumerate(arrays, 1)
              for path, leaf in jax.tree_util.tree_leaves_with_path(one)]
    if not leaves:
        raise ValueError("grad_cache: no arrays were given; wanted some after the parameters, with a row per sample")
    samples, *_ = (*jnp.shape(leaves[0][1]), 0)
    for name, leaf in leaves:
        if not samples or jnp.shape(leaf)[:1] != (samples,):
            rows = f"({samples}, ...), as {leaves[0][0]} has" if samples else "at least 1"
            is_key = hasattr(leaf, "dtype") and (
                jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) or leaf.dtype == jnp.uint32)
            hint = " (of a random key: jax.random.split(key, samples), of which a chunk uses its first)" * is_key
            raise ValueError(f"grad_cache: {name} after the parameters had shape {jnp.shape(leaf)}; wanted a row per "
                             f"sample, {rows}{hint}")
    return int(samples)


def _checked(embeddings: Any, samples: int) -> Any:
    if not hasattr(embeddings, "shape") or embeddings.shape[:1] != (samples,):
        raise TypeError(f"grad_cache: encode returned {describe(embeddings)}"
                        f"{f' of shape {embeddings.shape}' if hasattr(embeddings, 'shape') else ''}; wanted an array "
                        f"with an embedding of each of {samples} samples")
    return embeddings
