"""Which vectors a loss over pairs compares with which, by the roles of its inputs."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.groups import takes_part
from anglos.engines.numerics import Array, float_type, unit_rows, unit_rows_pullback
from anglos.engines.pairs.distances import OF_UNIT_VECTORS
from anglos.engines.pairs.row import PairRow

_ROWS = ("weights", "queries", "embeddings")
_COLUMNS = ("negatives", "reference_embeddings", "keys", "embeddings")
"""The first of them that a loss has."""


class Side(NamedTuple):
    """The vectors of an input, as the row wants them."""

    role: str
    points: Array
    inverse: Array | None
    """1 / |x| of each before it was normalised, (..., 1); None where it was not."""

    def pullback(self, backend: Backend, d_points: Array, scaled: bool = False) -> Array:
        """∂L/∂input; of what is scaled by 1 / |x| already, if it is."""
        if self.inverse is None:
            return d_points
        if scaled:
            return backend.project_out(self.points, d_points)
        return unit_rows_pullback(backend, self.points, self.inverse, d_points)

    def scaled(self, d_points: Array) -> Array:
        """Times 1 / |x|, where the input was normalised."""
        return d_points if self.inverse is None else d_points * self.inverse


class Sides(NamedTuple):
    """Rows and columns, which are one side where a set is compared with itself."""

    rows: Side
    columns: Side
    key: Side | None
    """One per row, before columns that are all negatives."""


def sides_of(backend: Backend, row: PairRow, inputs: dict[str, Array]) -> Sides:
    """The vectors of the inputs by their roles, normalised if the row asks for it."""
    rows, columns = (next(role for role in roles if role in inputs) for roles in (_ROWS, _COLUMNS))
    key = "keys" if columns == "negatives" else rows
    points = _in_type(backend, row, inputs, tuple(dict.fromkeys((rows, key, columns))))
    if row.normalize or row.distance in OF_UNIT_VECTORS:
        sides = {role: Side(role, *unit_rows(backend, x)) for role, x in points.items()}
    else:
        if row.distance is not None and row.length_penalty is None:
            # Distances stay, and lengths, whose squares lose their digits, become small.
            middle = backend.stop_gradient(backend.column_mean(points[columns]))
            points = {role: x - middle for role, x in points.items()}
        sides = {role: Side(role, x, None) for role, x in points.items()}
    return Sides(sides[rows], sides[columns], None if key == rows else sides[key])


def _in_type(backend: Backend, row: PairRow, inputs: dict[str, Array], roles: tuple[str, ...]) -> dict[str, Array]:
    """The vectors in the type of the arithmetic."""
    xp, dtype = backend.xp, float_type(backend.xp, *[inputs[role] for role in roles])
    return {role: xp.astype(of_part(xp, row, inputs, role), dtype, copy=False) for role in roles}


def of_part(xp: Any, row: PairRow, inputs: dict[str, Array], role: str) -> Array:
    """The vectors of an input; zeros in place of references that are ignored, and of negatives that are none."""
    vectors = inputs[role]
    if role == "negatives" and "negatives_mask" in inputs:
        return xp.where(inputs["negatives_mask"][:, None], vectors, 0.0)
    if role != "reference_embeddings" or "reference_labels" not in inputs or row.ignore_index is None:
        return vectors
    return xp.where(takes_part(xp, inputs["reference_labels"], row.ignore_index)[:, None], vectors, 0.0)
