"""What an optimizer keeps of the rows of a parameter, and what stands in its groups."""

from typing import Any

import torch

from anglos.call.kinds import describe

from ._head_values import is_sharded
from ._resize import has_rows

_PARTS = 16
_BY_NUMBER = frozenset((
    torch.optim.Adadelta, torch.optim.Adagrad, torch.optim.Adam, torch.optim.AdamW, torch.optim.Adamax,
    torch.optim.ASGD, torch.optim.NAdam, torch.optim.RAdam, torch.optim.RMSprop, torch.optim.Rprop, torch.optim.SGD))
"""Optimizers to which every number is one of its own."""


def replace_in(optimizer: torch.optim.Optimizer, old: tuple[torch.Tensor, ...], new: tuple[torch.Tensor, ...]) -> None:
    """The new in the place of the old, which stand one after the other."""
    for group in optimizer.param_groups:
        group["params"][:] = [each for one in group["params"] for each in (
            new if one is old[0] else (one,) if all(one is not other for other in old) else ())]


def parts_of(rows: torch.nn.Parameter, optimizer: torch.optim.Optimizer) -> tuple[torch.nn.Parameter, ...]:
    """Views to be stepped on one after the other, for which an optimizer needs less memory at once; or the rows.

    Those of a rank stay together: in their group all may have to be DTensors, of which each costs time.
    """
    if type(optimizer) not in _BY_NUMBER or is_sharded(rows) or rows.grad is None:
        return (rows,)
    size = 64 * -(-len(rows) // (64 * _PARTS))  # as a vector of a processor ends, which may round otherwise than one
    parts = tuple([torch.nn.Parameter(part) for part in torch.split(rows.detach(), size)])
    for part, gradient in zip(parts, torch.split(rows.grad, size), strict=True):
        part.grad = gradient
    return parts


def is_per_row(name: str, key: str, value: Any, parameter: torch.Tensor) -> bool:
    """Whether a state has something of every row; refused where that cannot be told."""
    found = has_rows(value, parameter)
    if found is None:
        shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
        raise TypeError(f"SampledRows: {key} of {name} in the optimizer was {describe(value)}{shape}; wanted numbers, "
                        "and tensors with something of every row or of none")
    return found
