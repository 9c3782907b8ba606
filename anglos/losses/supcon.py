"""Supervised contrastive loss."""

from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.pairs(formula="ℓ = lse_j(x·x_j/τ) − mean_p x·p/τ", paper="Khosla et al. 2020, arXiv:2004.11362")
def supcon(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.1, form: Literal["out", "in"] = "out", **common: Unpack[define.GuidedPairs],
) -> define.PairRow:
    """Supervised contrastive loss: softmax over all other samples, with every sample of the same class a right answer.

    out: ℓ_i = −(1/|P|) Σ_{p∈P} log p_ip; in: ℓ_i = −log((1/|P|) Σ_{p∈P} p_ip), P the other samples of the class of x_i,
    with p_ij = exp(cos(x_i, x_j)/τ) / Σ_{k≠i} exp(cos(x_i, x_k)/τ). With one positive each, both are the same. The
    authors' code multiplies by τ/0.07 and divides by the number of all anchors, also those without a positive.

    Parameters
    ----------
    labels
        ... A weight is a factor of its term in the mean over P, divided by their sum.
    form
        The mean over positives outside or inside the logarithm. The authors recommend "out". Without other positives in
        the denominator it is `sincere`.
    reduction
        The mean of all anchors that have a positive; their sum; or the sum of each anchor's, (B,).

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
                          partners=_PARTNERS[form])


_PARTNERS = {"out": "mean", "in": "share"}


def _terms(backend: define.Backend, tile: define.PairTile, *, form: str) -> define.Terms:
    """ℓ = L − mean_p z_p or L − L_P + log |P|, L and L_P the log-sum-exp of all and of the positives.

    ∂ℓ/∂z_j = e^(z_j − L) − 1[p]/|P| or e^(z_j − L) − 1[p] e^(z_j − L_P).
    """
    xp, z, everyone = backend.xp, tile.values, tile.positive | tile.negative
    count = define.count_pairs(xp, tile, tile.positive)
    weighted = tile.weighted_logits(xp, z)
    positives = define.divisor_of(xp, count)
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
