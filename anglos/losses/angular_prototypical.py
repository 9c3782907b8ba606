"""The angular prototypical loss of speaker verification."""

from typing import Literal, Unpack

from anglos import define


@define.pairs(engine=define.means_as_keys, formula="z = w cos θ(x₁, c_k) + b, c_k the mean of class k without its x₁",
              paper="Chung et al. 2020, arXiv:2003.11982")
def angular_prototypical(
    embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
    scale: define.Scale = 10.0, bias: define.Number = -5.0, centroids: Literal["unit", "raw"] = "raw",
    **common: Unpack[define.LabelCommon],
) -> define.PairRow:
    """Angular prototypical: the first sample of every class of a batch against the means of the others of each.

    ℓ = −log( exp(z_y) / Σ_k exp(z_k) ), z_k = w cos(x, c_k) + b; x is the first sample of class y in the batch, and c_k
    the mean of the samples of class k that come after its first. The gradient goes through the means. A class of one
    sample takes no part. In `ge2e` every sample is compared.

    Parameters
    ----------
    embeddings
        ... So has a mean that vanishes, to rounding.
    scale
        w. An array is differentiated: a learnable scale, which the authors start from 10.
    bias
        b. The loss does not depend on it, and the gradient of an array is 0: it is a part of what scores are made by.
    centroids
        Means of "raw" vectors, in which longer ones weigh more; or of "unit" vectors.
    reduction
        The mean of the classes that are compared; their sum; or (B,), at the first sample of each class, and 0 at the
        others. A class is weighed by the weight of its first sample.

    References
    ----------
    Chung, Huh, Mun, Lee, Heo, Choe, Ham, Jung, Lee, Han, "In Defence of Metric Learning for Speaker Recognition",
    Interspeech 2020, arXiv:2003.11982.

    Examples
    --------
    Two speakers of two equal utterances each, at a right angle: the logits are 1 − 5 and 0 − 5.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.angular_prototypical(embeddings, np.asarray([7, 4, 7, 4]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    # Σ_k ∂ℓ/∂z_k is 0, and a sum of them would be rounding.
    return define.PairRow(define.one_of_many, scale, bias, unit_means=centroids == "unit", first_asks=True,
                          names={"scale": (("scale", 1.0),), "bias": (("scale", 0.0),)})
