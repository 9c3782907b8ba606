"""What a guide, such as another model, takes for positives among the negatives: no pair of all is kept of it.

With g as its cosines and t_i as that of row i with its positive, a negative of g_ij > t_i − m is none.
"""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, float_type, unit_rows

RULES = ("absolute", "relative", "factor")

_EQUAL = 16.0
"""So many units in the last place of 1 two cosines may differ by that are equal: products round by their places."""


class Rule(NamedTuple):
    """By how much, and of what, a negative may be more similar."""

    margin: float = 0.0
    kind: str = "absolute"

    def bound(self, xp: Any, own: Array) -> Array:
        """Above which cosines are of positives, from those of the rows with theirs."""
        of = {"absolute": 1.0, "relative": xp.abs(own), "factor": own}[self.kind]
        return own - of * self.margin + _EQUAL * float(xp.finfo(own.dtype).eps)


RULE = Rule()


def unit_of(backend: Backend, vectors: Array) -> Array:
    """Unit vectors, in the type of the arithmetic."""
    return unit_rows(backend, backend.xp.astype(vectors, float_type(backend.xp, vectors), copy=False))[0]


def own_are_false(backend: Backend, rows: Array, own: Array, bound: Array) -> Array:
    """Which of the negatives that each row alone has, (B, H, G), are none; of unit vectors."""
    return backend.xp.sum(rows[:, None, :] * own, axis=2) > bound[:, None]


def guides_of(backend: Backend, rule: Rule, inputs: dict[str, Array]) -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Vectors of rows, unit vectors of columns, and above which cosines a negative is none, where no label tells."""
    if "guide_embeddings" in inputs:
        rows = inputs["guide_embeddings"]
        return (rows, None), (unit_of(backend, inputs.get("guide_references", rows)), None)
    if "guide_queries" not in inputs:
        return (None, None), (None, None)
    rows, bound = inputs["guide_queries"], inputs.get("bound")
    columns = unit_of(backend, inputs["guide_negatives" if "guide_negatives" in inputs else "guide_keys"])
    if bound is None:
        keys = unit_of(backend, inputs["guide_keys"]) if "guide_negatives" in inputs else columns
        bound = rule.bound(backend.xp, backend.dot(unit_of(backend, rows), keys))
    return (rows, bound), (columns, None if "guide_negatives" in inputs else bound)
