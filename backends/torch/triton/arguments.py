"""What kernels are given: vectors whose numbers are next to each other, and arrays or numbers."""

from typing import Any

import torch
from triton import cdiv


def rows(vectors: torch.Tensor) -> torch.Tensor:
    """The same, with the numbers of a vector next to each other."""
    return vectors if vectors.stride(1) == 1 else vectors.contiguous()


def aligned(vectors: torch.Tensor) -> torch.Tensor:
    """The same, each at a place that 16 divides: from others a kernel would read one number after the other."""
    if vectors.stride(1) == 1 and vectors.stride(0) % 16 == 0:
        return vectors
    count, dimension = vectors.shape
    return vectors.new_empty(count, cdiv(dimension, 16) * 16)[:, :dimension].copy_(vectors)


def vector(value: Any, count: int) -> torch.Tensor | None:
    """An array of one number each, or of one for all, as the former; None for what is no array."""
    if not isinstance(value, torch.Tensor):
        return None
    return value.to(torch.float32).reshape(-1).expand(count).contiguous()


def number(value: Any) -> float:
    """What is no array."""
    return 0.0 if value is None or isinstance(value, torch.Tensor) else float(value)
