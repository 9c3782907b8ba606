"""The sigmoid loss of SigLIP."""

import math
from typing import Unpack

from anglos import define


@define.pairs(formula="ℓ = Σ_j ς(−y_ij (eᵗ q·k_j + b)), y = ±1", paper="Zhai et al. 2023, arXiv:2303.15343")
def siglip(
    queries: define.Queries, keys: define.Keys, /, *,
    log_scale: define.Number = 2.302585092994046, bias: define.Number = -10.0,
    false_negatives: define.FalseNegativePairs = None, row_mask: define.RowMask = None, **common: Unpack[define.Common],
) -> define.PairRow:
    """SigLIP: does a query belong with a key? Asked of every pair by itself.

    ℓ_i = Σ_j ς(−y_ij (eᵗ cos(q_i, k_j) + b)), y_ij = 1 for j = i and −1 else, ς(v) = log(1 + eᵛ). The mean is over
    queries, not pairs. The authors learn t from log 10 and b from −10: at first nearly all pairs are negative.

    Parameters
    ----------
    log_scale
        t. An array is differentiated: a learnable scale.
    bias
        b. An array is differentiated: a learnable bias.

    References
    ----------
    Zhai, Mustafa, Kolesnikov, Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, arXiv:2303.15343.

    Examples
    --------
    A query along its key: the logit is e⁰ · 1 − 1 = 0.

    >>> import anglos, math, numpy as np
    >>> loss = anglos.siglip(np.asarray([[2.0, 0.0]]), np.asarray([[1.0, 0.0]]), log_scale=0.0, bias=-1.0)
    >>> round(float(loss), 6), round(math.log(2), 6)
    (0.693147, 0.693147)
    """
    scale = math.e**log_scale
    return define.PairRow(define.each_by_itself, scale, bias,
                          names={"log_scale": (("scale", scale),), "bias": (("bias", 1.0),)})
