"""The loss of CLIP."""

from typing import Unpack

from anglos import define


@define.pairs(formula="ℓ = ½ (CE over rows + CE over columns) of s q·k", paper="Radford et al. 2021, arXiv:2103.00020")
def clip(
    queries: define.Queries, keys: define.Keys, /, *,
    scale: define.Scale = 1.0 / 0.07, false_negatives: define.FalseNegativePairs = None,
    row_mask: define.RowMask = None, **common: Unpack[define.GuidedQueries],
) -> define.PairRow:
    """CLIP: InfoNCE in both directions, with a scale that is usually learnt.

    ℓ_i = ½ (−log softmax_j(s cos(q_i, k_j))_i − log softmax_j(s cos(q_j, k_i))_i). Exchanging queries and keys changes
    nothing. A pair without negatives in either direction leaves the mean's divisor. The authors learn log s from
    log(1/0.07) and keep s at most 100.

    Parameters
    ----------
    scale
        s, the inverse temperature. An array is differentiated: a learnable scale.

    References
    ----------
    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
    arXiv:2103.00020.

    Examples
    --------
    Each query along its own key and at 90° to the other, s = 1: the logits are 1 and 0 in both directions.

    >>> import anglos, math, numpy as np
    >>> queries, keys = np.asarray([[2.0, 0.0], [0.0, 1.0]]), np.asarray([[1.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.clip(queries, keys, scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.PairRow(define.one_of_many, scale, symmetric=True, names={"scale": (("scale", 1.0),)})
