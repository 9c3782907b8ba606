"""Decoupled contrastive loss."""

import math
from typing import Any

from anglos import define


@define.pairs(formula="ℓ_ip = −x·p/τ + lse_n(x·n/τ)", paper="Yeh et al. 2022, arXiv:2110.06848")
def dcl(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.1, reference_embeddings: define.ReferenceEmbeddings = None,
    reference_labels: define.ReferenceLabels = None, excluded_pairs: define.ExcludedPairs = None,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.PairRow:
    """Decoupled contrastive loss: NT-Xent without the positive in the denominator. Unbounded below.

    ℓ_ip = −cos(x_i, x_p)/τ + log Σ_n exp(cos(x_i, x_n)/τ), p over the samples of the same class, n over those of
    others.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    labels : integer array (B,) or (B, L), or real floating array (B, N)
        Any integers: equal ones are one class. Several per sample, padded with `ignore_index`: samples that have one in
        common are positives of each other. Or for every anchor and column, N = B without references, the weight of the
        pair as a positive, 0 for a negative: a factor of its ℓ_ip, also in the mean's divisor. Weights are constants to
        the gradient.
    temperature : positive number, or array ()
        τ; the logits are cos θ / τ. An array is differentiated: a learnable temperature.
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
        The mean of all pairs of an anchor with a positive, of anchors that have a negative; their sum; or the sum of
        each anchor's, (B,).

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
    Yeh, Hong, Hsu, Liu, Chen, LeCun, "Decoupled Contrastive Learning", ECCV 2022, arXiv:2110.06848.

    Examples
    --------
    Two views of two images, the views alike and the images at 90°, τ = 1: −1 + log(e⁰ + e⁰).

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.dcl(views, np.asarray([0, 1, 0, 1]), temperature=1.0)
    >>> round(float(loss), 6), round(math.log(2) - 1, 6)
    (-0.306853, -0.306853)
    """
    return define.PairRow(_terms, 1.0 / temperature, names=define.by_temperature(temperature),
                          ignore_index=ignore_index)


def _terms(backend: Any, tile: define.PairTile) -> define.Terms:
    """ℓ_p = L − z_p, L the log-sum-exp of the negatives; ∂ℓ_p/∂z_p = −1, ∂ℓ_p/∂z_n = e^(z_n − L)."""
    xp, z = backend.xp, tile.values
    negatives = define.log_sum_exp(xp, z, tile.negative)
    some = negatives != -math.inf
    count = xp.where(some[:, 0], define.count_pairs(xp, tile, tile.positive), 0.0)
    value = count * xp.where(some, negatives, 0.0)[:, 0] - define.sum_where(xp, tile.positive & some, tile.weighted(z))

    def slope() -> Any:
        return count[:, None] * define.share(xp, z, negatives, tile.negative) - tile.weighted(
            xp.astype(tile.positive & some, z.dtype))

    return define.Terms(value, count, slope)
