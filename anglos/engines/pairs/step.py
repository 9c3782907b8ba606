"""What both passes over the pairs start from."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.groups import are_weights
from anglos.engines.numerics import Array
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.sides import Sides, sides_of


class Rows(NamedTuple):
    """What belongs to the rows: all of them, or those of a tile."""

    points: Array
    labels: Array | None
    """None where the rows are proxies, whose labels are their numbers."""
    keys: Array | None
    left_out: Array | None
    """Pairs that are not negative, or neither that nor positive."""
    key_noise: Array | None
    mask: Array | None
    """Rows that are also negatives of others."""


class Step(NamedTuple):
    """What both passes start from."""

    backend: Backend
    row: PairRow
    inputs: dict[str, Array]
    sides: Sides
    swept: Rows
    chosen: tuple[Array, ...]
    """What the rows chose before, where all is computed again."""
    width: int
    """How many rows make a tile."""
    numbers: Array
    """Of the columns."""
    labels: Array | None
    """Of the columns, where there are labels."""
    weighs: bool
    """Whether labels are weights of positives."""
    noise: Array | None
    """Log p of the negatives."""
    between: Array | None
    part: Array | None

    @property
    def one_set(self) -> bool:
        """Whether vectors are compared with each other, so that there are pairs of one with itself."""
        return self.sides.rows is self.sides.columns

    @property
    def free_lengths(self) -> bool:
        """Whether distances depend on lengths."""
        return self.row.distance is not None and self.sides.rows.inverse is None

    @property
    def is_empty(self) -> bool:
        """Whether there are no pairs."""
        return 0 in (self.sides.rows.points.shape[0], self.sides.columns.points.shape[0])

    def remembered(self) -> None:
        """Nothing."""


def step_of(backend: Backend, row: PairRow, inputs: dict[str, Array], chosen: tuple[Array, ...] = ()) -> Step:
    """The step of these inputs, by their roles."""
    _check(row, inputs)
    xp, sides = backend.xp, sides_of(backend, row, inputs)
    points, columns, key = sides.rows.points, sides.columns.points, sides.key
    many, labels, of_proxies = columns.shape[0], inputs.get("labels"), sides.rows.role == "weights"
    of_columns = inputs.get("reference_labels", labels)
    key_noise, noise = row.log_noise or (None, None)
    rows = Rows(points, None if of_proxies else labels, None if key is None else key.points,
                inputs.get("false_negatives", inputs.get("excluded_pairs")), key_noise,
                None if key is not None else inputs.get("row_mask"))
    return Step(
        backend, row, inputs, sides, rows, chosen, backend.tile_width(many, *[many] * row.triples),
        backend.numbers(columns, xp.astype(points[:, 0], backend.index_type)), of_columns,
        labels is not None and are_weights(xp, labels), noise, columns @ columns.T if row.wants_between else None,
        _part(backend, row, of_columns, points) if of_proxies else None)


def _check(row: PairRow, inputs: dict[str, Array]) -> None:
    """Refuse what has no meaning together: that of which the label of a column, or of a key, cannot be told."""
    if "negatives" in inputs and "labels" in inputs:
        raise ValueError("PairRow: labels were given with negatives; wanted one of them: a key is its query's positive")
    if row.symmetric and (row.distance is not None or inputs.keys() & {"labels", "negatives"}):
        raise ValueError("PairRow: symmetric was True; wanted logits, not distances, of queries and keys alone")
    if row.length_penalty is not None and inputs.keys() & {"reference_embeddings", "weights"}:
        raise ValueError("PairRow: length_penalty was given with references or proxies; wanted none: it is of every "
                         "sample, or of a query and its key")


def _part(backend: Backend, row: PairRow, labels: Any, proxies: Array) -> Array:
    """The part of the classes that have a sample."""
    xp, classes = backend.xp, proxies.shape[0]
    inside = xp.astype((labels >= 0) & (labels < classes) & (labels != row.ignore_index), proxies.dtype)
    members = backend.sum_by_label(inside[:, None], xp.clip(labels, 0, classes - 1), classes)
    return backend.total(xp.sum(xp.astype(members > 0.0, proxies.dtype))) / backend.classes(proxies)
