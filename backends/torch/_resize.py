"""Another number of classes: a new parameter, and what an optimizer keeps of the old one."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch

from anglos.call.kinds import describe

# The state of a new class before its first step, from its group and its new rows; 0 of any other name.
_STARTS: dict[str, Callable[[dict[str, Any], torch.Tensor], Any]] = {
    "sum": lambda group, rows: group.get("initial_accumulator_value", 0.0),  # Adagrad
    "step_size": lambda group, rows: group.get("lr", 0.0),                   # Rprop
    "ax": lambda group, rows: rows,                                          # ASGD's mean of the parameter
}


def resized(tensor: torch.Tensor, count: int, start: Any = 0.0) -> torch.Tensor:
    """The first rows; any beyond them as given."""
    new = torch.empty((count, *tensor.shape[1:]), dtype=tensor.dtype, device=tensor.device)
    new[:len(tensor)] = tensor.detach()[:count]
    new[len(tensor):] = start
    return new


def replacement(name: str, old: torch.Tensor, count: int, start: float) -> torch.Tensor:
    """A Parameter or a buffer of so many rows in place of the old one; any beyond its own as given."""
    if type(old) not in (torch.Tensor, torch.nn.Parameter):
        raise TypeError(f"Head: {name} was {describe(old)}; wanted a Parameter, before fully_shard")
    if not isinstance(old, torch.nn.Parameter):
        return resized(old, count, start)
    if old._backward_hooks or old._post_accumulate_grad_hooks:
        raise TypeError(f"Head: {name} had hooks, which another Parameter would not have; wanted resize_classes before "
                        "they are registered")
    new = torch.nn.Parameter(resized(old, count, start), requires_grad=old.requires_grad)
    vars(new).update(vars(old))
    return new


def exchange(optimizer: torch.optim.Optimizer, pairs: list[tuple[str, torch.Tensor, torch.Tensor]]) -> None:
    """New parameters in place of the old ones, with their states. Refused as a whole, or done as a whole."""
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"Head: optimizer was {describe(optimizer)}; wanted a torch.optim.Optimizer")
    kind = describe(optimizer)
    # Its history is of all parameters in one vector, and its products are of vectors that are gone: it starts again.
    flat = isinstance(optimizer, torch.optim.LBFGS)
    lists = [group["params"] for group in optimizer.param_groups]
    states = {}
    for name, old, new in pairs:
        group = next((one for one in optimizer.param_groups if _holds(one["params"], old)), None)
        if group is None and old.requires_grad:
            raise ValueError(f"Head: optimizer was {kind} without {name}; wanted the one that trains it")
        for attribute, value in vars(optimizer).items():
            ours = attribute in ("param_groups", "state") or any(value is one for one in lists)
            if not ours and _holds(value, old):
                raise TypeError(f"Head: optimizer was {kind}, which has {name} in its {attribute} too; wanted one that "
                                "has it in param_groups alone")
        if old in optimizer.state and not flat:
            states[old] = _state(kind, name, optimizer.state[old], old, new, group or {})
    for _, old, new in pairs:
        for group in optimizer.param_groups:
            group["params"][:] = [new if one is old else one for one in group["params"]]  # a list that it may share
        if old in states:
            del optimizer.state[old]
            optimizer.state[new] = states[old]
    if flat:
        optimizer.state.clear()
        optimizer._numel_cache = None  # type: ignore[attr-defined]


def _holds(value: Any, parameter: torch.Tensor) -> bool:
    """Whether a parameter, or an optimizer that may hold it, is somewhere in containers."""
    if isinstance(value, dict):
        return _holds([*value.keys(), *value.values()], parameter)
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(_holds(one, parameter) for one in value)
    return value is parameter or isinstance(value, torch.optim.Optimizer)


def _state(kind: str, name: str, state: dict[str, Any], old: torch.Tensor, new: torch.Tensor,
           group: dict[str, Any]) -> dict[str, Any]:
    """What an optimizer keeps of a parameter, with as many rows as the new one has."""
    found = {}
    for key, value in state.items():
        of_classes: bool | None = False
        if type(value) is torch.Tensor:
            of_classes = _has_classes(value.shape, old.shape)
        elif not (value is None or isinstance(value, (bool, int, float, str))):
            of_classes = None
        if of_classes is None:
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
            raise TypeError(f"Head: optimizer was {kind}, whose {key} of {name} is {describe(value)}{shape}; wanted "
                            "numbers, and tensors with a row for every class or for none")
        start = _STARTS[key](group, new.detach()[len(old):]) if key in _STARTS else 0.0
        found[key] = resized(value, len(new), start) if of_classes else value
    return found


def _has_classes(shape: torch.Size, whole: torch.Size) -> bool | None:
    """Whether a state of this shape has a row for every class of a parameter; None if that cannot be told."""
    if shape in (whole, ()):
        return shape == whole
    if len(shape) == len(whole):  # a mean over some of the axes
        means = all(one in (1, all_of) for one, all_of in zip(shape, whole, strict=True))
        return shape[0] == whole[0] if means and whole[0] > 1 else None
    if math.prod(shape) == 1:
        return False
    found = {0 in axes for axes in itertools.combinations(range(len(whole)), len(shape))  # without some of the axes
             if shape == tuple(whole[axis] for axis in axes)}
    return found.pop() if len(found) == 1 else None
