"""What both passes over the pairs start from."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.groups import are_weights
from anglos.engines.numerics import Array, is_number
from anglos.engines.pairs.guide import guides_of
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.sides import Sides, of_part, sides_of


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
    guide: Array | None = None
    """Vectors of a guide, and above which of their cosines a negative is none: None, of the row's positives."""
    bound: Array | None = None


class Columns(NamedTuple):
    """What belongs to the columns, those of all ranks."""

    points: Array
    labels: Array | None
    """None where pairs are told apart by position, or by weights."""
    mask: Array | None
    """Columns that are compared with anything."""
    noise: Array | None
    """Log p of the negatives."""
    factor: Array | None = None
    """By which the points are still to be multiplied, (N, 1); None for 1."""
    guide: Array | None = None
    """Unit vectors."""
    bound: Array | None = None
    """As of rows; where columns are those of queries."""


class Step(NamedTuple):
    """What both passes start from."""

    backend: Backend
    row: PairRow
    inputs: dict[str, Array]
    sides: Sides
    swept: Rows
    chosen: tuple[Array, ...]
    """What the rows chose before, where all is computed again."""
    columns: Columns
    width: int
    """How many rows make a tile."""
    numbers: Array
    """Of the columns."""
    first_row: Any
    """Of the columns, the number of the first row's own."""
    weighs: bool
    """Whether labels are weights of positives."""
    between: Array | None
    part: Array | None
    reduction: Any
    """What every row is reduced by where keys are classes (`keys.py`)."""
    as_is: bool
    """Whether vectors are multiplied as they are, and their lengths multiply the sums."""

    @property
    def of_targets(self) -> bool:
        """Whether samples have real numbers in place of labels."""
        return "targets" in self.inputs

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
        return 0 in (self.backend.rows(self.sides.rows.points), self.columns.points.shape[0])

    def remembered(self) -> Columns | None:
        """Columns that came from other ranks."""
        kept: Columns | None = self.backend.remembered(self.columns)
        return kept


def step_of(backend: Backend, row: PairRow, inputs: dict[str, Array], chosen: tuple[Array, ...] = (),
            columns: Columns | None = None, reduction: Any = None) -> Step:
    """The step of these inputs, by their roles; with columns, these are not asked of other ranks again."""
    _check(row, inputs)
    xp, sides, labels = backend.xp, sides_of(backend, row, inputs), inputs.get("labels", inputs.get("targets"))
    points, key, of_proxies = sides.rows.points, sides.key, sides.rows.role == "weights"
    weighs = "labels" in inputs and are_weights(xp, labels)
    key_noise, noise = row.log_noise or (None, None)
    guide, of_columns = guides_of(backend, row.guide, inputs)
    rows = Rows(points, None if of_proxies else labels, None if key is None else key.points,
                inputs.get("false_negatives", inputs.get("excluded_pairs")), key_noise,
                None if key is not None else inputs.get("row_mask"), *guide)
    if columns is None:
        vectors, factor = sides.columns.points, None
        if reduction is not None and _multiplies_as_is(backend, row, inputs, sides):
            vectors, factor = of_part(xp, row, inputs, sides.columns.role), sides.columns.inverse
        counted = rows.mask if key is None else inputs.get("negatives_mask")
        own = (vectors, None if weighs else inputs.get("reference_labels", labels), counted, noise, factor, *of_columns)
        columns = Columns(*[None if one is None else backend.columns(one) for one in own])
    many = columns.points.shape[0]
    return Step(
        backend, row, inputs, sides, rows, chosen, columns, backend.tile_width(many, *[many] * row.triples),
        backend.numbers(columns.points, xp.astype(points[:, 0], backend.index_type)),
        0 if of_proxies else backend.first_row(points), weighs,
        columns.points @ columns.points.T if row.wants_between else None,
        _part(backend, row, columns.labels, points) if of_proxies else None, reduction,
        as_is=bool(columns.points.dtype != points.dtype))


def _multiplies_as_is(backend: Backend, row: PairRow, inputs: dict[str, Array], sides: Sides) -> bool:
    """Not where slopes are summed for a bias: they are made times 1 / |k|, which may be 0."""
    summed = sides.columns.inverse is not None and not (row.bias is None or is_number(row.bias))
    return not summed and backend.multiplies_as_is(inputs[sides.rows.role], inputs[sides.columns.role])


def label_logit(step: Step, positives: Array | None = None) -> Array:
    """Of every row with its positive, by default its key."""
    row, (queries, columns, key) = step.row, step.sides
    logit = row.scale * step.backend.dot(queries.points, (key or columns).points if positives is None else positives)
    return logit if row.bias is None else logit + row.bias


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
