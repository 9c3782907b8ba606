"""P2SGrad."""

from typing import Unpack

from anglos import define


@define.prototypes(formula="ℓ = ½ (cos θ_y − 1)² + ½ Σ_{j≠y} cos² θ_j", paper="Zhang et al. 2019, arXiv:1905.02479")
def p2sgrad(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /,
    **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """P2SGrad: the loss whose slope in every cosine is the cosine itself, less 1 for the label's.

    The paper gives the gradient, ∂ℓ/∂cos θ_j = cos θ_j − [j = y]; ½ Σ_j (cos θ_j − [j = y])² is the loss that has it.

    Notes
    -----
    pytorch-metric-learning takes the mean over B·C without the ½: its gradient is 2/C times this one.

    References
    ----------
    Zhang, Zhao, Yan, Gao, Wang, Li, "P2SGrad", CVPR 2019, arXiv:1905.02479.

    Examples
    --------
    At 60° to its own prototype and 30° to the other: ½ (1/2 − 1)² + ½ cos² 30° = 1/8 + 3/8.

    >>> import anglos, numpy as np
    >>> prototypes, embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[0.5, 0.75**0.5]])
    >>> round(float(anglos.p2sgrad(embeddings, prototypes, np.asarray([0]))), 6)
    0.5
    """
    return define.Row(reduction=define.Squares())
