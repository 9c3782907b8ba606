"""The N-pair loss."""


from typing import Unpack

from anglos import define


@define.pairs(formula="ℓ = −log(e^(q·k) / Σ_j e^(q·k_j)) + λ (|q|² + |k|²)", paper="Sohn 2016 (NIPS)")
def n_pair(
    queries: define.Queries, keys: define.Keys, /, *,
    regularizer: define.Factor = 0.02, symmetric: bool = False, false_negatives: define.FalseNegativePairs = None,
    row_mask: define.RowMask = None, **common: Unpack[define.Common],
) -> define.PairRow:
    """N-pair: softmax cross entropy over the products of a query with all keys, and a price on lengths.

    ℓ_i = −log( exp(q_i·k_i) / Σ_j exp(q_i·k_j) ) + λ (|q_i|² + |k_i|²). All pairs are in the mean.

    Parameters
    ----------
    queries
        One row per pair. Nothing is normalised.
    regularizer
        λ. An array is differentiated. Without it lengths grow for ever.
    symmetric
        The mean of this loss and of the one with queries and keys exchanged.

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
                          names={"regularizer": (("length_penalty", 1.0),)})
