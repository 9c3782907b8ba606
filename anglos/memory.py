"""A memory of past batches, for losses over pairs: a small batch is compared with the last so many embeddings.

`empty` makes one, `enqueue` one with a batch more; nothing is changed, so that it is a state like any other: an
argument of a jitted step, buffers of a module, a part of a checkpoint. Its embeddings and labels are the
`reference_embeddings` and `reference_labels` of a loss. Of one that was made with `labels=False`, a queue, the
embeddings are the negatives of `info_nce` or `nce`, with `negatives_mask=memory.labels != -100` for as long as it is
not full.
"""

from anglos.training.memory import Memory as Memory
from anglos.training.memory import empty as empty
from anglos.training.memory import enqueue as enqueue

__all__ = ["Memory", "empty", "enqueue"]


def __dir__() -> list[str]:
    return list(__all__)
