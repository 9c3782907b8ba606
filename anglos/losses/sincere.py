"""SINCERE, and supervised InfoNCE with an epsilon."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = mean_p (log(e^(x·p/τ − ε) + Σ_n e^(x·n/τ)) − x·p/τ)",
              paper="Feeney & Hughes 2023, arXiv:2309.14277")
def sincere(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.07, epsilon: define.Factor = 0.0, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """SINCERE: supervised contrastive loss in which the other samples of the class are not in the denominator.

    ℓ_i = mean_p ( log(exp(z_p − ε) + Σ_n exp(z_n)) − z_p ), z = cos θ / τ, p over the samples of the same class, n over
    those of others. In `supcon` positives push each other away; here, as in `nt_xent`, they do not. `nt_xent` is a mean
    of pairs and this of anchors: with as many positives each, both are the same. With ε > 0 it is ε-SupInfoNCE, whose
    least value is −ε.

    Parameters
    ----------
    labels
        ... A weight is a factor of its term in the mean over p, divided by their sum.
    epsilon
        ε, in units of the logits: 0.25 in the code of ε-SupInfoNCE. ...
    reduction
        The mean of all anchors that have a positive and a negative; their sum; or the sum of each anchor's, (B,).

    References
    ----------
    Feeney, Hughes, "SINCERE: Supervised Information Noise-Contrastive Estimation REvisited", 2023, arXiv:2309.14277.
    Barbano, Dufumier, Tartaglione, Grangetto, Gori, "Unbiased Supervised Contrastive Learning", ICLR 2023,
    arXiv:2211.05568 (ε-SupInfoNCE).

    Examples
    --------
    Two views of two images, the views alike and the images at 90°, τ = 1: logits 1 for the pair and 0, 0 for the
    negatives.

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.sincere(views, np.asarray([0, 1, 0, 1]), temperature=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 2 / math.e), 6)
    (0.551445, 0.551445)
    """
    return define.PairRow(partial(_terms, epsilon=epsilon), 1.0 / temperature,
                          names=define.by_temperature(temperature))


def _terms(backend: define.Backend, tile: define.PairTile, *, epsilon: Any) -> define.Terms:
    """ℓ = mean_p ς(u_p) − ε, u_p = L − z_p + ε, L the log-sum-exp of the negatives; q = σ(u).

    ∂ℓ/∂z_p = −q_p/|P|, ∂ℓ/∂z_n = mean_p q_p · e^(z_n − L), ∂ℓ/∂ε = mean_p q_p − 1.
    """
    xp, z = backend.xp, tile.values
    negatives = define.log_sum_exp(xp, z, tile.negative)
    chosen = tile.positive & (negatives != -math.inf)
    excess = xp.where(chosen, negatives - z + epsilon, -math.inf)
    weight = tile.weighted(xp.astype(chosen, z.dtype))
    total = xp.sum(weight, axis=1, keepdims=True)
    each = weight / define.divisor_of(xp, total)

    def slope() -> Any:
        missed = each * define.sigmoid(excess)
        return xp.sum(missed, axis=1, keepdims=True) * define.share(xp, z, negatives, tile.negative) - missed

    def option_slopes() -> dict[str, Any]:
        return {"epsilon": xp.sum(each * (define.sigmoid(excess) - 1.0), axis=1)}

    value = define.sum_where(xp, chosen, each * (define.softplus(excess) - epsilon))
    return define.Terms(value, xp.astype(total[:, 0] > 0.0, z.dtype), slope, option_slopes)
