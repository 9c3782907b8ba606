"""What is positive to a row where columns are classes: its own key, or the samples of its class, as their mean.

The mean of their logits is the logit of their mean, and Σ_i of a class is found once for all its samples: nothing here
is of the size of all pairs.
"""

from typing import Any

from anglos.arrays.partners import Runs
from anglos.engines.groups import takes_part
from anglos.engines.numerics import Array
from anglos.engines.pairs.step import Step, label_logit


class OwnKeys:
    """One for every row."""

    weight: Array | None = None
    """Of every row's slopes; None for 1."""

    def __init__(self, step: Step) -> None:
        self.step, (_, columns, key) = step, step.sides
        self.points = (key or columns).points

    def value(self, state: Any) -> tuple[Array, Array, Any]:
        """The loss of every row, how many terms it is, and what its slopes need."""
        step, reduction = self.step, self.step.reduction
        value, saved = reduction.value(step.backend, state, label_logit(step, self.points), 1)
        xp = step.backend.xp
        count = xp.astype(state.total != 0.0, value.dtype) if reduction.of_exponentials else xp.ones_like(value)
        return value, count, saved

    def pull(self, sums: dict[str, Array], by_logit: Array) -> Array | None:
        """∂k of by_logit · (x · k) for every row; keys that are columns have it in the sums."""
        (queries, columns, key), step = self.step.sides, self.step
        pulled = queries.points * by_logit[:, None]
        if key is not None:
            return pulled
        sums["own"] = columns.scaled(pulled) if step.as_is else pulled
        return None


class Groups(OwnKeys):
    """The samples of the row's class, without the row's own; labels may be any numbers."""

    weight: Array

    def __init__(self, step: Step) -> None:
        self.step, xp = step, step.backend.xp
        labels, x = step.swept.labels, step.sides.rows.points
        of_columns: Any = step.columns.labels
        runs = runs_of(xp, labels, of_columns, step.row.ignore_index)
        self.rows = xp.clip(runs.first, 0, of_columns.shape[0] - 1)
        """Of the classes, which have the place of their first sample in the order of the labels."""
        self.columns = self.rows if labels is of_columns else runs_of(xp, of_columns, of_columns, None).first
        number = xp.astype(runs.number, x.dtype)
        columns, factor = step.columns.points, step.columns.factor
        sums = self._of_class(xp.astype(columns, x.dtype, copy=False) * (1.0 if factor is None else factor))
        if step.one_set:
            sums, number = sums - x, number - xp.astype(number > 0.0, x.dtype)
        some = number > 0.0
        self.divisor = xp.where(some, number, 1.0)
        self.points = xp.where(some[:, None], sums / self.divisor[:, None], 0.0)
        self.weight = number

    def value(self, state: Any) -> tuple[Array, Array, Any]:
        value, count, saved = super().value(state)
        return value * self.weight, count * self.weight, saved

    def pull(self, sums: dict[str, Array], by_logit: Array) -> None:
        """Σ_i by_logit_i x_i / n_i of the rows to which a column is positive, in the sums."""
        step, (rows, columns, _), factor = self.step, self.step.sides, self.step.columns.factor
        pulled = rows.points * (by_logit / self.divisor)[:, None]
        of_columns = self._of_class(pulled, back=True)
        sums["points"] = sums["points"] + (of_columns if factor is None else of_columns * factor)
        if step.one_set:
            sums["own"] = -(columns.scaled(pulled) if step.as_is else pulled)

    def _of_class(self, vectors: Array, back: bool = False) -> Array:
        """For every row the sum of the columns' vectors of its class; or back, for every column that of the rows'."""
        backend, (of, to) = self.step.backend, (self.rows, self.columns) if back else (self.columns, self.rows)
        return backend.xp.take(backend.sum_by_label(vectors, of, self.columns.shape[0]), to, axis=0)


def runs_of(xp: Any, labels: Array, others: Array, ignore_index: int | None, own: Any = None) -> Runs:
    """Where, in the order of others' labels, those of each label are; of one that is ignored there are none."""
    order = xp.argsort(others)
    ordered = xp.take(others, order, axis=0)
    first, last = (xp.astype(xp.searchsorted(ordered, labels, side=side), labels.dtype) for side in ("left", "right"))
    return Runs(order, first, xp.where(takes_part(xp, labels, ignore_index), last - first, 0), own)
