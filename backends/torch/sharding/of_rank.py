"""A loss as one rank computes it, of its own rows and classes."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from anglos.call.contents import check_contents
from anglos.call.kinds import describe, is_of_classes, refuse
from anglos.call.loss import Loss, Options, _Call

from .._rows import local
from .agreement import agreed, check_rows, said_of
from .group import Group
from .loss import Sharded
from .plan import ShardedPlan, plan_of_rank
from .shards import Shards
from .share import Share, check_placed, share_of
from .transforms import check_transforms


class ClassSharded(Sharded[Options]):
    """A loss of a rank's own rows and classes."""

    plan: type[ShardedPlan] = ShardedPlan

    maker = "class_sharded"

    def __init__(self, loss: Loss[Options], group: Group, num_classes: int | None, check: bool) -> None:
        super().__init__(loss, group, check, num_classes)
        self.num_classes = num_classes

    def _returned(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        return gradient / self.group.size if is_of_classes(self.kinds[name]) else super()._returned(name, gradient)

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: Any = ()) -> _Call:
        found, sizes = agreed(self.name, self.group, self.check,
                              partial(self._as_of_whole, arrays, options, wrt), self._said)
        check_rows(self.name, sizes)
        return self._of_rank(*found)

    def _said(self, found: tuple[_Call, Share, dict[str, torch.Tensor]]) -> tuple[dict[str, str], tuple[int]]:
        call, _, own = found
        arrays = [own.get(name, array) for name, array in zip(call.plan.names, call.arrays, strict=True)]
        return said_of(self.maker, call.plan, arrays), (arrays[0].shape[0],)

    def _as_of_whole(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: Any
                     ) -> tuple[_Call, Share, dict[str, torch.Tensor]]:
        """The checked call, as of whole weights; the share of this rank; and its arrays of classes."""
        given = {**dict(zip(self.arrays, arrays, strict=False)), **options}
        check_transforms(self.name, given)
        labels = given.get(self.arrays[2])
        if isinstance(labels, torch.Tensor) and labels.ndim > 1:
            refuse(self.name, self.arrays[2], ValueError, f"was of shape {tuple(labels.shape)}",
                   "integers, (B,): with class_sharded there are no probabilities of classes")
        of_rank = {name: value for name, value in given.items() if isinstance(value, torch.Tensor)
                   and name in self.kinds and is_of_classes(self.kinds[name])}
        share = self._share(of_rank)
        stands = {name: stand_in(value, share.total) for name, value in of_rank.items()}
        positional = tuple([stands.get(name, value) for name, value in zip(self.arrays, arrays, strict=False)])
        call = super()._prepare(positional, {name: stands.get(name, value) for name, value in options.items()}, wrt)
        own = {name: local(value) for name, value in of_rank.items()}
        of_own = [one for one in call.plan.contents.ranged if one[0] in own]
        contents = call.plan.contents._replace(owners=tuple(of_own), ranged=tuple(of_own), integers=())
        return call, share, {**own, **check_contents(self.name, call.plan.backend, contents, own)}

    def _share(self, of_rank: Mapping[str, torch.Tensor]) -> Share:
        """What this rank has of the classes, and all its arrays of classes say so."""
        name = self.arrays[1]
        weights, total = of_rank.get(name), self.num_classes
        if weights is None:
            refuse(self.name, name, TypeError, "was no tensor", "those of this rank's classes, as a DTensor")
        for one, value in of_rank.items():
            if isinstance(value, DTensor):
                check_placed(self.name, one, value, self.group)
        if isinstance(weights, DTensor):
            total = weights.shape[0]
        elif total is None:
            refuse(self.name, name, TypeError, f"was {describe(weights)}",
                   "a DTensor, or num_classes given to class_sharded")
        share = share_of(total, self.group)
        for one, value in of_rank.items():
            wanted = total if isinstance(value, DTensor) else share.here
            if value.ndim == 0 or value.shape[0] != wanted:
                refuse(self.name, one, ValueError, f"was of shape {tuple(value.shape)} on rank {self.group.rank}",
                       f"{wanted} classes, of {total} over {self.group.size} ranks")
        return share

    def _of_rank(self, call: _Call, share: Share, own: dict[str, torch.Tensor]) -> _Call:
        """The call of this rank's own arrays."""
        shards, samples, arrays = Shards(self.group, share), call.samples, []
        for name, array in zip(call.plan.names, call.arrays, strict=True):
            array, per_class = own.get(name, array), name in own
            if torch.is_grad_enabled() and array.requires_grad and (per_class or array.ndim == 0):
                array = self.group.averaged(array, summed=per_class)
            arrays.append(array)
        gathered = tuple([name for name, array in zip(call.plan.names, arrays, strict=True)
                          if array.ndim and name not in own and self.group.size > 1])
        plan = plan_of_rank(self.plan, call.plan, shards, gathered)
        if samples.terms is not None:
            weight = own[call.plan.contents.named["class_weight"]]
            samples = samples._replace(terms=plan.of_own_labels(weight.detach(), arrays))
        return call._replace(plan=plan, arrays=tuple(arrays), samples=samples)


def stand_in(tensor: torch.Tensor, total: int) -> torch.Tensor:
    """What has the shape of all classes and no memory, for the checks of a call: ones, which every kind takes."""
    one: torch.Tensor = local(tensor).detach().new_ones((1,) * tensor.ndim)
    return one.expand(total, *tensor.shape[1:])
