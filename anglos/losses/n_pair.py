"""The N-pair loss."""


from anglos import define


@define.pairs(formula="ℓ = −log(e^(q·k) / Σ_j e^(q·k_j)) + λ (|q|² + |k|²)", paper="Sohn 2016 (NIPS)")
def n_pair(
    queries: define.Queries, keys: define.Keys, /, *,
    regularizer: define.Factor = 0.02, symmetric: bool = False, false_negatives: define.FalseNegativePairs = None,
    row_mask: define.RowMask = None,
    sample_weight: define.SampleWeight = None, reduction: define.Reduction = "mean",
) -> define.PairRow:
    """N-pair: softmax cross entropy over the products of a query with all keys, and a price on lengths.

    ℓ_i = −log( exp(q_i·k_i) / Σ_j exp(q_i·k_j) ) + λ (|q_i|² + |k_i|²). All rows are in the mean.

    Parameters
    ----------
    queries : array (B, D)
        One row per pair. Nothing is normalised.
    keys : array (B, D)
        The positive of each query; to the others it is a negative.
    regularizer : number of at least 0, or array ()
        λ. An array is differentiated. Without it lengths grow for ever.
    symmetric : bool
        The mean of this loss and of the one with queries and keys exchanged.
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
    Sohn, "Improved Deep Metric Learning with Multi-class N-pair Loss Objective", NIPS 2016.

    Examples
    --------
    The products are 1 and 0, and nothing is paid for lengths.

    >>> import anglos, math, numpy as np
    >>> queries, keys = np.asarray([[2.0, 0.0], [0.0, 1.0]]), np.asarray([[0.5, 0.0], [0.0, 1.0]])
    >>> loss = anglos.n_pair(queries, keys, regularizer=0.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.PairRow(define.one_of_many, normalize=False, symmetric=symmetric, length_penalty=regularizer,
                          names={"regularizer": ("length_penalty", 1.0)})
