"""Histogram loss."""

from functools import partial
from typing import Any

from anglos import define


@define.batchwise(formula="ℓ = Σ_r n_r Σ_{q≤r} p_q, of the histograms of cosines",
                  paper="Ustinova & Lempitsky 2016, arXiv:1611.00822")
def histogram(
    embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
    bins: define.Count = 100, ignore_index: define.IgnoredGroup = -100,
) -> define.Direct:
    """Histogram loss: the probability that a negative pair is nearer than a positive one, by soft histograms.

    ℓ = Σ_r n_r Σ_{q≤r} p_q. p and n are the histograms of the cosines of positive and of negative pairs, with a sum
    of 1 each. A cosine lies between two of the R + 1 knots from −1 to 1, Δ = 2/R apart, and counts in parts for both,
    the more the nearer. Negative pairs are those in which a sample has a positive, as in pytorch-metric-learning.

    Parameters
    ----------
    labels
        ... Pairs are compared in tiles.
    bins
        R. ...

    Notes
    -----
    A cosine on a knot has the slope of the bin above it; a cosine of 1 is in the last bin. No sample has a loss of its
    own: there is no `sample_weight` and no `reduction`. Without a positive pair, or without a second class, the loss
    is 0.

    References
    ----------
    Ustinova, Lempitsky, "Learning Deep Embeddings with Histogram Loss", NIPS 2016, arXiv:1611.00822.

    Examples
    --------
    R = 2, so that the knots are −1, 0 and 1. The positive pair has cosine ½: p = (0, ½, ½); the negative ones 0 and
    √¾ = 0.866: n = (0, 0.567, 0.433). The sums of p up to the knots are 0, ½ and 1.

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [0.5, 0.75**0.5], [0.0, 1.0]])
    >>> loss = anglos.histogram(embeddings, np.asarray([5, 5, 7]), bins=2)
    >>> round(float(loss), 6), round(0.5 * (1 - 0.5 * 0.75**0.5) + 0.5 * 0.75**0.5, 6)
    (0.716506, 0.716506)
    """
    parts = partial(_parts, ignore_index=ignore_index, bins=bins)
    return define.of_parts(parts, _gradients)


def _gradients(backend: define.Backend, g: Any, pairs: Any, bins_of: Any, far: Any, some: Any, steps: Any
               ) -> dict[str, Any]:
    """Of a pair in bin r, between the knots r and r + 1: ∂ℓ/∂s = −n_r / (Δ |P|) or p_{r+1} / (Δ |N|)."""
    xp = backend.xp

    def slope(cos: Any, positive: Any, negative: Any, some: Any) -> Any:
        of_pair = bins_of(cos)
        down, up = of_pair.at(steps[0]), of_pair.at(steps[1], 1)
        return xp.where(far(negative, some), up, xp.where(positive, -down, 0.0))

    return {"embeddings": g * pairs.pull(slope, some)}


def _parts(backend: define.Backend, embeddings: Any, labels: Any, *, ignore_index: int, bins: int) -> Any:
    """ℓ; the pairs; the bin of cosines; negatives that count; who has a positive; ∂ℓ/∂s by knot."""
    xp, pairs = backend.xp, define.all_pairs(backend, embeddings, labels, ignore_index)

    def bins_of(cos: Any) -> Any:
        return define.soft_bins(backend, (cos + 1.0) * (0.5 * bins), bins)

    def far(negative: Any, some: Any) -> Any:
        return negative & (some[:, None] | has_positive[None, :])

    def counted(cos: Any, positive: Any, negative: Any, some: Any) -> Any:
        masks = {"positive": positive, "negative": far(negative, some)}
        weights = {name: xp.astype(mask, cos.dtype) for name, mask in masks.items()}
        counts = {name: xp.sum(bins_of(cos).count(weight), axis=0) for name, weight in weights.items()}
        return counts | {f"{name} pairs": xp.sum(weight) for name, weight in weights.items()}, ()

    _, (has_positive,) = pairs.sums(lambda _, positive, negative: ({}, (xp.any(positive, axis=1),)))
    sums, _ = pairs.sums(counted, has_positive)
    counts = [sums["positive pairs"], sums["negative pairs"]]
    near_share, far_share = (1.0 / define.divisor_of(xp, count) for count in counts)
    near, further = near_share * sums["positive"], far_share * sums["negative"]
    steps = 0.5 * bins * near_share * further, 0.5 * bins * far_share * near
    return xp.sum(further * xp.cumulative_sum(near, axis=0)), pairs, bins_of, far, has_positive, steps
