"""InfoNCE."""

from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = −log(e^(q·k/τ) / Σ_j e^(q·k_j/τ))", paper="van den Oord et al. 2018, arXiv:1807.03748")
def info_nce(
    queries: define.Queries, keys: define.Keys, negatives: define.Negatives = None, /, *,
    temperature: define.Temperature = 0.1, hardness: define.Sharpness = 0.0,
    hardness_on: define.HardnessOn = "all", symmetric: define.Symmetric = False, in_batch: define.InBatch = None,
    negatives_mask: define.NegativesMask = None, hard_negatives: define.HardNegatives = None,
    hard_negatives_of: define.HardNegativesOf = "own", hard_negatives_mask: define.HardNegativesMask = None,
    directions: define.Directions = ("query_to_key",), partition: define.Partition = "joint",
    positive: define.Copies = "each", false_negatives: define.FalseNegatives = None,
    false_negatives_key_to_query: define.FalseQueries = None,
    false_negatives_query_to_query: define.FalseQueryPairs = None,
    false_negatives_key_to_key: define.FalseKeyPairs = None, guide_negatives: define.GuideNegatives = None,
    guide_hard_negatives: define.GuideHardNegatives = None, row_mask: define.RowMask = None,
    **common: Unpack[define.GuidedQueries],
) -> Any:
    """InfoNCE: softmax cross entropy over the similarities of a query with its key and with other keys.

    ℓ_i = −log( exp(cos(q_i, k_i)/τ) / Σ_j exp(cos(q_i, k_j)/τ) ), j over the keys of the batch, or over k_i and the
    `negatives` where they are given. It is cross entropy with similarities for logits: each query is classified, with
    its own key as the right class. log N − ℓ, N the number of keys compared with, is a lower bound of the mutual
    information, so that a loss near 0 says no more than log N. `nce` asks of every key by itself whether it is noise. A
    query that is left without negatives adds nothing and leaves the mean's divisor.

    Parameters
    ----------
    keys
        The positive of each query; to the others it is a negative unless others are given.
    negatives
        ... Without rows, as a queue that is empty yet, it counts as None. With `in_batch` beside the other keys.
    hardness
        α of LLaVE: a negative of cosine c counts e^(αc) times, a constant to the gradient, so that hard ones weigh
        more. Values of two α cannot be compared. The authors take 9 at τ = 0.02. ...
    hardness_on
        Which negatives that concerns: those of the batch, those given, or all.
    symmetric
        The mean of this loss and of the one with queries and keys exchanged. Not with given negatives or `directions`.
    hard_negatives_of
        Whether each query has its own alone, or those of all queries.
    directions
        Who is compared with whose batch: queries with keys, keys with queries, queries with queries, keys with keys.
    partition
        One denominator for all directions, as in GTE, or one for each, and the mean.
    positive
        How often a query's own key stands in the denominators: in each across, query to key and key to query, so that
        of both in one it is there twice and the loss at least log 2, as in GTE; or once in every denominator. With
        "each", queries with queries and keys with keys alone do not have it, and their loss may be negative.
    false_negatives : boolean array (B, B), or (B, M) with `negatives` alone, optional

    Raises
    ------
    ValueError
        If an option means nothing beside the others: `hardness_on`, `hard_negatives_of`, a guide or its options
        without what they speak of, in_batch=False without other negatives, `partition` or `positive` of one direction,
        a mask of a direction that is not taken, given negatives without "query_to_key", or `symmetric` with these.

    References
    ----------
    van den Oord, Li, Vinyals, "Representation Learning with Contrastive Predictive Coding", 2018, arXiv:1807.03748.
    Lan, Niu, Meng, Zhou, Su, "LLaVE", Findings of EMNLP 2025, arXiv:2503.04812 (hardness).
    Li, Zhang, Zhang, Long, Xie, Zhang, "Towards General Text Embeddings with Multi-stage Contrastive Learning", 2023,
    arXiv:2308.03281 (directions).

    Examples
    --------
    Each query along its own key and at 90° to the other, τ = 1: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> queries, keys = np.asarray([[2.0, 0.0], [0.0, 1.0]]), np.asarray([[1.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.info_nce(queries, keys, temperature=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    weights = None if define.is_number(hardness) and hardness == 0.0 else hardness
    scale, names = 1.0 / temperature, define.by_temperature(temperature)
    others = {"negatives": negatives, "hard_negatives": hard_negatives}
    masks = {"query_to_key": false_negatives, "key_to_query": false_negatives_key_to_query,
             "query_to_query": false_negatives_query_to_query, "key_to_key": false_negatives_key_to_key}
    given = tuple([name for name, array in others.items() if array is not None])
    in_batch = in_batch or not given
    define.check_directions(
        "info_nce", directions, others, masks, symmetric=symmetric, in_batch=in_batch, hardness_on=hardness_on)
    if directions == ("query_to_key",) and (in_batch, *given) in ((True,), (False, "negatives")):
        return define.PairRow(define.one_of_many, scale, hardness=weights, symmetric=symmetric, names=names)
    groups = define.groups_of(
        directions, joint=partition == "joint", once=positive == "once", in_batch=in_batch, given=given,
        of_all=hard_negatives_of == "all", hardness=weights, hardness_on=hardness_on)
    return define.Blocks(groups, scale, names)
