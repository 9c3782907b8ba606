"""COCO with the class means of the batch."""

from typing import Unpack

from anglos import define


@define.prototypes(engine=define.class_means, formula="z = α cos θ(x, c_k), c_k the mean of the batch's class k",
                   paper="Liu, Li, Wang 2017, arXiv:1702.06890")
def batch_coco(
    embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
    scale: define.Scale = 16.0, detach_centroids: bool = False, **common: Unpack[define.TiledCommon],
) -> define.Row:
    """COCO without weights: cosine softmax against the means of the classes that are in the batch.

    ℓ = −log( exp(α cos(x, c_y)) / Σ_k exp(α cos(x, c_k)) ), c_k the mean of the embeddings with label k, the sum over
    the classes in the batch. An embedding is part of the mean of its own class; the gradient goes through the means
    too. The loss of a batch of one class is 0.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector, or a mean that vanishes, has cosine 0 and gradient 0.
    scale
        α. An array is differentiated: a learnable scale.
    detach_centroids
        Whether the means are constants to the gradient.
    sample_weight
        ... The class means are not weighted.
    ignore_index
        Samples with this label count for nothing: neither in a class mean, nor as a class, nor in the mean's
        divisor.
    keep_bytes
        If the B × B logits take no more than this, the gradient reuses them; else it computes them again, in
        tiles.

    References
    ----------
    Liu, Li, Wang, "Rethinking Feature Discrimination and Polymerization for Large-scale Recognition", 2017,
    arXiv:1702.06890; the variant with learnt centres is `coco`.

    Examples
    --------
    Two classes of one embedding each, at a right angle: α = 1 gives the logits 1 and 0.

    >>> import anglos, math, numpy as np
    >>> loss = anglos.batch_coco(np.asarray([[3.0, 0.0], [0.0, 2.0]]), np.asarray([7, 4]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, detach_centroids=detach_centroids)
