"""The plan of a call whose arrays are a rank's own rows and classes."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch

from anglos.call.kinds import is_of_classes
from anglos.call.plan import Plan

from .._seen import graph_is_made
from .shards import Shards


def is_labels(kind: Any) -> bool:
    """Whether arrays of this kind say which classes their rows are of."""
    return getattr(kind, "role", None) == "labels"


@dataclass(frozen=True)
class ShardedPlan(Plan):
    """The rows of all ranks are gathered before the engine sees them; a rank gets its own of what it finds."""

    gathered: tuple[str, ...] = ()
    """Arrays with a row for every sample; none in a group of one."""

    __hash__ = Plan.__hash__

    @property
    def shards(self) -> Shards:
        """The backend."""
        assert isinstance(self.backend, Shards)
        return self.backend

    def of_all(self, arrays: tuple[torch.Tensor, ...], residuals: tuple[torch.Tensor, ...] | None = None
               ) -> tuple[torch.Tensor, ...]:
        """With the rows of all; those that the forward pass gathered are among the residuals."""
        kept = None if residuals is None else iter(residuals)
        return tuple([self._of_all(name, array, kept) for name, array in zip(self.names, arrays, strict=True)])

    def _of_all(self, name: str, array: torch.Tensor, kept: Any) -> torch.Tensor:
        if is_of_classes(self.loss.kinds[name]):
            return self.shards.filled(array)
        if name not in self.gathered:
            return array
        if kept is not None:
            rows: torch.Tensor = next(kept)
            return rows
        rows = self.shards.rows_of_all(array)
        return self.labels_here(rows) if is_labels(self.loss.kinds[name]) else rows

    def labels_here(self, labels: torch.Tensor) -> torch.Tensor:
        """Counted from the first class here."""
        return self.shards.counted_here(labels)

    def of_all_rows(self, g: torch.Tensor) -> torch.Tensor:
        """The weights of the losses of all ranks."""
        return self.shards.rows_of_all(g)

    def of_own_labels(self, array: torch.Tensor, arrays: Sequence[torch.Tensor]) -> torch.Tensor:
        """What an array of a rank's classes has for the label of each of its own rows, on whatever rank that is."""
        (own,) = (one for name, one in zip(self.names, arrays, strict=True) if is_labels(self.loss.kinds[name]))
        shards = self.shards
        found = shards.of_label(shards.filled(array), shards.rows_of_all(own) - shards.share.first)
        return shards.own_rows(shards.total(found))

    def row_of(self, arrays: tuple[torch.Tensor, ...]) -> tuple[Any, dict[str, torch.Tensor]]:
        """The row is made of weights of the whole shape."""
        if self.row is not None:
            return super().row_of(arrays)
        total = self.shards.share.total
        whole = tuple([_of_shape(array, total) if name in self.loss.arrays and is_of_classes(self.loss.kinds[name])
                       else array for name, array in zip(self.names, arrays, strict=True)])
        row, inputs = super().row_of(whole)
        for role, array, shown in zip(self.roles, arrays, whole, strict=True):
            if shown is not array:
                inputs[role] = array
        return row, inputs

    def forward(self, arrays: tuple[torch.Tensor, ...], step: Any = None
                ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        """With the rows of all among the residuals."""
        step = self.prepare(arrays) if step is None else step
        per_sample, residuals = super().forward(arrays, step)
        rows = [step.inputs[role] for name, role in zip(self.names, self.roles, strict=True) if name in self.gathered]
        return per_sample, (*rows, *residuals)

    def run(self, step: Any) -> tuple[torch.Tensor, Any]:
        """Own rows of the loss."""
        per_sample, saved = super().run(step)
        return self.shards.own_rows(per_sample), saved

    def unpack(self, row: Any, residuals: tuple[torch.Tensor, ...]) -> Any:
        """Without the rows of all."""
        return super().unpack(row, residuals[len(self.gathered):])

    def gradients(self, step: Any, saved: Any, g: torch.Tensor, arrays: tuple[torch.Tensor, ...],
                  needs: frozenset[str]) -> dict[str, torch.Tensor]:
        return super().gradients(step, saved, self.of_all_rows(g), arrays, needs)

    def of_input(self, name: str, array: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Own rows, and own classes."""
        per_class, shards = is_of_classes(self.loss.kinds[name]), self.shards
        if gradient.ndim:
            gradient = gradient[:shards.share.here] if per_class else shards.own_rows(gradient)
        found: torch.Tensor = super().of_input(name, array, gradient)
        return found


def plan_of_rank(kind: type[ShardedPlan], plan: Plan, shards: Shards, gathered: tuple[str, ...]) -> ShardedPlan:
    """The same plan for a rank."""
    make: Any = _make if graph_is_made() else _kept  # Dynamo warns of a cache
    made: ShardedPlan = make(kind, plan, shards, gathered)
    return made


def _make(kind: type[ShardedPlan], plan: Plan, shards: Shards, gathered: tuple[str, ...]) -> ShardedPlan:
    parts = {field.name: getattr(plan, field.name) for field in fields(plan)}
    return kind(**{**parts, "backend": shards, "gathered": gathered})


_kept = functools.lru_cache(maxsize=1024)(_make)


def _of_shape(array: torch.Tensor, total: int) -> torch.Tensor:
    """What has the shape of all classes, and no memory."""
    return array[:1].detach().new_empty((1,) * array.ndim).expand(total, *array.shape[1:])
