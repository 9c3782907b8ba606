"""NormFace: the cosine softmax."""

from anglos import define


@define.prototypes(formula="z = s·cos θ", paper="Wang, F. et al. 2017, arXiv:1704.06369")
def normface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    scale: define.Scale = 10.0,
    label_smoothing: define.LabelSmoothing = 0.0, sample_weight: define.SampleWeight = None, ignore_index: int = -100,
    keep_bytes: define.KeepBytes = 2**28, gradient_products: define.GradientProducts = "full",
    reduction: define.Reduction = "mean",
) -> define.Row:
    """NormFace: softmax cross entropy over s cos θ, embeddings and prototypes both normalised.

    ℓ = −log( exp(s cos θ_y) / Σ_j exp(s cos θ_j) ), where θ_j is the angle between the embedding and prototype j.
    Of C classes none can fall below log(1 + (C − 1) exp(−s C / (C − 1))) on average: a small s keeps the loss high.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, D)
        One prototype per class, of any length likewise.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    scale : positive number, or array ()
        s. An array is differentiated: the paper learns it, from 10. Learn its logarithm to keep it positive.
    label_smoothing : number from 0 to 1, or array ()
        Probability mass spread evenly over all classes, as in PyTorch. An array is differentiated.
    sample_weight : array (B,), optional
        Factor of every row's loss; the mean is divided by their sum.
    ignore_index : int
        Rows with this label count for nothing and leave the mean's divisor.
    keep_bytes : integer from 0
        If the B × C logits take no more than this, the gradient reuses them; else it computes them again, in tiles.
    gradient_products : {"full", "bfloat16"}
        "bfloat16" rounds what the gradient multiplies, by up to 2⁻⁹: faster where a processor has it. The loss stays.
    reduction : {"mean", "sum", "none"}
        A number, or the B losses one by one.

    Returns
    -------
    array () or (B,)
        Of the type of the arithmetic: that of the inputs, float32 at least.

    Raises
    ------
    TypeError, ValueError
        Before any arithmetic, with the argument's name, what it was and what is wanted.

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
    return define.Row(scale, reduction=define.CrossEntropy(label_smoothing))
