"""Tensors with a row for every class, cut on these over the ranks: DTensors of placement Shard(0)."""

from collections.abc import Sequence
from math import prod
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor, Shard

from .group import Group
from .share import Share, share_of


def sharded(local: torch.Tensor, mesh: DeviceMesh, total: int) -> DTensor:
    """So many rows, of which these are a rank's own."""
    shape = (total, *local.shape[1:])
    stride = tuple(prod(shape[axis + 1:]) for axis in range(len(shape)))
    return DTensor.from_local(local, mesh, [Shard(0)], run_check=False, shape=torch.Size(shape), stride=stride)


def share_in(mesh: DeviceMesh, total: int) -> Share:
    """The rows of this rank."""
    return share_of(total, Group(mesh.get_group()))


def total_in(tensor: DTensor, here: int) -> int:
    """How many rows all ranks have, where each has as many as it says."""
    return int(Group(tensor.device_mesh.get_group()).sum(torch.tensor(here, device=tensor.device)))


def empty(shape: tuple[int, ...], mesh: DeviceMesh, device: Any, dtype: Any) -> DTensor:
    """Rows of any numbers."""
    here = share_in(mesh, shape[0]).here
    return sharded(torch.empty((here, *shape[1:]), device=device, dtype=dtype), mesh, shape[0])


def cut(parts: Sequence[torch.Tensor], like: DTensor) -> DTensor:
    """Own rows of what is whole, or in parts one after the other; of a class one row, or several."""
    share, each = share_in(like.device_mesh, len(like)), sum(map(len, parts)) // len(like)
    found, first = [parts[0][:0]], 0
    for part in parts:
        low, high = share.first * each - first, (share.first + share.here) * each - first
        found.append(part[max(low, 0):max(high, 0)])
        first += len(part)
    rows = torch.cat([one.detach() for one in found]).reshape(share.here, *like.shape[1:])
    return sharded(rows.to(like.device, like.dtype).contiguous(), like.device_mesh, len(like))


def moved(tensor: DTensor, count: int, start: Any = 0.0) -> DTensor:
    """Another number of rows: the first go to the ranks whose they are now; any beyond them as given."""
    group = Group(tensor.device_mesh.get_group())
    old, new = ([share_of(total, group, rank) for rank in range(group.size)] for total in (len(tensor), count))
    sent, received = ([_common(old[one], new[other]) for one, other in pairs] for pairs in (
        [(group.rank, rank) for rank in range(group.size)], [(rank, group.rank) for rank in range(group.size)]))
    local = tensor.to_local().detach()
    rows = local.new_empty((new[group.rank].here, *local.shape[1:]))
    rows[sum(received):] = start
    _exchange(rows[:sum(received)], local[:sum(sent)].contiguous(), received, sent, group)
    return sharded(rows, tensor.device_mesh, count)


def _common(old: Share, new: Share) -> int:
    """How many rows are in both."""
    return max(0, min(old.first + old.here, new.first + new.here) - max(old.first, new.first))


def _exchange(found: torch.Tensor, rows: torch.Tensor, received: list[int], sent: list[int], group: Group) -> None:
    if group.size == 1:
        found.copy_(rows)
    else:
        dist.all_to_all_single(found, rows, received, sent, group=group.group)
