"""Noise contrastive estimation."""


from typing import Unpack

from anglos import define


@define.pairs(formula="ℓ = ς(−G(q, k)) + Σ_m ς(G(q, n_m)), G = q·k − log Z − log(M p_n)",
              paper="Gutmann & Hyvärinen 2012, JMLR 13:307")
def nce(
    queries: define.Queries, keys: define.Keys, negatives: define.NoiseDraws, /, *,
    negatives_mask: define.NegativesMask = None, key_log_prob: define.KeyLogProb = None,
    negative_log_prob: define.NegativeLogProb = None,
    log_normalizer: define.Number = 0.0, normalize: bool = False, row_mask: define.RowMask = None,
    **common: Unpack[define.Common],
) -> define.PairRow:
    """Noise contrastive estimation: is the key, is every negative by itself, data or noise?

    ℓ_i = ς(−G(q_i, k_i)) + Σ_m ς(G(q_i, n_m)), G(q, u) = q·u − log Z − log(M p_n(u)), ς(v) = log(1 + eᵛ), M the number
    of negatives, drawn from the noise p_n: of those that `negatives_mask` counts, at least 1. log Z makes the model a
    probability: learn it, or leave it at 0.

    Unlike this, InfoNCE picks the data out of 1 + M candidates by a softmax, in which log Z and log M cancel; there,
    with noise p_n(k) = p(k) that does not depend on the query, the best q·k is log p(k|q)/p(k), of which log p_n is a
    part. `siglip` is NCE with −log(M p_n) learnt as one bias; word2vec's negative sampling sets log(M p_n) to 0.

    Parameters
    ----------
    queries
        One row per sample.
    keys
        The key of each query.
    log_normalizer
        log Z. ...
    normalize
        Whether q·k is taken of unit vectors.

    References
    ----------
    Gutmann, Hyvärinen, "Noise-Contrastive Estimation of Unnormalized Statistical Models", JMLR 13, 2012.

    Examples
    --------
    One negative, p_n = 1, and q·k = q·n = 0: ς(0) + ς(0).

    >>> import anglos, math, numpy as np
    >>> loss = anglos.nce(np.asarray([[1.0, 0.0]]), np.asarray([[0.0, 1.0]]), np.asarray([[0.0, 2.0]]))
    >>> round(float(loss), 6), round(2 * math.log(2), 6)
    (1.386294, 1.386294)
    """
    return define.PairRow(define.each_by_itself, bias=-log_normalizer, normalize=normalize,
                          names={"log_normalizer": (("bias", -1.0),)}, log_noise=(key_log_prob, negative_log_prob))
