"""UniFace, the unified cross entropy."""

import math
from functools import partial

from anglos import define


@define.prototypes(formula="z = s·φ − b, φ = cos θ − m", paper="Zhou et al. 2023 (ICCV)")
def uniface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.CosineMargin = 0.4, scale: define.Scale = 64.0, bias: define.ScalarBias = None,
    negative_weight: define.Factor = 1.0,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, keep_bytes: define.KeepBytes = 2**28,
    gradient_products: define.GradientProducts = "full", reduction: define.Reduction = "mean",
) -> define.Row:
    """UniFace (UCE): of every class by itself, whether the cosine exceeds one threshold for all.

    ℓ = ς(−(s (cos θ_y − m) − b)) + l Σ_{j≠y} ς(s cos θ_j − b), with ς(v) = log(1 + eᵛ): the sum over classes.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, D)
        One prototype per class, of any length likewise.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    margin : cosine from −2 to 2; a number, or an array () or (B,)
        m.
    scale : positive number, or array ()
        s. An array is differentiated: a learnable scale.
    bias : number, or array (), optional
        b: the threshold is b/s. An array is differentiated. None: log(10 C), the paper's start.
    negative_weight : number of at least 0, or array ()
        l. An array is differentiated.
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
    The authors' code clips the logits to ±s, which stops the gradient of the worst samples; here nothing is clipped.

    References
    ----------
    Zhou, Jia, Li, Shen, Duan, "UniFace: Unified Cross-Entropy Loss for Deep Face Recognition", ICCV 2023.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other, m = 0.5, s = 2, b = 0: ς(−1) + ς(0).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.uniface(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), margin=0.5, scale=2.0, bias=0.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e) + math.log(2), 6)
    (1.006409, 1.006409)
    """
    if bias is None:
        bias = math.log(10.0 * weights.shape[0])
    return define.Row(scale, partial(define.additive_cosine, margin=margin), define.Binary(1.0, negative_weight),
                      bias=-bias,
                      names={**define.NAMES, "bias": (("bias", -1.0),), "negative_weight": (("negative", 1.0),)})
