"""Losses with one term for every proxy, where a rank has some of these: the loss of the whole batch is every rank's."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from anglos.call.loss import Options, _Call

from .of_rank import ClassSharded
from .plan import ShardedPlan
from .share import Share

_IGNORED = -1
"""The label here of a sample that takes no part: what it was may be the number of a proxy here."""


@dataclass(frozen=True)
class ProxyPlan(ShardedPlan):
    """Own proxies against the samples of all ranks."""

    __hash__ = ShardedPlan.__hash__

    def labels_here(self, labels: torch.Tensor) -> torch.Tensor:
        """Counted from the first proxy here; of a class elsewhere a number that none has."""
        share = self.shards.share
        here = (labels >= share.first) & (labels < share.first + share.here)
        counted = torch.where(here, labels - share.first, max(share.here, 1))
        return torch.where(labels == self.ignore_index, _IGNORED, counted)

    def row_of(self, arrays: tuple[torch.Tensor, ...]) -> tuple[Any, dict[str, torch.Tensor]]:
        row, inputs = super().row_of(arrays)
        return (replace(row, ignore_index=_IGNORED) if self.gathered else row), inputs

    def run(self, step: Any) -> tuple[torch.Tensor, Any]:
        """The terms of own proxies; without the one that is made up where there is none."""
        terms, saved = self.loss.engine.forward(step)
        return terms[:self.shards.share.here], saved

    def of_all_rows(self, g: torch.Tensor) -> torch.Tensor:
        return self.shards.filled(g)

    def of_input(self, name: str, array: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
        """Of a sample, what the proxies of all ranks have of it."""
        gradient = self.shards.total_of_own_rows(gradient) if name in self.gathered else gradient
        return super().of_input(name, array, gradient)


class ProxyCall(_Call):
    """A checked call, whose value is that of all proxies."""

    def reduce(self, per_sample: torch.Tensor, saved: tuple[Any, ...]) -> torch.Tensor:
        plan: Any = self.plan
        if plan.reduction == "none":
            return per_sample
        total: torch.Tensor = plan.shards.total(per_sample.sum())
        return total / plan.shards.share.total if plan.reduction == "mean" else total


class ProxySharded(ClassSharded[Options]):
    """A loss of the samples of all ranks, and of its own proxies."""

    plan = ProxyPlan

    def value_and_grad(self, *arrays: Any, wrt: Any = None, **options: Any) -> Any:
        """Through autograd, as the loss is the total of all ranks'."""
        call = self._prepare(arrays, options, wrt)
        wanted = call.plan.wrt
        leaves = {name: array.detach().requires_grad_(name in wanted)
                  for name, array in zip(call.plan.names, call.arrays, strict=True)}
        with torch.enable_grad():
            value = call.reduce(*call.plan.backend.differentiable(call.plan, tuple(leaves.values())))
            found = torch.autograd.grad(value.sum(), [leaves[name] for name in wanted]) if wanted else ()
        return value.detach(), tuple([self._returned(name, one) for name, one in zip(wanted, found, strict=True)])

    def _of_rank(self, call: _Call, share: Share, own: dict[str, torch.Tensor]) -> _Call:
        return ProxyCall(*super()._of_rank(call, share, own))
