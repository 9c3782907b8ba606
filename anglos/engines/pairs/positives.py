"""What is positive to a row where columns are classes: its own key, or the samples of its class, as their mean.

The mean of their logits is the logit of their mean, and Σ_i of a class is found once for all its samples: nothing here
is of the size of all pairs.
"""

from typing import Any

from anglos.engines.groups import takes_part
from anglos.engines.numerics import Array
from anglos.engines.pairs.step import Step


class OwnKeys:
    """One for every row."""

    weight: Array | None = None

    def __init__(self, step: Step) -> None:
        self.step, (_, columns, key) = step, step.sides
        self.points = (key or columns).points

    def pull(self, sums: dict[str, Array], by_logit: Array) -> Array | None:
        """∂k of by_logit · (x · k) for every row; keys that are columns have it in the sums."""
        (queries, columns, key), step = self.step.sides, self.step
        pulled = queries.points * by_logit[:, None]
        if key is not None:
            return pulled
        sums["own"] = columns.scaled(pulled) if step.as_is else pulled
        return None


class Groups:
    """The samples of the row's class, without the row's own; labels may be any numbers."""

    def __init__(self, step: Step) -> None:
        self.step, backend, xp = step, step.backend, step.backend.xp
        labels, of_columns, x = step.swept.labels, step.columns.labels, step.sides.rows.points
        ordered = xp.sort(of_columns)
        self.columns = self._places(ordered, of_columns)
        """Of the classes, which have the place of their first sample in the order of the labels."""
        self.rows = xp.clip(self._places(ordered, labels), 0, ordered.shape[0] - 1)
        number = backend.sum_by_label(xp.ones_like(of_columns, dtype=x.dtype)[:, None], self.columns, ordered.shape[0])
        known = (xp.take(ordered, self.rows, axis=0) == labels) & takes_part(xp, labels, step.row.ignore_index)
        number = xp.where(known, xp.take(number[:, 0], self.rows, axis=0), 0.0)
        columns, factor = step.columns.points, step.columns.factor
        sums = self._of_class(xp.astype(columns, x.dtype, copy=False) * (1.0 if factor is None else factor))
        if step.one_set:
            sums, number = sums - x, xp.where(known, number - 1.0, 0.0)
        some = number > 0.0
        self.divisor = xp.where(some, number, 1.0)
        self.points = xp.where(some[:, None], sums / self.divisor[:, None], 0.0)
        self.weight = number if step.row.excess_over == "negatives" else xp.astype(some, x.dtype)

    def pull(self, sums: dict[str, Array], by_logit: Array) -> None:
        """Σ_i by_logit_i x_i / n_i of the rows to which a column is positive, in the sums."""
        step, (rows, columns, _), factor = self.step, self.step.sides, self.step.columns.factor
        pulled = rows.points * (by_logit / self.divisor)[:, None]
        of_columns = self._of_class(pulled, back=True)
        sums["points"] = sums["points"] + (of_columns if factor is None else of_columns * factor)
        if step.one_set:
            sums["own"] = -(columns.scaled(pulled) if step.as_is else pulled)

    def _places(self, ordered: Array, labels: Array) -> Array:
        xp = self.step.backend.xp
        return xp.astype(xp.searchsorted(ordered, labels), labels.dtype)

    def _of_class(self, vectors: Array, back: bool = False) -> Array:
        """For every row the sum of the columns' vectors of its class; or back, for every column that of the rows'."""
        backend, (of, to) = self.step.backend, (self.rows, self.columns) if back else (self.columns, self.rows)
        return backend.xp.take(backend.sum_by_label(vectors, of, self.columns.shape[0]), to, axis=0)


def positives_of(step: Step) -> Any:
    """Those of all rows."""
    return OwnKeys(step) if step.row.excess_over is None else Groups(step)
