"""Linear layer and softmax cross entropy in one."""

from typing import Unpack

from anglos import define


@define.prototypes(engine=define.linear, formula="z = x·w + b", paper="Bridle 1990, doi:10.1007/978-3-642-76153-9_28")
def linear_cross_entropy(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.LabelsOrProbabilities, /, *,
    bias: define.Bias = None, **common: Unpack[define.MarginCommon],
) -> define.Row:
    """Softmax cross entropy of a linear layer, without holding its logits.

    ℓ = −log softmax(x Wᵀ + b)_y: `torch.nn.functional.linear_cross_entropy`, in every library. Nothing is normalised.

    Parameters
    ----------
    embeddings
        One row per sample.
    weights
        One row per class.
    ignore_index
        ... It has no meaning for probabilities.

    References
    ----------
    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.

    Examples
    --------
    The logits are 3 · 1 and 0 + 2.

    >>> import anglos, math, numpy as np
    >>> weights, bias = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([0.0, 2.0])
    >>> loss = anglos.linear_cross_entropy(np.asarray([[3.0, 0.0]]), weights, np.asarray([0]), bias=bias)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(bias=bias, normalize_embeddings=False, normalize_weights=False)
