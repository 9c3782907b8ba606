"""L2-Softmax."""

import math
from typing import Unpack

from anglos import define


@define.prototypes(formula="z = s·|w|·cos θ + b", paper="Ranjan et al. 2017, arXiv:1703.09507")
def l2_softmax(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    scale: define.OptionalScale = None, bias: define.Bias = None, **common: Unpack[define.MarginCommon],
) -> define.Row:
    """L2-Softmax: softmax cross entropy of a linear layer on embeddings of fixed length s.

    ℓ = −log softmax(s x̂ Wᵀ + b)_y. The weights keep their lengths.

    Parameters
    ----------
    weights
        One row per class, not normalised.
    scale
        s, the paper's α. An array is differentiated. None: the larger of 16 and the paper's bound
        log(p (C − 2) / (1 − p)) for the mean probability p = 0.9 of the label.

    References
    ----------
    Ranjan, Castillo, Chellappa, "L2-constrained Softmax Loss", 2017, arXiv:1703.09507.

    Examples
    --------
    x̂ = (1, 0), s = 1: the logits are 1 · 2 and 0 + 1.

    >>> import anglos, math, numpy as np
    >>> weights, bias = np.asarray([[2.0, 0.0], [0.0, 1.0]]), np.asarray([0.0, 1.0])
    >>> loss = anglos.l2_softmax(np.asarray([[3.0, 0.0]]), weights, np.asarray([0]), scale=1.0, bias=bias)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    if scale is None:
        scale = max(16.0, math.log(max(9.0 * (weights.shape[0] - 2), 1.0)))
    return define.Row(scale, bias=bias, normalize_weights=False)
