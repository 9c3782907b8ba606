"""UniFace, the unified cross entropy."""

import math
from functools import partial
from typing import Unpack

from anglos import define


@define.prototypes(formula="z = s·φ − b, φ = cos θ − m", paper="Zhou et al. 2023 (ICCV)")
def uniface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.CosineMargin = 0.4, scale: define.Scale = 64.0, bias: define.ScalarBias = None,
    negative_weight: define.Factor = 1.0, **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """UniFace (UCE): does the cosine exceed a threshold? Asked of every class by itself, with one threshold for all.

    ℓ = ς(−(s (cos θ_y − m) − b)) + l Σ_{j≠y} ς(s cos θ_j − b), with ς(v) = log(1 + eᵛ): the sum over classes.

    Parameters
    ----------
    margin
        m. ...
    bias
        b: the threshold is b/s. An array is differentiated. None: log(10 C), the paper's start.
    negative_weight
        l. ...

    Notes
    -----
    The authors' code clips the logits to ±s, which stops the gradient of the worst samples; here nothing is clipped.

    References
    ----------
    Zhou, Jia, Li, Shen, Duan, "UniFace: Unified Cross-Entropy Loss for Deep Face Recognition", ICCV 2023.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, m = 0.5, s = 2, b = 0: ς(−1) + ς(0).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.uniface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=0.5, scale=2.0, bias=0.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e) + math.log(2), 6)
    (1.006409, 1.006409)
    """
    if bias is None:
        bias = math.log(10.0 * weights.shape[0])
    return define.Row(scale, partial(define.additive_cosine, margin=margin), define.Binary(1.0, negative_weight),
                      bias=-bias,
                      names={**define.NAMES, "bias": (("bias", -1.0),), "negative_weight": (("negative", 1.0),)})
