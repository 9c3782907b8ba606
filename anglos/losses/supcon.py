"""Supervised contrastive loss."""

from functools import partial
from typing import Any, Literal

from anglos import define


@define.pairs(formula="ℓ = lse_j(x·x_j/τ) − mean_p x·p/τ", paper="Khosla et al. 2020, arXiv:2004.11362")
def supcon(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.1, form: Literal["out", "in"] = "out",
    reference_embeddings: define.ReferenceEmbeddings = None, reference_labels: define.ReferenceLabels = None,
    excluded_pairs: define.ExcludedPairs = None,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.PairRow:
    """Supervised contrastive loss: softmax over all other samples, with every sample of the same class a right answer.

    out: ℓ_i = −(1/|P|) Σ_{p∈P} log p_ip; in: ℓ_i = −log((1/|P|) Σ_{p∈P} p_ip); p_ij = exp(cos(x_i, x_j)/τ) / Σ_{k≠i}
    exp(cos(x_i, x_k)/τ), P the other samples of the class of x_i. For one positive each the two are one. The authors'
    code multiplies by τ/0.07 and divides by all anchors, also those without a positive.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    labels : integer array (B,) or (B, L), or real floating array (B, N)
        Any integers: equal ones are one class. Several per sample, padded with `ignore_index`: samples that have one in
        common are positives of each other. Or for every anchor and column, N = B without references, the weight of the
        pair as a positive, 0 for a negative: a factor of its term in the mean over P, divided by their sum. Weights are
        constants to the gradient.
    temperature : positive number, or array ()
        τ; the logits are cos θ / τ. An array is differentiated: a learnable temperature.
    form : {"out", "in"}
        The mean over positives outside or inside the logarithm. The authors recommend "out".
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
        The mean of all anchors that have a positive; their sum; or the sum of each anchor's, (B,).

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
    Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, arXiv:2004.11362, eq. 2 (out) and 3 (in).

    Examples
    --------
    Two views of two images, the views alike and the images at 90°, τ = 1: logits 1 for the pair and 0, 0 for the
    others.

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.supcon(views, np.asarray([0, 1, 0, 1]), temperature=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 2 / math.e), 6)
    (0.551445, 0.551445)
    """
    return define.PairRow(partial(_terms, form=form), 1.0 / temperature, names=define.by_temperature(temperature),
                          ignore_index=ignore_index)


def _terms(backend: Any, tile: define.PairTile, *, form: str) -> define.Terms:
    """ℓ = L − mean_p z_p or L − L_P + log |P|, L and L_P the log-sum-exp of all and of the positives.

    ∂ℓ/∂z_j = e^(z_j − L) − 1[p]/|P| or e^(z_j − L) − 1[p] e^(z_j − L_P).
    """
    xp, z, everyone = backend.xp, tile.values, tile.positive | tile.negative
    count = define.count_pairs(xp, tile, tile.positive)
    weighted = tile.weighted_logits(xp, z)
    positives = xp.where(count == 0.0, 1.0, count)
    total = define.log_sum_exp(xp, z, everyone)
    right = define.log_sum_exp(xp, weighted, tile.positive)
    if form == "out":
        hit = (define.sum_where(xp, tile.positive, tile.weighted(z)) / positives)[:, None]
    else:
        hit = right - xp.log(positives)[:, None]
    some = count > 0.0
    value = xp.where(some, xp.where(some[:, None], total, 0.0)[:, 0] - xp.where(some[:, None], hit, 0.0)[:, 0], 0.0)

    def slope() -> Any:
        if form == "out":
            wanted = tile.weighted(xp.astype(tile.positive, z.dtype)) / positives[:, None]
        else:
            wanted = define.share(xp, weighted, right, tile.positive)
        return xp.where(some[:, None], define.share(xp, z, total, everyone) - wanted, 0.0)

    return define.Terms(value, xp.astype(some, z.dtype), slope)
