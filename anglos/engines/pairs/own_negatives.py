"""Negatives of each row alone, (B, H, D), which no other row is compared with."""

import math
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, log_sum_exp, share, unit_rows, unit_rows_pullback
from anglos.engines.pairs.guide import own_are_false, unit_of
from anglos.engines.pairs.saved import Saved


class OwnNegatives:
    """Their log-sum-exp, R_i, as a run over pairs would have it."""

    def __init__(self, backend: Backend, row: Any, hardness: Any, queries: tuple[Array, Array],
                 inputs: dict[str, Array]) -> None:
        xp, self.backend, self.row, self.queries = backend.xp, backend, row, queries
        given = xp.astype(inputs["hard_negatives"], queries[0].dtype, copy=False)
        self.negatives = unit_rows(backend, given)
        self.cos = xp.sum(queries[0][:, None, :] * self.negatives[0], axis=2)
        self.logits = row.scale * self.cos
        if hardness is not None:
            self.logits = self.logits + hardness * backend.stop_gradient(self.cos)
        mask = inputs.get("hard_negatives_mask")
        self.counted = xp.ones_like(self.cos, dtype=xp.bool) if mask is None else mask
        if "guide_hard_negatives" in inputs:
            rows, own = (unit_of(backend, inputs[role]) for role in ("guide_queries", "guide_hard_negatives"))
            self.counted = self.counted & ~own_are_false(backend, rows, own, inputs["bound"])
        if "row_mask" in inputs:
            self.counted = self.counted & inputs["row_mask"][:, None]
        self.total = log_sum_exp(xp, self.logits, self.counted)

    def remembered(self) -> None:
        """Nothing: they are of the rank's own rows."""

    def forward(self) -> tuple[Array, Saved]:
        """R_i, and whether there is a negative."""
        some = self.total[:, 0] != -math.inf
        return self.backend.xp.where(some, self.total[:, 0], 0.0), Saved(self.backend.xp.astype(some, self.cos.dtype))

    def backward(self, total: Array, g: Array, needs: frozenset[str]) -> list[tuple[str, Array]]:
        """∂R_i/∂z_ia = e^(z_ia − R_i), by the names of the inputs of the loss."""
        backend, xp, (queries, of_queries), (negatives, of_negatives) = (
            self.backend, self.backend.xp, self.queries, self.negatives)
        by_logit = g[:, None] * share(xp, self.logits, self.total, self.counted)
        pull = (self.row.scale * by_logit)[:, :, None]
        found = [("queries", unit_rows_pullback(backend, queries, of_queries, xp.sum(pull * negatives, axis=1))),
                 ("hard_negatives", unit_rows_pullback(backend, negatives, of_negatives, pull * queries[:, None, :]))]
        return found + [(name, xp.sum(by_logit * self.cos * slope))
                        for name, fields in self.row.names.items() for _, slope in fields]
