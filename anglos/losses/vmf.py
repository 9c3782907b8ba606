"""The von Mises–Fisher mixture loss."""

from typing import Unpack

from anglos import define


@define.prototypes(formula="z = κ·cos θ", paper="Hasnat et al. 2017, arXiv:1706.04264")
def vmf(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    concentration: define.Scale = 16.0, **common: Unpack[define.MarginCommon],
) -> define.Row:
    """VMF mixture loss: the posterior of a mixture of von Mises–Fisher distributions with one concentration κ.

    ℓ = −log( exp(κ cos θ_y) / Σ_j exp(κ cos θ_j) ). The normalising constants of the mixture cancel, since κ is shared:
    this is `normface`, with its scale read as a concentration.

    Parameters
    ----------
    concentration
        κ. An array is differentiated: the paper learns it, from 16.

    References
    ----------
    Hasnat, Bohné, Milgram, Gentric, Chen, "von Mises-Fisher Mixture Model-based Deep learning", 2017, arXiv:1706.04264.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, κ = 1: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.vmf(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), concentration=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(concentration, names={**define.NAMES, "concentration": (("scale", 1.0),)})
