"""Softmax cross entropy on logits."""

from typing import Unpack

from anglos import define


@define.rowwise(formula="ℓ = −log softmax(z)_y", paper="Bridle 1990, doi:10.1007/978-3-642-76153-9_28")
def cross_entropy(
    logits: define.Logits, labels: define.LabelsOrProbabilities, /, *,
    class_weight: define.ClassWeight = None, label_smoothing: define.LabelSmoothing = 0.0,
    **common: Unpack[define.LabelCommon],
) -> define.Direct:
    """Softmax cross entropy of logits.

    ℓ = −log softmax(z)_y, computed as log(1 + Σ_{j≠y} exp(z_j − z_y)): a loss of 1e-12 keeps all its digits.

    Parameters
    ----------
    ignore_index
        ... It has no meaning for probabilities.

    References
    ----------
    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.

    Examples
    --------
    >>> import anglos, math, numpy as np
    >>> loss = anglos.cross_entropy(np.asarray([[1.0, 0.0]]), np.asarray([0]))
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    of = define.softmax_of_labels if len(labels.shape) == 1 else define.softmax_of_targets
    return of(label_smoothing, class_weight)
