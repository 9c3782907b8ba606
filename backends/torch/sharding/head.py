"""A layer's classes, cut over the ranks of a mesh."""

import numbers
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from anglos.call.kinds import describe
from anglos.call.loss import Loss
from anglos.training.sampling import Sampled

from .._nearest import nearest_of
from .agreement import agreed
from .classes import class_sharded
from .group import Group, group_of
from .of_rank import ClassSharded
from .rows import cut, empty
from .sampled import sample_own
from .share import share_of
from .start import draw

Found = TypeVar("Found")


class Sharding:
    """Over which ranks, from which seed its classes start, and whether ranks compare what they are about to do."""

    def __init__(self, loss: Loss[...], mesh: DeviceMesh, seed: int, check: bool) -> None:
        self.mesh, self.seed, self.check, self.group = mesh, seed, check, Group(mesh.get_group())
        self.loss = self.shared(loss)
        """Of own samples, against the classes of all."""
        self.scored: Loss[...] = ClassSharded(loss, self.group, None, check)
        """By what samples and classes are compared: one by one, whatever the loss takes together."""
        self._made_of = loss, mesh, seed, check

    def __reduce__(self) -> Any:
        return Sharding, self._made_of

    def empty(self, shape: tuple[int, ...], device: Any, dtype: Any) -> DTensor:
        """Rows of this rank's classes; on the device of the mesh, or on the device meta."""
        where = torch.empty(0, device=device).device
        if device is None and where.type != "meta":
            where = torch.device(self.mesh.device_type)
        if where.type not in ("meta", self.mesh.device_type):
            raise ValueError(f"Head: device was {where} with a mesh of {self.mesh.device_type}; wanted "
                             f"{self.mesh.device_type}, meta or None")
        return empty(shape, self.mesh, where, dtype)

    def draw(self, weight: torch.Tensor, std: float, beyond: int = 0) -> torch.Tensor:
        """Prototypes of this rank's classes; only of those whose number is not below `beyond`."""
        share = share_of(len(weight), self.group)
        first = min(max(share.first, beyond), share.first + share.here)
        draw(weight.detach().to_local()[first - share.first:], first, std, self.seed)  # type: ignore[attr-defined]
        return weight

    def of_classes(self, loss: str, name: str, option: torch.Tensor, count: int) -> torch.Tensor:
        """An option that is a number for each class: whole on every rank, or sharded already."""
        if option.shape != (count,):
            raise ValueError(f"Head({loss}): {name} was of shape {tuple(option.shape)}; wanted ({count},)")
        if isinstance(option, DTensor):
            return option
        rows = cut([option], empty((count,), self.mesh, option.device, option.dtype))
        return torch.nn.Parameter(rows, option.requires_grad) if isinstance(option, torch.nn.Parameter) else rows

    def shared(self, loss: Loss[...]) -> Loss[...]:
        """Another loss of own samples against the classes of all."""
        return class_sharded(loss, self.mesh, check=self.check)

    def sampled(self, caller: str, values: dict[str, Any]) -> tuple[Sampled, int]:
        """Rows of this rank's classes, with own labels; and how many rows all have."""
        return sample_own(caller, values, self.mesh, self.group, self.check)

    def scores(self, scores: torch.Tensor, count: int) -> torch.Tensor:
        """Own columns, of the samples of all ranks, as a part of those of all classes."""
        own = scores[:, :share_of(count, self.group).here].contiguous()
        shape = torch.Size((len(own), count))
        return DTensor.from_local(own, self.mesh, [Shard(1)], run_check=False, shape=shape, stride=(count, 1))

    def nearest(self, embeddings: torch.Tensor, weight: torch.Tensor, options: dict[str, Any], k: int
                ) -> tuple[torch.Tensor, torch.Tensor]:
        """Of own samples, among the classes of all."""
        here = share_of(len(weight), self.group).here
        return nearest_of(self.scored, embeddings, weight, options, k, here, self.group.rank)

    def agreed(self, check: Callable[[], Found], say: Callable[[Found], dict[str, str]]) -> Found:
        """What a check returns, if no rank refuses, and all say the same of it."""
        found, _ = agreed("Head", self.group, self.check, check, lambda found: (say(found), ()))
        return found


def sharding_of(loss: Loss[...], mesh: Any, seed: Any, check: bool) -> Sharding:
    """As it was asked for."""
    if not isinstance(mesh, DeviceMesh):
        raise TypeError(f"Head: mesh was {describe(mesh)}; wanted a torch.distributed.device_mesh.DeviceMesh, as "
                        "init_device_mesh and DeviceMesh.from_group make one")
    group_of("Head", mesh)
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool):
        raise TypeError(f"Head: seed was {describe(seed)}; wanted an integer")
    return Sharding(loss, mesh, int(seed), check)
