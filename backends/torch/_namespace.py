"""The array API standard as array_api_compat has it for PyTorch, except for what torch.compile cannot trace there."""

import builtins
from typing import Any

import torch
from array_api_compat.torch import *  # noqa: F403
from array_api_compat.torch import cumulative_sum as _cumulative_sum

from ._seen import transformed

_INT, _FLOAT = builtins.int, builtins.float  # for here these are dtypes
_NUMBERS = frozenset((_INT, _FLOAT))
_made: dict[Any, torch.Tensor] = {}


def clip(x: torch.Tensor, min: Any = None, max: Any = None) -> torch.Tensor:
    """Not by way of math.isnan, which limits cannot be asked that are variables."""
    return torch.clamp(x, min, max)


def full_like(x: torch.Tensor, number: Any) -> torch.Tensor:
    """Of a number that may be a variable, of which PyTorch's own makes a constant."""
    return torch.zeros_like(x) + number if torch.compiler.is_compiling() else torch.full_like(x, number)


def take_along_axis(x: torch.Tensor, indices: torch.Tensor, axis: Any = -1) -> torch.Tensor:
    """Not by torch.take_along_dim, which makes constants of the sizes of a batch."""
    return torch.gather(x, axis, indices)


def take(x: torch.Tensor, indices: torch.Tensor, axis: int = 0) -> torch.Tensor:
    """Of places from 0 on, which are all that is asked: others would be looked for first."""
    return torch.index_select(x, axis, indices)


def where(condition: torch.Tensor, x1: Any, x2: Any) -> torch.Tensor:
    """With a number that is on the device: PyTorch would make it there for every call, by an operation of its own."""
    if type(x1) in _NUMBERS and type(x2) not in _NUMBERS:
        x1 = _number(x1, x2)
    elif type(x2) in _NUMBERS and type(x1) not in _NUMBERS:
        x2 = _number(x2, x1)
    return torch.where(condition, x1, x2)


def _number(number: Any, like: torch.Tensor) -> Any:
    """The number in the type of an array and beside it: one for all calls, unless these tensors stand for others."""
    key = number, like.dtype, like.device
    if transformed():
        return number
    made = _made.get(key)
    if made is None:
        # What is made while CUDA captures a graph has no value before that is replayed.
        capturing = like.is_cuda and torch.cuda.is_current_stream_capturing()
        # None is ever let go: a captured graph, or another stream, may still read it.
        if capturing or len(_made) >= 256 or not (like.is_floating_point() or type(number) is _INT):
            return number
        with torch.inference_mode(False):  # copied, which waits: it is there for whoever uses another stream
            made = _made[key] = torch.full((), number, dtype=like.dtype, device="cpu").to(like.device)
    return made


def result_type(first: Any, second: Any) -> Any:
    """Of two types, which is all that is asked, in a tenth of the time."""
    return torch.promote_types(first, second)


def concat(arrays: Any, axis: int = 0) -> torch.Tensor:
    """By the name for which `is_grads_batched` has a rule."""
    return torch.cat(tuple(arrays), dim=axis)


def cumulative_sum(x: torch.Tensor, *, axis: int, include_initial: bool = False) -> torch.Tensor:
    """Not by way of array_namespace, which looks up a type."""
    return _cumulative_sum(x, axis=axis, include_initial=True) if include_initial else torch.cumsum(x, axis)
