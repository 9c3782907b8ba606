"""Negatives that a guide takes for positives, which `anglos.mining` has."""

from typing import Literal

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array
from anglos.call.check import check_values
from anglos.call.kinds import ArrayOf, Number, refuse
from anglos.call.static_kinds import OneOf
from anglos.engines.pairs.directions import DIRECTIONS
from anglos.engines.pairs.guide import RULES, Rule, own_are_false, unit_of

_KINDS = {"guide_queries": ArrayOf("B D"), "guide_keys": ArrayOf("B D"),
          "guide_negatives": ArrayOf("M D or B K D", optional=True),
          "margin": Number("a margin on the cosine", -2.0, 2.0, shapes=()),
          "kind": OneOf(RULES),
          "block": OneOf(DIRECTIONS)}


def guided_false_negatives(
    guide_queries: Array, guide_keys: Array, guide_negatives: Array | None = None, *, margin: float = 0.0,
    kind: Literal["absolute", "relative", "factor"] = "absolute",
    block: Literal["query_to_key", "key_to_query", "query_to_query", "key_to_key"] = "query_to_key",
) -> Array:
    """Which candidates are more similar to a query than its own key is, by a guide: for `false_negatives`.

    The guide is another model, or an earlier state of this one. With t the cosine of a query and its key by the guide,
    a candidate is false if its cosine is above t − m (absolute: GISTEmbed, m = 0; NV-Retriever's TopK-MarginPos,
    m = 0.05), t − |t| m (relative) or t (1 − m) (factor: NV-Retriever's TopK-PercPos of 95 %, m = 0.05). A candidate
    just as similar stays a negative; what has no direction has cosine 0. A query's own key is never false.

    Parameters
    ----------
    guide_queries, guide_keys : array (B, D)
        By the guide; of any dimension, and constants.
    guide_negatives : array (M, D) or (B, K, D), optional
        Candidates in place of the other keys: of all queries, for `negatives`, or K of each, so that those that are
        left, `~` the result, are the `hard_negatives_mask` of `info_nce`.
    margin : number from −2 to 2
        m.
    kind : "absolute", "relative" or "factor"
        Where t is below 0, relative lowers the bound and factor raises it.
    block : str
        Which candidates a row has: of query i the keys j, of key i the queries j, of query i the queries j, or of key i
        the keys j; with the same t each time, and never its own. Without `guide_negatives` alone.

    Returns
    -------
    boolean array (B, B), (B, M) or (B, K)

    References
    ----------
    Solatorio, "GISTEmbed", 2024, arXiv:2402.16829; Moreira, Osmulski, Xu, Ak, Schifferer, Oldridge, "NV-Retriever",
    2024, arXiv:2407.15831.

    Examples
    --------
    Each query is nearer to the other's key, with a cosine of 0.8, than to its own, with 0.6.

    >>> import numpy as np
    >>> queries, keys = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[0.6, 0.8], [0.8, 0.6]])
    >>> guided_false_negatives(queries, keys).tolist()
    [[False, True], [True, False]]
    """
    name = "mining.guided_false_negatives"
    checked = check_values(name, _KINDS, {
        "guide_queries": guide_queries, "guide_keys": guide_keys, "guide_negatives": guide_negatives, "margin": margin,
        "kind": kind, "block": block})
    arrays, static = checked.arrays, checked.static
    if "guide_negatives" in arrays and static["block"] != "query_to_key":
        refuse(name, "block", ValueError, f"was {block!r} beside guide_negatives", "'query_to_key', or none of these")
    with checked.backend.untracked(tuple(arrays.values())):
        return _false(checked.backend, arrays, **static)


def _false(backend: Backend, arrays: dict[str, Array], margin: float, kind: str, block: str,
           guide_negatives: None = None) -> Array:
    xp = backend.xp
    unit = {name: unit_of(backend, array) for name, array in arrays.items()}
    queries, keys = unit["guide_queries"], unit["guide_keys"]
    rows, _, columns = block.partition("_to_")
    named = {"query": queries, "key": keys}
    candidates = unit.get("guide_negatives", named[columns])
    own = backend.dot(queries, keys)
    bound = Rule(margin, kind).bound(xp, own)
    if candidates.ndim == 3:
        return own_are_false(backend, queries, candidates, bound)
    false = backend.product(named[rows], candidates.T) > bound[:, None]
    if "guide_negatives" in unit:
        return false
    places = xp.arange(own.shape[0], device=backend.device(own))
    return false & (places[:, None] != places[None, :])
