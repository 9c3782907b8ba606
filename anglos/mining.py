"""Online selection of triplets as functions, for those who want the indices: `anglos.triplet` selects by itself.

Each takes embeddings (B, D) and labels (B,), any integers with −100 for none, and gives three integer arrays (T,): the
indices of anchors, of positives and of negatives; with `reference_embeddings` (N, D) and `reference_labels` (N,)
positives and negatives are indices into those. Labels may also be several per sample, or weights of positives, and
`excluded_pairs` are left out, as in `anglos.triplet`. T depends on the values, so that these functions cannot be traced
by `jax.jit`. They need B × N numbers of memory. All triplets of a batch would need B³:
`anglos.triplet(mining="batch_all")` does not form them.

`guided_false_negatives` says which negatives a guide, such as another model, takes for positives. `same_label` and
`jaccard` give weights of pairs, (B, B), for losses that take these in place of labels.
"""

from anglos.training.guides import guided_false_negatives as guided_false_negatives
from anglos.training.pair_targets import jaccard as jaccard
from anglos.training.pair_targets import same_label as same_label
from anglos.training.triplets import batch_hard as batch_hard
from anglos.training.triplets import semi_hard as semi_hard
from anglos.training.triplets import semi_hard_or_easiest as semi_hard_or_easiest

__all__ = ["batch_hard", "guided_false_negatives", "jaccard", "same_label", "semi_hard", "semi_hard_or_easiest"]


def __dir__() -> list[str]:
    return list(__all__)
