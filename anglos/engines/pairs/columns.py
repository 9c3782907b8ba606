"""The other half of a symmetric loss: of every column the cross entropy over the rows, with its own row as the label.

With z as the logits, ℓ′_j = lse_i z_ij − z_jj over the pairs that are positive or negative. Of both halves
ℓ = ½ (ℓ_i + ℓ′_i).
"""

import math
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Tile, marked_tile
from anglos.engines.exponentials import LogSumExp
from anglos.engines.numerics import Array
from anglos.engines.pairs.row import PairTile
from anglos.engines.pairs.step import Step, label_logit
from anglos.engines.reductions import CrossEntropy

COLUMNS = CrossEntropy()


def gather(backend: Backend, tile: PairTile) -> LogSumExp:
    """What the rows of a tile add to the log-sum-exp of every column."""
    return COLUMNS.gather(backend, _turned(backend, tile), None)


def with_columns(step: Step, gathered: LogSumExp, value: Array, count: Array) -> tuple[Array, Array, Any]:
    """½ (ℓ_i + ℓ′_i); how many terms it is, 0 where there is no negative; and what the slopes need."""
    backend, xp = step.backend, step.backend.xp
    gathered = backend.over_rows(COLUMNS, gathered)
    of_columns, saved = COLUMNS.value(backend, gathered, backend.columns(label_logit(step)), count.shape[0])
    total, of_columns = backend.own_columns(gathered.total), backend.own_columns(of_columns)
    counted = xp.where((count == 0.0) & (total == 0.0), 0.0, xp.ones_like(count))
    return 0.5 * (value + of_columns), counted, saved


def slopes(backend: Backend, saved: Any, tile: PairTile) -> Array:
    """∂ℓ′_j/∂z_ij: −(1 − p_jj) of the label, p_ij of the others."""
    return backend.xp.where(tile.positive, COLUMNS.label_slope(backend, saved, 1),
                            COLUMNS.rest_slope(backend, saved, _turned(backend, tile), 1))


def _turned(backend: Backend, tile: PairTile) -> Tile:
    """The same logits as a tile of A classes against N samples."""
    return marked_tile(backend.xp, logits_of(backend, tile), tile.positive)


def logits_of(backend: Backend, tile: PairTile) -> Array:
    """Those of the tile, (A, N); a pair that is neither positive nor negative is left out."""
    negative = tile.negative if tile.of_columns is None else tile.of_columns
    return backend.xp.where(tile.positive | negative, tile.values, -math.inf)
