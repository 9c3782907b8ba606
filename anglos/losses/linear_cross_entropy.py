"""Linear layer and softmax cross entropy in one."""

from anglos import define


@define.prototypes(engine=define.linear, formula="z = x·w + b", paper="Bridle 1990, doi:10.1007/978-3-642-76153-9_28")
def linear_cross_entropy(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.LabelsOrProbabilities, /, *,
    bias: define.Bias = None,
    class_weight: define.ClassWeight = None, label_smoothing: define.LabelSmoothing = 0.0,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, keep_bytes: define.KeepBytes = 2**28,
    gradient_products: define.GradientProducts = "full", reduction: define.Reduction = "mean",
) -> define.Row:
    """Softmax cross entropy of a linear layer, without holding its logits.

    ℓ = −log softmax(x Wᵀ + b)_y: `torch.nn.functional.linear_cross_entropy`, in every library. Nothing is
    normalised.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample.
    weights : array (C, D)
        One row per class.
    labels : integer array (B,), or array (B, C)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN. Of real floating dtype, (B, C): probabilities t of the classes, numbers of at
        least 0 that need not add up to 1, for ℓ = −Σ_j t_j log softmax(z)_j. They are differentiated if asked for.
    bias : array (C,), optional
        b. It is differentiated.
    class_weight : array (C,), optional
        ω, numbers of at least 0 by which the terms of every class are multiplied, smoothed ones too, as PyTorch's
        `weight`: the mean of labels is divided by the sum of ω_y, that of probabilities by B. A constant.
    label_smoothing : number from 0 to 1, or array ()
        Probability mass spread evenly over all classes, as in PyTorch. An array is differentiated.
    sample_weight : array (B,), optional
        Factor of every row's loss; the mean is divided by their sum.
    ignore_index : int
        Rows with this label count for nothing and leave the mean's divisor. Of no meaning to probabilities.
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
    return define.Row(bias=bias, normalize_embeddings=False, normalize_weights=False,
                      reduction=define.CrossEntropy(label_smoothing))
