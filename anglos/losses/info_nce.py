"""InfoNCE."""


from typing import Unpack

from anglos import define


@define.pairs(formula="ℓ = −log(e^(q·k/τ) / Σ_j e^(q·k_j/τ))", paper="van den Oord et al. 2018, arXiv:1807.03748")
def info_nce(
    queries: define.Queries, keys: define.Keys, negatives: define.Negatives = None, /, *,
    temperature: define.Temperature = 0.1, hardness: define.Sharpness = 0.0, symmetric: define.Symmetric = False,
    false_negatives: define.FalseNegatives = None, row_mask: define.RowMask = None, **common: Unpack[define.Common],
) -> define.PairRow:
    """InfoNCE: softmax cross entropy over the similarities of a query with its key and with other keys.

    ℓ_i = −log( exp(cos(q_i, k_i)/τ) / Σ_j exp(cos(q_i, k_j)/τ) ), j over the keys of the batch, or over k_i and the
    `negatives` where they are given. It is cross entropy with similarities for logits: each query is classified, with
    its own key as the right class. log N − ℓ, N the number of keys compared with, is a lower bound of the mutual
    information, so that a loss near 0 says no more than log N. `nce` asks of every key by itself whether it is noise. A
    query that is left without negatives adds nothing and leaves the mean's divisor.

    Parameters
    ----------
    keys
        The positive of each query; to the others it is a negative unless `negatives` are given.
    negatives
        ... Without rows, as a queue that is empty yet, it counts as None. For both together put the keys among them,
        and leave out each query's own: `false_negatives` True at (i, i).
    hardness
        α of LLaVE: a negative of cosine c counts e^(αc) times, a constant to the gradient, so that hard ones weigh
        more. Values of two α cannot be compared. The authors take 9 at τ = 0.02. ...
    symmetric
        The mean of this loss and of the one with queries and keys exchanged. Not with `negatives`.
    false_negatives : boolean array (B, B), or (B, M) with `negatives`, optional

    References
    ----------
    van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, arXiv:1807.03748.
    Lan, Niu, Meng, Zhou, Su, "LLaVE", Findings of EMNLP 2025, arXiv:2503.04812 (hardness).

    Examples
    --------
    Each query along its own key and at 90° to the other, τ = 1: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> queries, keys = np.asarray([[2.0, 0.0], [0.0, 1.0]]), np.asarray([[1.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.info_nce(queries, keys, temperature=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    weights = None if define.is_number(hardness) and hardness == 0.0 else hardness
    return define.PairRow(define.one_of_many, 1.0 / temperature, hardness=weights, symmetric=symmetric,
                          names=define.by_temperature(temperature))
