"""Which vectors a loss over pairs compares, and a tile of them: values and masks, before any loss is taken."""

from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.engines.groups import are_weights, share_a_label, takes_part
from anglos.engines.numerics import Array, float_type, unit_rows, unit_rows_pullback
from anglos.engines.pairs.distances import DISTANCES, OF_UNIT_VECTORS
from anglos.engines.pairs.row import PairRow, PairTile


class Side(NamedTuple):
    """Vectors by the name of their input; each as the row wants it, and what the way back needs."""

    name: str
    points: Array
    inverse: Array | None

    def pullback(self, backend: Any, d_points: Array) -> Array:
        return d_points if self.inverse is None else unit_rows_pullback(backend, self.points, self.inverse, d_points)


class Sides(NamedTuple):
    """Rows and columns; and the keys, one per row, that stand before columns which are all negatives."""

    rows: Side
    columns: Side
    own: Side | None


def sides_of(backend: Any, row: PairRow, inputs: dict[str, Array]) -> Sides:
    """Which inputs are compared with which."""
    xp = backend.xp
    names = [name for name in ("weights", "queries", "embeddings", "keys", "negatives", "reference_embeddings")
             if name in inputs]
    dtype = float_type(xp, *(inputs[name] for name in names))

    def side(name: str) -> Side:
        points = xp.astype(inputs[name], dtype, copy=False)
        if name == "reference_embeddings" and "reference_labels" in inputs and row.ignore_index is not None:
            part = takes_part(xp, inputs["reference_labels"], row.ignore_index)
            points = xp.where(part[:, None], points, 0.0)
        if row.normalize or row.distance in OF_UNIT_VECTORS:
            return Side(name, *unit_rows(backend, points))
        return Side(name, points, None)

    made = {name: side(name) for name in names}
    first = made[names[0]]
    if row.distance is not None and first.inverse is None and 0 not in made[names[-1]].points.shape:
        # Distances stay, and lengths, whose squares lose their digits, become small.
        middle = backend.stop_gradient(xp.mean(made[names[-1]].points, axis=0))
        made = {name: one._replace(points=one.points - middle) for name, one in made.items()}
        first = made[names[0]]
    if "negatives" in made:
        return Sides(first, made["negatives"], made["keys"])
    return Sides(first, made[names[-1]], None)


class Tiles:
    """How to make the values and the masks of a tile."""

    def __init__(self, backend: Any, row: PairRow, inputs: dict[str, Array], sides: Sides,
                 chosen: tuple[Array, ...] = ()) -> None:
        self.backend, self.row, self.sides = backend, row, sides
        xp, (rows, columns, own) = backend.xp, sides
        self.free_lengths = row.distance is not None and rows.inverse is None
        many = columns.points.shape[0]
        self.width = backend.tile_width(many, *[many] * row.triples)
        self.like = xp.astype(rows.points[:1, 0], backend.index_type)
        self.numbers = backend.numbers(columns.points, self.like)
        labels = inputs.get("labels")
        self.labels = inputs.get("reference_labels", labels)
        self.weighs = labels is not None and are_weights(xp, labels)
        self.of_proxies = rows.name == "weights"
        own_noise, self.noise = row.log_noise or (None, None)
        self.row_mask: Any = None if own is not None else inputs.get("row_mask")  # of what is a column too
        self.swept = (rows.points, None if self.of_proxies else labels, None if own is None else own.points,
                      inputs.get("false_negatives", inputs.get("excluded_pairs")), own_noise, self.row_mask, *chosen)
        self.between = columns.points @ columns.points.T if row.wants_between else None
        self.part = self._part(rows.points.shape[0]) if self.of_proxies else None

    def visit(self, first: Any, x: Array, labels: Array | None, own: Array | None, left_out: Array | None,
              own_noise: Array | None, row_mask: Array | None, *chosen: Array
              ) -> tuple[PairTile, Array, Callable[[], Array] | None]:
        """The tile, its S, and of distances the slopes in D² = |x|² + |r|² − 2 S."""
        xp, row, columns = self.backend.xp, self.row, self.sides.columns.points
        similarity, slope = self.backend.product(x, columns.T), None
        if own is not None:
            similarity = xp.concat([xp.sum(x * own, axis=-1)[:, None], similarity], axis=1)
        if row.distance is not None:
            lengths: Any = 2.0
            if self.free_lengths:
                lengths = xp.sum(x * x, axis=-1)[:, None] + xp.sum(columns * columns, axis=-1)[None, :]
            square = xp.clip(lengths - 2.0 * similarity, 0.0)  # which rounding may pass
            values, slope = DISTANCES[row.distance](
                self.backend, square, 8.0 * float(xp.finfo(square.dtype).eps) * lengths)
        else:
            values = row.scale * similarity
            if row.bias is not None:
                values = values + row.bias
            if row.log_noise is not None:
                many = self.backend.asarray(columns.shape[0], values, values.dtype)  # which a compiler may not know
                values = values - xp.log(many) - self._noise(own_noise, values)
        positive, negative, weight = self._masks(first, x, labels, left_out, row_mask)
        tile = PairTile(values, positive, negative, weight, self.between, self.part, chosen)
        if row.choose is not None and not chosen:
            tile = tile._replace(chosen=row.choose(self.backend, tile))
        return tile, similarity, slope

    def _masks(self, first: Any, x: Array, labels: Array | None, left_out: Array | None, row_mask: Array | None
               ) -> tuple[Array, Array, Array | None]:
        xp, ignore_index, weight = self.backend.xp, self.row.ignore_index, None
        number = self.backend.numbers(x, self.like) + first
        if self.labels is None:
            return *self._masks_by_position(number[:, None], left_out, row_mask), None
        if self.weighs:
            given = self.backend.stop_gradient(xp.astype(labels, x.dtype, copy=False))
            positive, negative = given > 0.0, given == 0.0
            weight = xp.where(positive, given, 1.0)
        else:
            same = share_a_label(number if labels is None else labels, self.labels, ignore_index)
            positive, negative = same, ~same
            if ignore_index is not None:
                known = takes_part(xp, self.labels, ignore_index)[None, :]
                positive, negative = positive & known, negative & known
        if self.sides.rows is self.sides.columns:
            others = number[:, None] != self.numbers[None, :]
            positive, negative = positive & others, negative & others if self.weighs else negative
        if left_out is not None:
            positive, negative = positive & ~left_out, negative & ~left_out
        return positive, negative, weight

    def _masks_by_position(self, number: Array, false_negatives: Array | None, row_mask: Array | None
                           ) -> tuple[Array, Array]:
        xp = self.backend.xp
        if self.sides.own is None:
            positive = number == self.numbers[None, :]
        else:
            positive = xp.concat([number == number, (number != number) & (self.numbers[None, :] < 0)], axis=1)
        negative = ~positive
        if false_negatives is not None:
            if self.sides.own is not None:
                false_negatives = xp.concat([number != number, false_negatives], axis=1)
            negative = negative & ~false_negatives
        if row_mask is not None:
            negative = negative & row_mask[:, None] & self.row_mask[None, :]
        return positive, negative

    def _noise(self, own_noise: Array | None, values: Array) -> Array:
        """Log p of the own key and of the negatives."""
        nothing = self.backend.xp.zeros_like(values)
        return self.backend.xp.concat([nothing[:, :1] if own_noise is None else own_noise[:, None],
                                       nothing[:, 1:] + (0.0 if self.noise is None else self.noise)], axis=1)

    def _part(self, classes: int) -> Array:
        """The part of the classes that have a column."""
        xp, labels, dtype = self.backend.xp, self.labels, self.sides.rows.points.dtype
        assert labels is not None
        known = xp.astype((labels >= 0) & (labels < classes) & (labels != self.row.ignore_index), dtype)
        members = self.backend.sum_by_label(known[:, None], xp.clip(labels, 0, classes - 1), classes)
        return xp.sum(xp.astype(members > 0.0, dtype)) / classes
