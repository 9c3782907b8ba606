"""Losses of a sample and its own class alone, whose centre is looked up on the rank that has it."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from anglos.call.kinds import is_of_classes
from anglos.call.loss import Options, _Call

from .._backend import backend
from .of_rank import ClassSharded
from .plan import ShardedPlan
from .share import Share


@dataclass(frozen=True)
class LookedUpPlan(ShardedPlan):
    """Own samples against the centre of each one's class."""

    __hash__ = ShardedPlan.__hash__

    def of_all(self, arrays: tuple[torch.Tensor, ...], residuals: tuple[torch.Tensor, ...] | None = None
               ) -> tuple[torch.Tensor, ...]:
        """c_y of own samples, one after the other, in place of the centres here."""
        x, centers, labels = arrays
        found = self.shards.of_label(self.shards.filled(centers), self._labels_of_all(labels))
        return x, self.shards.group.scatter(found), torch.arange(len(labels), device=labels.device)

    def prepare(self, arrays: tuple[torch.Tensor, ...], **others: Any) -> Any:
        """By a backend that shares nothing: the centres are those of own samples, and all are here."""
        return super().prepare(arrays, **others)._replace(backend=backend)

    def run(self, step: Any) -> tuple[torch.Tensor, Any]:
        return self.loss.engine.forward(step)

    def gradients(self, step: Any, saved: Any, g: torch.Tensor, arrays: tuple[torch.Tensor, ...],
                  needs: frozenset[str]) -> dict[str, torch.Tensor]:
        """∂c_j of the samples of all ranks."""
        _, centers, labels = arrays
        gradients = super().gradients(step, saved, g, arrays, needs)
        for name in needs:
            if is_of_classes(self.loss.kinds[name]):
                rows, shards = self.shards.rows_of_all(gradients[name]), self.shards
                nothing = torch.zeros_like(shards.filled(centers))
                gradients[name] = shards.add_at_labels(self._labels_of_all(labels), 0, nothing, rows)[:len(centers)]
        return gradients

    def of_all_rows(self, g: torch.Tensor) -> torch.Tensor:
        return g

    def of_input(self, name: str, array: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        return gradient.to(array.dtype)

    def _labels_of_all(self, labels: torch.Tensor) -> torch.Tensor:
        return self.shards.rows_of_all(labels) - self.shards.share.first


class LookedUp(ClassSharded[Options]):
    """A loss of own samples, and of the centres of their classes."""

    plan = LookedUpPlan

    def _of_rank(self, call: _Call, share: Share, own: dict[str, torch.Tensor]) -> _Call:
        call = super()._of_rank(call, share, own)
        plan: Any = call.plan
        return call._replace(plan=replace(plan, gathered=()))  # nothing that the backward pass should keep
