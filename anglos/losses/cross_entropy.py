"""Softmax cross entropy on logits."""

from anglos import define


@define.rowwise(formula="ℓ = −log softmax(z)_y", paper="Bridle 1990, doi:10.1007/978-3-642-76153-9_28")
def cross_entropy(
    logits: define.Logits, labels: define.LabelsOrProbabilities, /, *,
    class_weight: define.ClassWeight = None, label_smoothing: define.LabelSmoothing = 0.0,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.Direct:
    """Softmax cross entropy of logits.

    ℓ = −log softmax(z)_y, computed as log(1 + Σ_{j≠y} exp(z_j − z_y)): a loss of 1e-12 keeps all its digits.

    Parameters
    ----------
    logits : array (B, C)
        One row per sample; −∞ excludes a class.
    labels : integer array (B,), or array (B, C)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN. Of real floating dtype, (B, C): probabilities t of the classes, numbers of at
        least 0 that need not add up to 1, for ℓ = −Σ_j t_j log softmax(z)_j. They are differentiated if asked for.
    class_weight : array (C,), optional
        ω, numbers of at least 0 by which the terms of every class are multiplied, smoothed ones too, as PyTorch's
        `weight`: the mean of labels is divided by the sum of ω_y, that of probabilities by B. A constant.
    label_smoothing : number from 0 to 1, or array ()
        Probability mass spread evenly over all classes, as in PyTorch. An array is differentiated.
    sample_weight : array (B,), optional
        Factor of every row's loss; the mean is divided by their sum.
    ignore_index : int
        Rows with this label count for nothing and leave the mean's divisor. Of no meaning to probabilities.
    reduction : {"mean", "sum", "none"}
        A number, or the B losses one by one.

    Returns
    -------
    array () or (B,)
        Of the type of the logits, float32 at least.

    Raises
    ------
    TypeError, ValueError
        Before any arithmetic, with the argument's name, what it was and what is wanted.

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
    if define.are_targets(labels, class_weight):
        return define.softmax_of_targets(class_weight, label_smoothing)
    return define.softmax_of_labels(label_smoothing)
