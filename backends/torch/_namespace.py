"""The array API standard as array_api_compat has it for PyTorch, except for what torch.compile cannot trace there."""

from typing import Any

import torch
from array_api_compat.torch import *  # noqa: F403


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
