"""A memory of past batches: the last so many embeddings and their labels, as a state that functions make anew."""

from typing import Any, NamedTuple

from anglos.arrays.library import Array
from anglos.call.arguments import Embeddings
from anglos.call.check import check_values
from anglos.call.kinds import ArrayOf, describe, refuse
from anglos.call.static_kinds import Integer, OneOf, kind_of

_EMPTY = -100
"""The label of a place that holds nothing, which losses ignore."""

_KINDS = {"embeddings": kind_of(Embeddings)}
_ENQUEUED = {**_KINDS, "labels": ArrayOf("B", "integral", optional=True), "memory": ArrayOf("M D"),
             "memory_labels": ArrayOf("M", "integral"), "place": ArrayOf("", "integral")}


class Memory(NamedTuple):
    """Of M places."""

    embeddings: Array
    """(M, D), 0 where there is none yet: the `reference_embeddings`, or the negatives, of a loss."""
    labels: Array
    """(M,), −100 where there is none yet: the `reference_labels`; `labels != -100` is the `negatives_mask`.

    Of a memory without labels int8, and 0 where there is an embedding.
    """
    place: Array
    """Where the next embedding goes, a number from 0 to M − 1."""


def empty(size: int, embeddings: Array, *, labels: bool = True) -> Memory:
    """A memory without embeddings.

    Parameters
    ----------
    size : integer of at least 1
        M, how many embeddings it is for.
    embeddings : array (B, D)
        Of the library, device and type that it is to have; not put into it.
    labels : bool, default True
        Whether embeddings come with labels. False for a queue of negatives.

    Examples
    --------
    >>> import anglos, numpy as np
    >>> anglos.memory.empty(2, np.ones((1, 3))).labels.tolist()
    [-100, -100]
    """
    checked = check_values("memory.empty", {**_KINDS, "size": Integer(1), "labels": OneOf((True, False))},
                           {"embeddings": embeddings, "size": size, "labels": labels})
    xp, like = checked.backend.xp, checked.arrays["embeddings"]
    device, index = checked.backend.device(like), checked.backend.index_type
    return Memory(xp.zeros((size, like.shape[1]), dtype=like.dtype, device=device),
                  xp.full((size,), _EMPTY, dtype=index if labels else xp.int8, device=device),
                  xp.zeros((), dtype=index, device=device))


def enqueue(memory: Memory, embeddings: Array, labels: Array | None = None) -> Memory:
    """The memory with these embeddings in it, in place of the oldest; of more than M the last M.

    What is given stays as it is, and nothing is differentiated through a memory. Under `jax.jit` and `torch.compile` it
    is one graph for all steps. It costs a copy of the memory.

    Parameters
    ----------
    memory
        Of `empty`, or of this function.
    embeddings : array (B, D)
        They are kept in the memory's type.
    labels : array (B,) of integers
        None for a memory without labels, and for no other.

    Returns
    -------
    Memory
        Of as many places.

    Raises
    ------
    TypeError, ValueError
        If an argument is not as above: labels are missing, or come to a memory without labels.

    References
    ----------
    Wang, Zhang, Huang, Scott, "Cross-Batch Memory for Embedding Learning", CVPR 2020, arXiv:1912.06798. As a queue of
    negatives: He, Fan, Wu, Xie, Girshick, "Momentum Contrast", CVPR 2020, arXiv:1911.05722.

    Examples
    --------
    Two places; the third embedding takes that of the first.

    >>> import anglos, numpy as np
    >>> memory = anglos.memory.empty(2, np.ones((1, 1)))
    >>> for number in (1, 2, 3):
    ...     memory = anglos.memory.enqueue(memory, np.asarray([[number + 0.5]]), np.asarray([number]))
    >>> memory.embeddings.tolist(), memory.labels.tolist(), int(memory.place)
    ([[3.5], [2.5]], [3, 2], 1)
    """
    if not isinstance(memory, Memory):
        refuse("memory.enqueue", "memory", TypeError, f"was {describe(memory)}",
               "a Memory, as anglos.memory.empty makes it")
    checked = check_values("memory.enqueue", _ENQUEUED, {
        "memory": memory.embeddings, "memory_labels": memory.labels, "place": memory.place, "embeddings": embeddings,
        "labels": labels})
    backend, arrays = checked.backend, checked.arrays
    _check_labels("labels" in arrays, arrays["memory_labels"].dtype != backend.xp.int8)
    with backend.untracked(tuple(arrays.values())):
        return _enqueued(backend, arrays)


def _check_labels(given: bool, wanted: bool) -> None:
    """By the type of those that are there, which is known under a trace too."""
    if wanted and not given:
        refuse("memory.enqueue", "labels", TypeError, "was None", "an array of integral dtype and shape (B,), which "
               "this memory has (one without labels: anglos.memory.empty(size, embeddings, labels=False))")
    if given and not wanted:
        refuse("memory.enqueue", "labels", TypeError, "was given", "None, as this memory was made with labels=False")


def _enqueued(backend: Any, arrays: dict[str, Array]) -> Memory:
    xp, old, old_labels, place = backend.xp, arrays["memory"], arrays["memory_labels"], arrays["place"]
    size, count = old.shape[0], arrays["embeddings"].shape[0]
    if not count:
        return Memory(old, old_labels, place)
    new = xp.astype(backend.stop_gradient(arrays["embeddings"]), old.dtype)
    labels = xp.astype(arrays["labels"], old_labels.dtype) if "labels" in arrays else xp.zeros_like(
        new[:, 0], dtype=old_labels.dtype)
    last = place + count  # of all that have ever come, to a whole number of rounds
    row = count - 1 - (last - 1 - xp.arange(size, dtype=place.dtype, device=backend.device(old))) % size
    taken, row = row >= 0, xp.where(row >= 0, row, 0)
    return Memory(xp.where(taken[:, None], xp.take(new, row, axis=0), old),
                  xp.where(taken, xp.take(labels, row, axis=0), old_labels), xp.asarray(last % size))
