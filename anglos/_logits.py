"""The scores of all classes without a margin: what a trained layer predicts by."""

from dataclasses import replace
from typing import Any

from anglos._backend import Spares
from anglos._dispatch import backend_of
from anglos._loss import Loss
from anglos._numerics import Array
from anglos._pair_row import PairRow
from anglos._row import Row, unchanged
from anglos._tiles import batch_of, directions_of, per_class, visit_tile


def logits_of(loss: Loss[...], embeddings: Array, weights: Array, options: dict[str, Any]) -> Array:
    """z_ij = scale · |x_i| · |w_j| · cos θ_ij + b_j, (B, C): the loss's own, with cos θ in the place of φ and η.

    What the library differentiates. Arrays of margins, which are no part of it, may be those of another batch.
    """
    options = {name: option for name, option in options.items()
               if backend_of(option) is None or "B" not in loss.kinds[name].shapes}
    backend = backend_of(embeddings)
    labels = None if backend is None else backend.xp.zeros(
        embeddings.shape[:1], dtype=backend.index_type, device=backend.device(embeddings))
    call = loss._prepare((embeddings, weights, labels), options)
    backend = call.plan.backend
    with backend.plain(call.arrays):
        row, inputs = call.plan._row(call.arrays)
        inputs["weights"] = inputs.pop(loss.arrays[1], inputs.get("weights"))
        row = _without_margin(backend, row, inputs["weights"])
        directions = directions_of(backend, inputs)
        visit = visit_tile(backend, row, batch_of(backend, row, inputs, directions), directions.unit, None,
                           inputs["labels"], 0, inputs["weights"], row.bias if per_class(row.bias) else None,
                           Spares(backend, several=False))
        return visit.tile.logits.T


def _without_margin(backend: Any, row: Any, weights: Array) -> Row:
    """Of losses that are not in the scheme of `_prototypes.py`, the row that ranks classes as they do.

    −½ |x − c|² is x·c − ½ |c|² but for a number that all classes share.
    """
    if isinstance(row, Row):
        return replace(row, target=unchanged, rest=None, statistic=None, straight_through=False)
    if isinstance(row, PairRow):
        return Row(row.scale)
    return Row(bias=-0.5 * backend.dot(weights, weights), normalize_embeddings=False, normalize_weights=False)
