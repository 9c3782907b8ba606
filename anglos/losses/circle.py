"""Circle loss over pairs."""

import math
from functools import partial
from typing import Any

from anglos import define


@define.pairs(formula="ℓ = ς(lse_n γ[s_n+m]₊(s_n−m) + lse_p γ[1+m−s_p]₊(1−m−s_p))",
              paper="Sun et al. 2020, arXiv:2002.10857")
def circle(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    margin: define.CircleMargin = 0.25, scale: define.Scale = 64.0,
    reference_embeddings: define.ReferenceEmbeddings = None, reference_labels: define.ReferenceLabels = None,
    excluded_pairs: define.ExcludedPairs = None,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.PairRow:
    """Circle loss over the pairs of every anchor: the further a similarity is from its optimum, the harder it is
    pulled.

    ℓ = ς( log Σ_n exp(γ [s_n + m]₊ (s_n − m)) + log Σ_p exp(−γ [1 + m − s_p]₊ (s_p − 1 + m)) ), s = cos θ and ς(v) =
    log(1 + eᵛ). The weights in brackets are constants to the gradient. `circle_softmax` is the same against class
    prototypes.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    labels : integer array (B,) or (B, L), or real floating array (B, N)
        Any integers: equal ones are one class. Several per sample, padded with `ignore_index`: samples that have one in
        common are positives of each other. Or for every anchor and column, N = B without references, the weight of the
        pair as a positive, 0 for a negative: a factor of its exponential. Weights are constants to the gradient.
    margin : number from 0 to 1, or array ()
        m. An array is differentiated, except in the brackets.
    scale : positive number, or array ()
        γ. An array is differentiated. The paper has 256 for faces, 64 to 128 for re-identification, and 80 with
        m = 0.4 for retrieval.
    reference_embeddings : array (N, D), optional
        What the batch is compared with in the place of itself: a memory of past batches, or the batches of all
        devices. It is differentiated if asked for. A sample of the batch that it holds counts as another sample.
    reference_labels : integer array (N,) or (N, K), optional
        Their labels; None where `labels` are weights.
    excluded_pairs : boolean array (B, N), optional
        True where a pair is left out: neither positive nor negative. N = B without references.
        Embeddings are finite all the same; `ignore_index` leaves out a sample that may not be.
    sample_weight : array (B,), optional
        Factor of the terms of every anchor; the mean is divided by their sum.
    ignore_index : int
        Samples with this label, and no other, take no part: not as an anchor, a positive or a negative.
    reduction : {"mean", "sum", "none"}
        The mean of all anchors that have a positive and a negative; their sum; or the sum of each anchor's, (B,).

    Returns
    -------
    array () or (B,)
        Of the type of the arithmetic: that of the inputs, float32 at least.

    Raises
    ------
    TypeError, ValueError
        Before any arithmetic, with the argument's name, what it was and what is wanted.

    References
    ----------
    Sun et al., "Circle Loss: A Unified Perspective of Pair Similarity Optimization", CVPR 2020, arXiv:2002.10857, eq.
    7.

    Examples
    --------
    m = 0, γ = 1; for the first two anchors, s_p = 1 and s_n = 0 give ς(0 + 0); the third has no positive.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.circle(embeddings, np.asarray([5, 5, 7]), margin=0.0, scale=1.0)
    >>> round(float(loss), 6), round(math.log(2), 6)
    (0.693147, 0.693147)
    """
    return define.PairRow(partial(_terms, margin=margin, scale=scale), ignore_index=ignore_index)


def _terms(backend: Any, tile: define.PairTile, *, margin: Any, scale: Any) -> define.Terms:
    """ℓ = ς(L_n + L_p), q = σ(L_n + L_p), w = γ [..]₊; ∂ℓ/∂s_n = q w softmax_n, ∂ℓ/∂s_p = −q w softmax_p,

    ∂ℓ/∂m = −q Σ w softmax, ∂ℓ/∂γ = q Σ logit/γ softmax, sums over both.
    """
    xp, s = backend.xp, tile.values
    error = xp.where(tile.positive, 1.0 + margin - s, s + margin)
    weight = scale * backend.stop_gradient(xp.where(error <= 0.0, 0.0, error))
    logits = weight * xp.where(tile.positive, 1.0 - margin - s, s - margin)
    weighted = tile.weighted_logits(xp, logits)
    positives, negatives = (define.log_sum_exp(xp, weighted, mask) for mask in (tile.positive, tile.negative))
    some = (positives != -math.inf) & (negatives != -math.inf)
    total = xp.where(some, xp.where(some, positives, 0.0) + xp.where(some, negatives, 0.0), -math.inf)

    def shares() -> tuple[Any, Any]:
        return (define.share(xp, weighted, negatives, tile.negative),
                define.share(xp, weighted, positives, tile.positive))

    def slope() -> Any:
        of_negatives, of_positives = shares()
        return define.sigmoid(backend, total) * weight * (of_negatives - of_positives)

    def option_slopes() -> dict[str, Any]:
        by_logit = define.sigmoid(backend, total) * sum(shares())
        return {"margin": -xp.sum(by_logit * weight, axis=1), "scale": xp.sum(by_logit * logits, axis=1) / scale}

    return define.Terms(define.softplus(backend, total)[:, 0], xp.astype(some, s.dtype)[:, 0], slope, option_slopes)
