"""What a layer takes from a state_dict: what others called their weights, and how they laid them out."""

from collections.abc import Sequence
from typing import Any

import torch

from ._head_values import is_sharded

# The names under which others saved their weights, and whether as (D, C) in place of (C, D).
_WEIGHTS = {"weight": False, "W": True, "w": True, "kernel": True, "fc": True, "proxies": False}
# What else they saved, by its name there and here.
_TENSORS = {"batch_mean": "norm_mean", "batch_std": "norm_std", "t": "t", "bias": "bias", "b": "bias"}


def translate(state_dict: dict[str, Any], prefix: str, weight: torch.Tensor, tensors: dict[str, torch.Tensor],
              errors: list[str]) -> None:
    """Turn the names and shapes of others into ours, in a state_dict that is a copy."""
    for name, transposed in _WEIGHTS.items():
        saved = state_dict.pop(prefix + name, None)
        if saved is not None:
            state_dict[prefix + "weight"] = _weight(prefix + name, saved, transposed, weight, errors)
    for name, ours in _TENSORS.items():
        if prefix + name in state_dict and ours in tensors:
            saved, shape = state_dict.pop(prefix + name), tensors[ours].shape
            same = saved.numel() == shape.numel()
            state_dict[f"{prefix}tensors.{ours}"] = saved.reshape(shape) if same else saved
    for name, tensor in tensors.items():
        saved = state_dict.get(f"{prefix}tensors.{name}")
        if isinstance(saved, torch.Tensor) and saved.shape == tensor.shape:
            state_dict[f"{prefix}tensors.{name}"] = _fitting([saved], tensor)


def _weight(name: str, saved: Any, transposed: bool, weight: torch.Tensor, errors: list[str]) -> torch.Tensor:
    """In the shape of ours, where it can have it; if it was saved in parts, joined."""
    parts = [one.T if transposed else one for one in (saved if isinstance(saved, (list, tuple)) else [saved])]
    wanted = (weight.shape[:-1].numel(), weight.shape[-1])  # of one class one after the other
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    if (shape == weight.shape and not transposed) or shape == wanted:
        return _fitting(parts, weight)
    hint = ""
    if len(weight.shape) == len(shape) == 2 and shape[1] == wanted[1]:
        hint = f" (of other classes: make the head with {shape[0]}, load, then resize_classes({wanted[0]}))"
    shape, wanted = (shape[::-1], wanted[::-1]) if transposed else (shape, wanted)
    errors.append(f"Head: {name} was of shape {shape}; wanted {wanted}{hint}")
    return weight  # so that it is not called missing too


def _fitting(parts: Sequence[torch.Tensor], like: torch.Tensor) -> torch.Tensor:
    """As the tensor that will take it: a rank's own rows of what is whole, where that is sharded."""
    if len(parts) == 1 and parts[0].shape == like.shape and is_sharded(parts[0]) == is_sharded(like):
        return parts[0].contiguous()
    if not is_sharded(like):
        return torch.cat(list(parts)).reshape(like.shape).contiguous()
    from .sharding.rows import cut

    return cut(parts, like)
