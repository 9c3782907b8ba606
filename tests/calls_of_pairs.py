"""From a case of golden2_pairs.json, or of another file of that form, to a call of a loss of the library."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import anglos


class Call(NamedTuple):
    """A call: `loss.value_and_grad(*arrays, **options, wrt=wrt)`, with the gradients in the order of the case's."""

    loss: Any
    arrays: list[Any]
    options: dict[str, Any]
    wrt: tuple[str, ...]


Named = dict[str, Any]


def call_of(case: Mapping[str, Any], inputs: Mapping[str, Any]) -> Call:
    """The call of a case, with arrays of NumPy; a gradient may have another shape than the case's, in this order.

    What the case names is an argument of the loss if the loss has one of that name. `CALLS` says the rest: another
    loss, other names, and what a description stands for.
    """
    named: Named = {name: np.asarray(inputs[value]) if isinstance(value, str) else value
                    for name, value in case["arrays"].items()}
    named |= case["options"]
    name, names = case["loss"], {key: key for key in case["grads"]}
    if name in CALLS:
        name, names = CALLS[name](named, case["id"]) or name, {key: RENAMED.get((name, key), key) for key in names}
    loss = anglos.LOSSES[name]
    named = {RENAMED.get((case["loss"], key), key): value if isinstance(value, (str, bool, float, int, tuple))
             else np.asarray(value) for key, value in named.items()}
    arrays = [named.pop(key) for key in loss.arrays if key in named]
    return Call(loss, arrays, named, tuple(names.values()))


RENAMED = {(loss, old): new for loss in ("cosine_embedding", "pair_contrastive")
           for old, new in (("first", "anchors"), ("second", "others"))} | {
    (loss, old): new for loss in ("soft_supcon", "unified_threshold")
    for old, new in (("queries", "embeddings"), ("keys", "reference_embeddings"))}
"""The name of an argument, of the case's loss and name."""


def _info_nce(named: Named, case: str) -> None:
    """Masks are false negatives, whatever guide made them; other keys are negatives by themselves."""
    for name in ("guide", "guide_margin"):
        named.pop(name, None)
    if "everyones" in case:
        named["hard_negatives_of"] = "all"
    if "negatives" not in named and "hard_negatives" not in named:
        named.pop("in_batch", None)
        named.pop("hardness_on", None)  # there are no others
    if "masks" in named:
        masks = {block: np.asarray(mask, dtype=bool) for block, mask in named.pop("masks").items()}
        named |= {{"qk": "false_negatives", "qq": "false_negatives_query_to_query", "kq":
                   "false_negatives_key_to_query", "kk": "false_negatives_key_to_key"}[key]: mask
                  for key, mask in masks.items()}
        if len(masks) > 1:
            named["positive"] = "once"  # as GIST has it
    if "directions" in named:
        named["directions"] = tuple(named["directions"])
    if len(named.get("directions", ("query_to_key",))) == 1:  # there is one denominator
        named.pop("partition", None)
    if not named.get("hardness", 0.0):
        named.pop("hardness_on", None)


def _cosine_embedding(named: Named, case: str) -> str:
    """1 − c of a positive, [c − m]₊ = [(1 − m) − (1 − c)]₊ of a negative."""
    del named["form"]
    named |= {"distance": "cosine", "squared": False, "margin": 1.0 - named["margin"]}
    return "pair_margin"


def _pair_contrastive(named: Named, case: str) -> str:
    named["normalize"] = named.pop("form") == "contrastive unit"
    return "pair_margin"


def _unified_threshold(named: Named, case: str) -> None:
    """Queries are compared with references, and the i-th of both has the label i."""
    if "queries" in named:
        named["labels"] = named["reference_labels"] = np.arange(len(named["queries"]))


def _of_groups(named: Named, case: str) -> None:
    """Vectors of groups, (G, M, D), are those of G classes; labels are an array, and the query is the first."""
    named.pop("shape", None)
    named.pop("query", None)
    x = named["embeddings"]
    if x.ndim == 3:
        named["labels"] = np.repeat(np.arange(x.shape[0]), x.shape[1])
        named["embeddings"] = x.reshape(-1, x.shape[2])


def _soft_supcon(named: Named, case: str) -> None:
    """Targets are given as they are to be; queries are compared with references."""
    named["labels"] = named.pop("targets")
    named.pop("note", None)
    named["normalize_targets"] = "none"
    named["divisor"] = "all" if named.get("divisor") == "all rows" else "rows"


def _contrastive(named: Named, case: str) -> str:
    """Of signal-to-noise distances, which are no option of ours."""
    assert named.pop("distance") == "snr"
    return "snr_contrastive"


def _margin_loss(named: Named, case: str) -> None:
    """Labels are the places of the classes for which beta is given."""
    named["labels"] = np.searchsorted(named.pop("classes"), named["labels"])


def _dynamic_soft_margin(named: Named, case: str) -> None:
    """The state before is empty."""
    assert named.pop("state") == "zeros before"
    named["histogram"] = np.zeros(named["bins"] + 1)


CALLS: dict[str, Callable[[Named, str], str | None]] = {
    "info_nce": _info_nce, "cosine_embedding": _cosine_embedding, "pair_contrastive": _pair_contrastive,
    "unified_threshold": _unified_threshold, "soft_supcon": _soft_supcon,
    "ge2e": _of_groups, "angular_prototypical": _of_groups,
    "margin_loss": _margin_loss, "contrastive": _contrastive,
    "dynamic_soft_margin": _dynamic_soft_margin,
}
"""Changes what a case names, and says which loss of ours it is where that has another name."""
