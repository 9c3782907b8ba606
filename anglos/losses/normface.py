"""NormFace: the cosine softmax."""

from typing import Unpack

from anglos import define


@define.prototypes(engine=define.linear, formula="z = s·cos θ", paper="Wang, F. et al. 2017, arXiv:1704.06369")
def normface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.LabelsOrProbabilities, /, *,
    scale: define.Scale = 10.0, bias: define.Bias = None, **common: Unpack[define.MarginCommon],
) -> define.Row:
    """NormFace: softmax cross entropy over s cos θ, embeddings and prototypes both normalised.

    ℓ = −log( exp(s cos θ_y) / Σ_j exp(s cos θ_j) ), where θ_j is the angle between the embedding and prototype j.
    Its mean over C classes cannot fall below log(1 + (C − 1) exp(−s C / (C − 1))): a small s keeps the loss high.

    Parameters
    ----------
    scale
        s. An array is differentiated: the paper learns it, from 10. Learn its logarithm to keep it positive.
    bias
        b, added to the logits: a learnt one, or `anglos.classes.log_prior(counts)` for classes that are rare. It is
        differentiated.
    ignore_index
        ... It has no meaning for probabilities.

    References
    ----------
    Wang, Xiang, Cheng, Yuille, "NormFace", ACM MM 2017, arXiv:1704.06369.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, s = 1: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.normface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, bias=bias)
