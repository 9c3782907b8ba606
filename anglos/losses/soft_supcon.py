"""Supervised contrastive loss with soft targets."""

from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.pairs(formula="ℓ = Σ_p w_p (lse_j(x·x_j/τ) − x·p/τ)", paper="Tian et al. 2023, arXiv:2306.00984")
def soft_supcon(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.1, normalize_targets: Literal["sum", "count", "none"] = "sum",
    divisor: Literal["rows", "all"] = "rows", **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Supervised contrastive loss with soft targets: softmax over all other samples, against a distribution over them.

    ℓ_i = −Σ_p w_ip log p_ip, with p_ij = exp(cos(x_i, x_j)/τ) / Σ_{k≠i} exp(cos(x_i, x_k)/τ), w_ip the target of the
    pair, normalised. It is `supcon` where all targets are equal. MultiPosCon (StableRep) is this with the labels of the
    captions and divisor="all"; MultiSupCon is this with `mining.jaccard(multi_hot, threshold=0.3)`,
    normalize_targets="count" and divisor="all", apart from its factor τ/τ₀.

    Parameters
    ----------
    labels
        Of real floating dtype: for every anchor and column, N = B without references, the target of the pair, at least
        0; a constant to the gradient. Of samples with themselves it counts for nothing; with references all count. Or
        any integers: the target is 1 for equal ones, which are one class, and 0 else; several per sample, padded with
        `ignore_index`, where two have one in common.
    normalize_targets
        By what the targets of an anchor are divided: their sum, the number of those above 0, or nothing.
    divisor
        What the mean is divided by: the number of anchors with a target above 0 ("rows"), or of all.
    reduction
        The mean of the anchors that `divisor` names; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Tian, Fan, Isola, Chang, Krishnan, "StableRep: Synthetic Images from Text-to-Image Models Make Strong Visual
    Representation Learners", NeurIPS 2023, arXiv:2306.00984 (MultiPosCon).

    Examples
    --------
    Two views of two images, the views alike and the images at 90°, τ = 1: logits 1 for the pair and 0, 0 for the
    others. Targets ¾ for the pair and ¼ for one of the others: −¾ log p − ¼ log q.

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> targets = np.asarray([[0, 1, 3, 0], [1, 0, 0, 3], [3, 0, 0, 1], [0, 3, 1, 0]]) / 4
    >>> loss = anglos.soft_supcon(views, targets, temperature=1.0)
    >>> round(float(loss), 6), round(math.log(math.e + 2) - 0.75, 6)
    (0.801445, 0.801445)
    """
    terms = partial(_terms, normalize_targets=normalize_targets, divisor=divisor)
    return define.PairRow(terms, 1.0 / temperature, names=define.by_temperature(temperature))


def _terms(backend: define.Backend, tile: define.PairTile, *, normalize_targets: str, divisor: str) -> define.Terms:
    """ℓ = Σ_p w_p (L − z_p), L the log-sum-exp of all; ∂ℓ/∂z_j = W e^(z_j − L) − w_j, W = Σ_p w_p."""
    xp, z, everyone = backend.xp, tile.values, tile.positive | tile.negative
    ones = xp.astype(tile.positive, z.dtype)
    weight, total = tile.weighted(ones), define.log_sum_exp(xp, z, everyone)
    by = {"sum": weight, "count": ones}.get(normalize_targets)
    if by is not None:
        number = xp.sum(by, axis=1, keepdims=True)
        weight = weight / define.divisor_of(xp, number)
    some = xp.any(tile.positive, axis=1)
    value = define.sum_where(xp, tile.positive, weight * (total - z))

    def slope() -> Any:
        return xp.sum(weight, axis=1, keepdims=True) * define.share(xp, z, total, everyone) - weight

    count = xp.astype(some, z.dtype) if divisor == "rows" else xp.ones_like(value)
    return define.Terms(value, count, slope)
