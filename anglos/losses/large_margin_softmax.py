"""L-Softmax."""

from functools import partial
from typing import Unpack

from anglos import define


@define.prototypes(formula="φ = (λ cos θ + ψ_m(θ)) / (1 + λ)", paper="Liu et al. 2016, arXiv:1612.02295")
def large_margin_softmax(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.AngleFactor = 4.0, annealing: define.Annealing = 0.0, gradient: define.Gradient = "exact",
    **common: Unpack[define.MarginCommon],
) -> define.Row:
    """L-Softmax: softmax cross entropy of a linear layer, with the label's angle multiplied by m.

    ℓ = −log( exp(|x||w_y| φ(θ_y)) / (exp(|x||w_y| φ(θ_y)) + Σ_{j≠y} exp(x·w_j)) ), with φ and ψ as in `sphereface`;
    neither embeddings nor weights are normalised.

    Parameters
    ----------
    embeddings
        One row per sample. Its length scales its logits.
    weights
        One row per class. Its length scales its logits.
    margin
        m; 1 is the linear layer without a margin, and an integer needs no arccos. ...
    annealing
        λ. For even m the label's slope is 0 at 90°, where training starts: begin with a large λ. ...

    References
    ----------
    Liu, Wen, Yu, Yang, "Large-Margin Softmax Loss", ICML 2016, arXiv:1612.02295.

    Examples
    --------
    |x| = 1, at 60° to w_0 of length 2 and 30° to w_1 of length 1, m = 2: the logits are 2 cos 120° = −1 and cos 30°.

    >>> import anglos, math, numpy as np
    >>> weights, embeddings = np.asarray([[2.0, 0.0], [0.0, 1.0]]), np.asarray([[0.5, math.sqrt(0.75)]])
    >>> loss = anglos.large_margin_softmax(embeddings, weights, np.asarray([0]), margin=2)
    >>> round(float(loss), 6), round(math.log(1 + math.exp(math.sqrt(0.75) + 1)), 6)
    (2.009898, 2.009898)
    """
    return define.Row(1.0, partial(define.multiplicative_angular, margin=margin, annealing=annealing),
                      normalize_embeddings=False, normalize_weights=False,
                      straight_through=gradient == "straight_through")
