"""Negatives that all rows are compared with: the other keys or queries, or given ones, in a run of `single.py`."""

import math
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array
from anglos.engines.pairs import single
from anglos.engines.pairs.block_rows import Block
from anglos.engines.pairs.log_sum import log_sum_of_negatives
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.saved import Saved


class SharedNegatives:
    """Their log-sum-exp, R_i."""

    def __init__(self, backend: Backend, row: Any, block: Block, inputs: dict[str, Array], **how: Any) -> None:
        each = inputs["hard_negatives"].shape[1] if block.of_all else 1
        others, self.block, self.inputs = backend.against(block.columns, each), block, inputs
        of_block = PairRow(log_sum_of_negatives, row.scale, guide=row.guide, hardness=block.hardness, names=row.names)
        self.run = single.prepare(others, of_block, _inputs(others, block, inputs), **how)

    def remembered(self) -> Any:
        """Columns that came from other ranks."""
        return self.run.remembered()

    def forward(self) -> tuple[Array, Saved]:
        """R_i, and whether there is a negative."""
        return single.forward(self.run)

    def backward(self, total: Array, g: Array, needs: frozenset[str]) -> list[tuple[str, Array]]:
        """∂(Σ g_i R_i), by the names of the inputs of the loss."""
        block, xp = self.block, self.run.backend.xp
        outside = {"queries": block.rows, "keys": _keys_of(block), "negatives": block.columns}
        inside = {role: outside.get(role, role) for role in self.run.inputs if outside.get(role, role) in needs}
        some, one = total != -math.inf, xp.ones_like(g)
        rest = xp.where(some, total, 0.0)
        saved = Saved(one) if self.run.reduction is None else Saved(one, (rest, some, one))
        found = single.backward(self.run, saved, g, frozenset(inside))
        return [(inside[role], xp.reshape(gradient, self.inputs[inside[role]].shape)
                 if block.of_all and role == "negatives" else gradient) for role, gradient in found.items()]


def _keys_of(block: Block) -> str:
    """What stands in place of keys: of given negatives the keys, which are no columns."""
    return block.columns if block.columns in ("queries", "keys") else "keys"


def _inputs(backend: Backend, block: Block, inputs: dict[str, Array]) -> dict[str, Array]:
    """The inputs of a block's run, by the names they have there."""
    xp = backend.xp
    found = {"queries": inputs[block.rows], "keys": inputs[_keys_of(block)]}
    if block.of_all:
        negatives = inputs["hard_negatives"]
        found["negatives"] = xp.reshape(negatives, (-1, negatives.shape[-1]))
        said = [inputs["hard_negatives_mask"]] if "hard_negatives_mask" in inputs else []
        if "row_mask" in inputs:
            said.append(inputs["row_mask"][:, None] & xp.ones_like(negatives[:, :, 0], dtype=xp.bool))
        if said:
            found["negatives_mask"] = xp.reshape(said[0] & said[-1], (-1,))
    elif block.columns == "negatives":
        found |= {role: inputs[role] for role in ("negatives", "negatives_mask") if role in inputs}
    guide = inputs.get(f"guide_{block.columns}")
    if guide is not None:
        role = "guide_keys" if block.columns in ("queries", "keys") else "guide_negatives"
        found |= {"guide_queries": inputs[f"guide_{block.rows}"], "bound": inputs["bound"],
                  role: xp.reshape(guide, (-1, guide.shape[-1])) if block.of_all else guide}
    if block.mask in inputs:
        found["false_negatives"] = inputs[block.mask]
    masked = ["row_mask"] if block.columns in ("queries", "keys") else []
    return found | {name: array for name, array in inputs.items() if name in masked or array.ndim == 0}
