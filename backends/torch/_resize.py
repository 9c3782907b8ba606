"""Another number of classes: a new parameter, and what an optimizer keeps of the old one."""

import itertools
import math
from collections.abc import Callable
from typing import Any

import torch

from anglos.call.kinds import describe

from ._head_values import is_sharded

# The state of a new class before its first step, from its group and its new rows; 0 of any other name.
STARTS: dict[str, Callable[[dict[str, Any], torch.Tensor], Any]] = {
    "sum": lambda group, rows: group.get("initial_accumulator_value", 0.0),  # Adagrad
    "step_size": lambda group, rows: group.get("lr", 0.0),                   # Rprop
    "ax": lambda group, rows: rows,                                          # ASGD's mean of the parameter
}


def resized(tensor: torch.Tensor, count: int, start: Any = 0.0) -> torch.Tensor:
    """The first rows; any beyond them as given."""
    if is_sharded(tensor):
        from .sharding.rows import moved

        return moved(tensor, count, start)
    new = torch.empty((count, *tensor.shape[1:]), dtype=tensor.dtype, device=tensor.device)
    new[:len(tensor)] = tensor.detach()[:count]
    new[len(tensor):] = start
    return new


def check_replaceable(owner: torch.nn.Module, name: str, old: torch.Tensor, sharded: bool) -> None:
    """Refuse what has no other in its place, or would not be the same with another number of rows."""
    if name not in owner._parameters and name not in owner._buffers:
        raise TypeError(f"Head: {name} was {describe(old)} that something else computes; wanted a Parameter")
    if type(old) not in (torch.Tensor, torch.nn.Parameter) and not (sharded and is_sharded(old)):
        raise TypeError(f"Head: {name} was {describe(old)}; wanted a Parameter, before fully_shard")
    if isinstance(old, torch.nn.Parameter) and (old._backward_hooks or old._post_accumulate_grad_hooks):
        raise TypeError(f"Head: {name} had hooks, which another Parameter would not have; wanted resize_classes before "
                        "they are registered")


def replacement(old: torch.Tensor, count: int, start: float) -> torch.Tensor:
    """A Parameter or a buffer of so many rows in place of the old one; any beyond its own as given."""
    new = resized(old, count, start)
    if not isinstance(old, torch.nn.Parameter):
        return new
    new = torch.nn.Parameter(new, requires_grad=old.requires_grad)
    vars(new).update({name: value for name, value in vars(old).items() if name not in vars(new)})
    return new


def kept_by(optimizer: torch.optim.Optimizer | None, old: dict[str, torch.Tensor]
            ) -> dict[str, tuple[str, ...]]:
    """What an optimizer keeps of each Parameter with a row for every class; refused where it could not go on."""
    if optimizer is None:
        return {}
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise TypeError(f"Head: optimizer was {describe(optimizer)}; wanted a torch.optim.Optimizer")
    kind = describe(optimizer)
    lists = [group["params"] for group in optimizer.param_groups]
    found = {}
    for name, parameter in old.items():
        if not isinstance(parameter, torch.nn.Parameter):
            continue
        if param_group_of(optimizer, parameter) is None and parameter.requires_grad:
            raise ValueError(f"Head: optimizer was {kind} without {name}; wanted the one that trains it")
        for attribute, value in vars(optimizer).items():
            ours = attribute in ("param_groups", "state") or any(value is one for one in lists)
            if not ours and _holds(value, parameter):
                raise TypeError(f"Head: optimizer was {kind}, which has {name} in its {attribute} too; wanted one that "
                                "has it in param_groups alone")
        if parameter in optimizer.state and not _is_flat(optimizer):
            found[name] = _of_classes(kind, name, optimizer.state[parameter], parameter)
    return found


def exchange(optimizer: torch.optim.Optimizer | None, kept: dict[str, tuple[str, ...]],
             old: dict[str, torch.Tensor], new: dict[str, torch.Tensor]) -> None:
    """New parameters in place of the old ones, with what was kept of these."""
    if optimizer is None:
        return
    for name, of_classes in kept.items():
        group, count = param_group_of(optimizer, old[name]) or {}, len(new[name])
        rows = new_rows(new[name], len(old[name]))
        starts = {key: STARTS[key](group, rows) for key in STARTS.keys() & set(of_classes)}
        state = optimizer.state.pop(old[name])
        optimizer.state[new[name]] = {key: resized(value, count, starts.get(key, 0.0)) if key in of_classes else value
                                      for key, value in state.items()}
    replaced = {id(old[name]): new[name] for name in old}
    for group in optimizer.param_groups:
        group["params"][:] = [replaced.get(id(one), one) for one in group["params"]]  # a list that it may share
    if _is_flat(optimizer):
        optimizer.state.clear()
        optimizer._numel_cache = None  # type: ignore[attr-defined]


def _is_flat(optimizer: torch.optim.Optimizer) -> bool:
    """Whether its history is of all parameters in one vector: products of vectors that are gone, so it starts again."""
    return isinstance(optimizer, torch.optim.LBFGS)


def new_rows(tensor: torch.Tensor, old: int) -> torch.Tensor:
    """The rows beyond the old ones; of a sharded tensor this rank's."""
    if is_sharded(tensor):
        from .sharding.rows import share_in

        share = share_in(tensor.device_mesh, len(tensor))
        return tensor.detach().to_local()[max(0, old - share.first):]  # type: ignore[attr-defined, no-any-return]
    return tensor.detach()[old:]


def param_group_of(optimizer: torch.optim.Optimizer, parameter: torch.Tensor) -> Any:
    """The group that has it, or None."""
    return next((one for one in optimizer.param_groups if _holds(one["params"], parameter)), None)


def _holds(value: Any, parameter: torch.Tensor) -> bool:
    """Whether a parameter, or an optimizer that may hold it, is somewhere in containers."""
    if isinstance(value, dict):
        return _holds([*value.keys(), *value.values()], parameter)
    if isinstance(value, (list, tuple, set, frozenset)):
        return any(_holds(one, parameter) for one in value)
    return value is parameter or isinstance(value, torch.optim.Optimizer)


def _of_classes(kind: str, name: str, state: dict[str, Any], old: torch.Tensor) -> tuple[str, ...]:
    """Of what an optimizer keeps of a parameter, what has a row for every class."""
    found = []
    for key, value in state.items():
        of_classes = has_rows(value, old)
        if of_classes is None:
            shape = f" of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else ""
            raise TypeError(f"Head: optimizer was {kind}, whose {key} of {name} is {describe(value)}{shape}; wanted "
                            "numbers, and tensors with a row for every class or for none")
        found += [key] if of_classes else []
    return tuple(found)


def has_rows(value: Any, parameter: torch.Tensor) -> bool | None:
    """Whether a state has a row for every class of a parameter, and is cut as that is; None if that cannot be told."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return False
    if type(value) is not torch.Tensor and not is_sharded(value):
        return None
    found = _shape_has_rows(value.shape, parameter.shape)
    return found if is_sharded(value) == (bool(found) and is_sharded(parameter)) else None


def _shape_has_rows(shape: torch.Size, whole: torch.Size) -> bool | None:
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
