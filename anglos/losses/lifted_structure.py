"""Lifted structure loss."""

import math
from functools import partial
from typing import Any

from anglos import define


@define.batchwise(formula="ℓ = mean_ij ½ [log(Σ_n e^(m − D_in) + Σ_n e^(m − D_jn)) + D_ij]₊²",
                  paper="Oh Song et al. 2016, arXiv:1511.06452")
def lifted_structure(
    embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
    margin: define.PairMargin = 1.0, ignore_index: define.IgnoredGroup = -100,
) -> define.Direct:
    """Lifted structure loss: the distance of two positives against the negatives of both, softly the nearest.

    ℓ = ½ mean [J_ij]₊² over all pairs i, j of one class, J_ij = log(Σ_n exp(m − D_in) + Σ_n exp(m − D_jn)) + D_ij, with
    D as the distance of unit vectors and n over the samples of other classes. `generalized_lifted` has terms of single
    anchors, with all of their positives at once.

    Parameters
    ----------
    labels
        ... Pairs are compared in tiles.
    margin
        ... It only adds to all J.

    Notes
    -----
    The paper does not normalise. Of two equal embeddings the distance is 0, with gradient 0. No sample has a loss of
    its own: there is no `sample_weight` and no `reduction`. Without a positive pair, or without a second class, the
    loss is 0.

    References
    ----------
    Oh Song, Xiang, Jegelka, Savarese, "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016,
    arXiv:1511.06452.

    Examples
    --------
    D = 0 between the positives, and 1 from both to the negative: J = log 2 for m = 1.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.5, 0.75**0.5]])
    >>> loss = anglos.lifted_structure(embeddings, np.asarray([5, 5, 7]))
    >>> round(float(loss), 6), round(0.5 * math.log(2) ** 2, 6)
    (0.240227, 0.240227)
    """
    parts = partial(_parts, ignore_index=ignore_index, margin=margin)
    return define.of_parts(parts, _gradients)


def _gradients(backend: define.Backend, g: Any, pairs: Any, tile_of: Any, lifts: Any, weight: Any, share: Any,
               total: Any) -> dict[str, Any]:
    """With h = [J]₊ and l_i = log Σ_n e^(m − D_in): ∂ℓ/∂D_ij = h_ij / |P|, ∂ℓ/∂D_in = −w_i e^(m − D_in − l_i) / |P|.

    w_i = 2 Σ_j h_ij σ(l_i − l_j), of both places in a pair; ∂ℓ/∂m = Σ h / |P|.
    """
    def slope(cos: Any, positive: Any, negative: Any, lift: Any, weight: Any) -> Any:
        apart, pushes, h, _ = tile_of(cos, positive, lift)
        pushed = weight[:, None] * define.share(backend.xp, pushes, lift[:, None], negative)
        return share * (h - pushed) * apart.slope()

    return {"embeddings": g * pairs.pull(slope, lifts, weight), "margin": g * share * total}


def _parts(backend: define.Backend, embeddings: Any, labels: Any, *options: Any, ignore_index: int, margin: Any) -> Any:
    """ℓ; the pairs; what a tile has; l, 0 where there is no negative; w, 1/|P| and Σ h."""
    xp, pairs = backend.xp, define.all_pairs(backend, embeddings, labels, ignore_index)
    apart_of = partial(define.product_distances, backend, "euclidean")

    def lift_of(cos: Any, _: Any, negative: Any) -> Any:
        return {}, (define.log_sum_exp(xp, margin - apart_of(cos).value, negative)[:, 0],)

    def tile_of(cos: Any, positive: Any, lift: Any) -> Any:
        """D, m − D, h and l_i − l_j."""
        apart, ahead = apart_of(cos), lift[:, None] - lifts[None, :]
        excess = define.softplus(ahead) + lifts[None, :] + apart.value
        return apart, margin - apart.value, xp.where(positive, define.positive_part(xp, excess), 0.0), ahead

    def terms(cos: Any, positive: Any, _: Any, lift: Any, some: Any) -> Any:
        positive = positive & some[:, None]
        _, _, h, ahead = tile_of(cos, positive, lift)
        return ({"squares": xp.sum(h * h), "total": xp.sum(h), "count": xp.sum(xp.astype(positive, h.dtype))},
                (2.0 * xp.sum(h * define.sigmoid(ahead), axis=1),))

    _, (lifts,) = pairs.sums(lift_of)
    some = lifts != -math.inf  # of all samples that count, or of none
    lifts = xp.where(some, lifts, 0.0)
    sums, (weight,) = pairs.sums(terms, lifts, some)
    count = sums["count"]
    share = xp.where(count == 0.0, 0.0, 1.0 / define.divisor_of(xp, count))
    return 0.5 * share * sums["squares"], pairs, tile_of, lifts, weight, share, sums["total"]
