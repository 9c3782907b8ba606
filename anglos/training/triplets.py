"""Online selection of triplets: what `anglos.mining` has."""

from functools import partial

from anglos.arrays.library import Array
from anglos.call.arguments import DistanceName, Embeddings, NormalizedDistance
from anglos.call.check import check_values
from anglos.call.kinds import Number
from anglos.call.pair_arguments import ExcludedPairs, Groups, ReferenceEmbeddings, ReferenceLabels
from anglos.call.samples import samples_of_groups
from anglos.call.static_kinds import kind_of
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.step import step_of
from anglos.engines.pairs.tile import compare
from anglos.engines.pairs.triplets import CHOICES, chosen_terms

Triplets = tuple[Array, Array, Array]

_KINDS = {**{name: kind_of(annotation) for name, annotation in {
    "embeddings": Embeddings, "labels": Groups, "distance": DistanceName, "normalize": NormalizedDistance,
    "reference_embeddings": ReferenceEmbeddings, "reference_labels": ReferenceLabels, "excluded_pairs": ExcludedPairs,
}.items()}, "margin": Number("a margin on the distance", 0.0, optional=True)}


def batch_hard(embeddings: Array, labels: Array, *, distance: str = "squared_euclidean", normalize: bool = True,
               reference_embeddings: Array | None = None, reference_labels: Array | None = None,
               excluded_pairs: Array | None = None) -> Triplets:
    """For every anchor its farthest positive and its nearest negative; the first of equals.

    >>> import numpy as np
    >>> embeddings, labels = np.asarray([[0.0], [1.0], [3.0]]), np.asarray([5, 5, 7])
    >>> [indices.tolist() for indices in batch_hard(embeddings, labels, normalize=False)]
    [[0, 1], [1, 0], [2, 2]]
    """
    return _select("batch_hard", embeddings, labels, distance, normalize, reference_embeddings, reference_labels,
                   excluded_pairs, None)


def semi_hard(embeddings: Array, labels: Array, *, margin: float | Array | None = None,
              distance: str = "squared_euclidean", normalize: bool = True, reference_embeddings: Array | None = None,
              reference_labels: Array | None = None, excluded_pairs: Array | None = None) -> Triplets:
    """For every pair of anchor and positive the nearest negative that is farther, if it is within the margin (FaceNet).

    Without a margin it may be any distance away.

    >>> import numpy as np
    >>> embeddings, labels = np.asarray([[0.0], [1.0], [3.0]]), np.asarray([5, 5, 7])
    >>> [found.tolist() for found in semi_hard(embeddings, labels, margin=5.0, normalize=False)]  # 1 < 4 < 1 + 5 < 9
    [[1], [0], [2]]
    """
    return _select("semi_hard", embeddings, labels, distance, normalize, reference_embeddings, reference_labels,
                   excluded_pairs, margin)


def semi_hard_or_easiest(embeddings: Array, labels: Array, *, distance: str = "squared_euclidean",
                         normalize: bool = True, reference_embeddings: Array | None = None,
                         reference_labels: Array | None = None, excluded_pairs: Array | None = None) -> Triplets:
    """For every pair of anchor and positive the nearest negative that is farther, or else the farthest (TensorFlow).

    >>> import numpy as np
    >>> embeddings, labels = np.asarray([[0.0], [5.0], [3.0]]), np.asarray([5, 5, 7])
    >>> [indices.tolist() for indices in semi_hard_or_easiest(embeddings, labels, normalize=False)]
    [[0, 1], [1, 0], [2, 2]]
    """
    return _select("semi_hard_or_easiest", embeddings, labels, distance, normalize, reference_embeddings,
                   reference_labels, excluded_pairs, None)


def _select(mining: str, embeddings: Array, labels: Array, distance: str, normalize: bool,
            reference_embeddings: Array | None, reference_labels: Array | None, excluded_pairs: Array | None,
            margin: float | Array | None) -> Triplets:
    name = f"mining.{mining}"
    values = {"embeddings": embeddings, "labels": labels, "distance": distance, "normalize": normalize,
              "reference_embeddings": reference_embeddings, "reference_labels": reference_labels,
              "excluded_pairs": excluded_pairs, "margin": margin}
    backend, inputs, static, sizes, _ = check_values(name, _KINDS, values, {"normalize": True})
    margin = inputs.pop("margin", margin)
    with backend.untracked(tuple(inputs.values())):
        named = dict(zip(inputs, inputs, strict=True))
        samples, inputs = samples_of_groups(name, backend, named, inputs, None, -100, None)
        if 0 in (sizes["B"], sizes.get("N")):
            return (backend.xp.astype(inputs["embeddings"][:0, 0], backend.index_type),) * 3
        terms = partial(chosen_terms, mining=mining, margin=margin, soft=False, active=False)
        row = PairRow(terms, distance=static["distance"], normalize=static["normalize"], ignore_index=-100)
        step = step_of(backend, row, inputs)
        tile = compare(step, 0, step.swept).tile
        if samples.counted is not None:
            tile = tile._replace(positive=tile.positive & samples.counted[:, None])
        chosen = CHOICES[mining](backend, tile, margin)
        anchors, places = backend.xp.nonzero(chosen.valid)
        positives = places if chosen.positive is None else chosen.positive[anchors, places]
        return anchors, positives, chosen.negative[anchors, places]
