"""The von Mises–Fisher mixture loss."""

from anglos import define


@define.prototypes(formula="z = κ·cos θ", paper="Hasnat et al. 2017, arXiv:1706.04264")
def vmf(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    concentration: define.Scale = 16.0,
    label_smoothing: define.LabelSmoothing = 0.0, sample_weight: define.SampleWeight = None, ignore_index: int = -100,
    keep_bytes: define.KeepBytes = 2**28, gradient_products: define.GradientProducts = "full",
    reduction: define.Reduction = "mean",
) -> define.Row:
    """VMF mixture loss: the posterior of a mixture of von Mises–Fisher distributions with one concentration κ.

    ℓ = −log( exp(κ cos θ_y) / Σ_j exp(κ cos θ_j) ). The normalising constants of the mixture cancel, since κ is shared:
    this is `normface`, with its scale read as a concentration.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, D)
        One prototype per class, of any length likewise.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    concentration : positive number, or array ()
        κ. An array is differentiated: the paper learns it, from 16.
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
    return define.Row(concentration, reduction=define.CrossEntropy(label_smoothing),
                      names={**define.NAMES, "concentration": (("scale", 1.0),)})
