"""The array API standard as array_api_compat has it for PyTorch, except for what torch.compile cannot trace there."""

from typing import Any

import torch
from array_api_compat.torch import *  # noqa: F403
from array_api_compat.torch import cumulative_sum as _cumulative_sum


def clip(x: torch.Tensor, min: Any = None, max: Any = None) -> torch.Tensor:
    """Not by way of math.isnan, which limits cannot be asked that are variables."""
    return torch.clamp(x, min, max)


def take_along_axis(x: torch.Tensor, indices: torch.Tensor, axis: Any = -1) -> torch.Tensor:
    """Not by torch.take_along_dim, which makes constants of the sizes of a batch."""
    return torch.gather(x, axis, indices)


def result_type(first: Any, second: Any) -> Any:
    """Of two types, which is all that is asked, in a tenth of the time."""
    return torch.promote_types(first, second)


def concat(arrays: Any, axis: int = 0) -> torch.Tensor:
    """By the name for which `is_grads_batched` has a rule."""
    return torch.cat(tuple(arrays), dim=axis)


def cumulative_sum(x: torch.Tensor, *, axis: int, include_initial: bool = False) -> torch.Tensor:
    """Not by way of array_namespace, which looks up a type."""
    return _cumulative_sum(x, axis=axis, include_initial=True) if include_initial else torch.cumsum(x, axis)
