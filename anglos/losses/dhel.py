"""DHEL."""

from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = ½ (lse_{j≠i}(q·q_j/τ) + lse_{j≠i}(k·k_j/τ)) − q·k/τ",
              paper="Koromilas et al. 2024, arXiv:2405.18045")
def dhel(
    queries: define.Queries, keys: define.Keys, /, *,
    temperature: define.Temperature = 0.3, symmetric: bool = True, row_mask: define.RowMask = None,
    **common: Unpack[define.Common],
) -> Any:
    """DHEL: a query is pulled to its key, and pushed from other queries alone.

    ℓ_i = log Σ_{j≠i} exp(cos(q_i, q_j)/τ) − cos(q_i, k_i)/τ: negatives are of the query's own side, and the positive is
    not in the denominator, as in `dcl`, so that the loss has no lower bound of 0. Without `symmetric` it is
    `info_nce(directions=("query_to_query",), temperature=τ)`. A query that is left without negatives adds nothing and
    leaves the mean's divisor.

    Parameters
    ----------
    keys
        The positive of each query.
    symmetric
        The mean of this loss and of the one with queries and keys exchanged, as in the authors' code.

    References
    ----------
    Koromilas, Bouritsas, Giannakopoulos, Nicolaou, Panagakis, "Bridging Mini-Batch and Asymptotic Analysis in
    Contrastive Learning: From InfoNCE to Kernel-Based Losses", ICML 2024, arXiv:2405.18045.

    Examples
    --------
    Two queries at 90°, each along its own key, τ = 1: log e⁰ − 1.

    >>> import anglos, numpy as np
    >>> queries, keys = np.asarray([[2.0, 0.0], [0.0, 1.0]]), np.asarray([[1.0, 0.0], [0.0, 3.0]])
    >>> round(float(anglos.dhel(queries, keys, temperature=1.0)), 6)
    -1.0
    """
    directions = ("query_to_query", "key_to_key")[:2 if symmetric else 1]
    return define.Blocks(define.groups_of(directions, joint=False), 1.0 / temperature,
                         define.by_temperature(temperature))
