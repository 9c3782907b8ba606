"""NT-Xent."""

import math
from typing import Any

from anglos import define


@define.pairs(formula="ℓ_ip = −log(e^(x·p/τ) / (e^(x·p/τ) + Σ_n e^(x·n/τ)))",
              paper="Chen et al. 2020, arXiv:2002.05709")
def nt_xent(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.5, reference_embeddings: define.ReferenceEmbeddings = None,
    reference_labels: define.ReferenceLabels = None, excluded_pairs: define.ExcludedPairs = None,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.PairRow:
    """NT-Xent: for every pair of one class, softmax cross entropy of its similarity against those of all negatives.

    ℓ_ip = −log( exp(cos(x_i, x_p)/τ) / (exp(cos(x_i, x_p)/τ) + Σ_n exp(cos(x_i, x_n)/τ)) ), p over the samples of the
    same class, n over those of others. SimCLR's loss for two views of B images is this with labels 0 … B − 1, twice.
    Where a class has more than two samples, the other positives are left out of the sum, as pytorch-metric-learning
    and optax do it; `supcon` keeps them in.

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
    Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML
    2020, arXiv:2002.05709.

    Examples
    --------
    Two views of two images, the views alike and the images at 90°, τ = 1: logits 1 for the pair and 0, 0 for the
    negatives.

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.nt_xent(views, np.asarray([0, 1, 0, 1]), temperature=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 2 / math.e), 6)
    (0.551445, 0.551445)
    """
    return define.PairRow(_terms, 1.0 / temperature, names=define.by_temperature(temperature),
                          ignore_index=ignore_index)


def _terms(backend: Any, tile: define.PairTile) -> define.Terms:
    """ℓ_p = ς(L − z_p), L the log-sum-exp of the negatives; ∂ℓ_p/∂z_p = −q, ∂ℓ_p/∂z_n = q softmax_n, q = σ(L − z_p)."""
    xp, z = backend.xp, tile.values
    negatives = define.log_sum_exp(xp, z, tile.negative)
    excess = xp.where(tile.positive, negatives - z, -math.inf)
    count = xp.where(negatives[:, 0] == -math.inf, 0.0, define.count_pairs(xp, tile, tile.positive))

    def slope() -> Any:
        missed = tile.weighted(xp.where(tile.positive, define.sigmoid(backend, excess), 0.0))
        return xp.sum(missed, axis=1, keepdims=True) * define.share(xp, z, negatives, tile.negative) - missed

    return define.Terms(define.sum_where(xp, tile.positive, tile.weighted(define.softplus(backend, excess))), count,
                        slope)
