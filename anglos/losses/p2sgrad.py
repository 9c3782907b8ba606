"""P2SGrad."""

from anglos import define


@define.prototypes(formula="ℓ = ½ (cos θ_y − 1)² + ½ Σ_{j≠y} cos² θ_j", paper="Zhang et al. 2019, arXiv:1905.02479")
def p2sgrad(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, keep_bytes: define.KeepBytes = 2**28,
    gradient_products: define.GradientProducts = "full", reduction: define.Reduction = "mean",
) -> define.Row:
    """P2SGrad: the loss whose slope in every cosine is the cosine itself, less 1 for the label's.

    The paper gives the gradient, ∂ℓ/∂cos θ_j = cos θ_j − [j = y]; ½ Σ_j (cos θ_j − [j = y])² is the loss that has it.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, D)
        One prototype per class, of any length likewise.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
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
