"""The sigmoid loss of SigLIP."""

import math

from anglos import define


@define.pairs(formula="ℓ = Σ_j ς(−y_ij (eᵗ q·k_j + b)), y = ±1", paper="Zhai et al. 2023, arXiv:2303.15343")
def siglip(
    queries: define.Queries, keys: define.Keys, /, *,
    log_scale: define.AnyNumber = 2.302585092994046, bias: define.AnyNumber = -10.0,
    false_negatives: define.FalseNegativePairs = None, row_mask: define.RowMask = None,
    sample_weight: define.SampleWeight = None, reduction: define.Reduction = "mean",
) -> define.PairRow:
    """SigLIP: of every pair of a query and a key by itself, whether they belong together.

    ℓ_i = Σ_j ς(−y_ij (eᵗ cos(q_i, k_j) + b)), y_ij = 1 for j = i and −1 else, ς(v) = log(1 + eᵛ). The mean is over
    queries, not pairs. The authors learn t from log 10 and b from −10: at first nearly all pairs are negative.

    Parameters
    ----------
    queries : array (B, D)
        One row per pair. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    keys : array (B, D)
        The positive of each query; to the others it is a negative.
    log_scale : number, or array ()
        t. An array is differentiated: a learnable scale.
    bias : number, or array ()
        b. An array is differentiated: a learnable bias.
    false_negatives : boolean array (B, B), optional
        True where a key is no negative of the query after all, and is left out.
    row_mask : boolean array (B,), optional
        True where a row counts. The others, such as padding, may hold anything, NaN too: their queries and keys are
        compared with nothing, and they leave the mean's divisor.
    sample_weight : array (B,), optional
        Factor of every row's loss; the mean is divided by their sum.
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
    Zhai, Mustafa, Kolesnikov, Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023, arXiv:2303.15343.

    Examples
    --------
    A query along its key: the logit is e⁰ · 1 − 1 = 0.

    >>> import anglos, math, numpy as np
    >>> loss = anglos.siglip(np.asarray([[2.0, 0.0]]), np.asarray([[1.0, 0.0]]), log_scale=0.0, bias=-1.0)
    >>> round(float(loss), 6), round(math.log(2), 6)
    (0.693147, 0.693147)
    """
    scale = math.e**log_scale
    return define.PairRow(define.each_by_itself, scale, bias,
                          names={"log_scale": ("scale", scale), "bias": ("bias", 1.0)})
