"""Some rows of a tensor that has one for every class; of a sharded one some of this rank's."""

from typing import Any

import torch

from ._head_values import is_sharded


def local(tensor: Any) -> torch.Tensor:
    """What this rank has of it."""
    found: torch.Tensor = tensor.to_local() if is_sharded(tensor) else tensor
    return found


def alike(rows: torch.Tensor, tensor: Any, total: int) -> torch.Tensor:
    """Rows as the tensor is: those of this rank, of so many on all, where it is sharded."""
    if not is_sharded(tensor):
        return rows
    from .sharding.rows import sharded

    return sharded(rows, tensor.device_mesh, total)


def rows_at(tensor: torch.Tensor, places: torch.Tensor, total: int) -> torch.Tensor:
    """Those at these places, which are this rank's own."""
    return alike(local(tensor).index_select(0, places), tensor, total)


def started(value: torch.Tensor, like: torch.Tensor, start: Any) -> torch.Tensor:
    """What a state whose rows are as these starts from, for all rows of a parameter."""
    rows = local(value).new_empty((len(local(like)), *value.shape[1:]))
    return alike(rows.copy_(local(start) if isinstance(start, torch.Tensor) else torch.tensor(start)), like, len(like))
