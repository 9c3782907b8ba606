"""What the tensors of a layer may be set to."""

from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch.nn.utils.parametrize import is_parametrized

from anglos.arrays.dispatch import backend_of
from anglos.call.kinds import describe, refuse
from anglos.call.loss import Loss

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor


def tensors_of(loss: Loss[...], options: dict[str, Any]) -> dict[str, torch.Tensor]:
    """The options that are tensors; arrays of another library, which every call would refuse, are refused here."""
    for name, option in options.items():
        if not isinstance(option, torch.Tensor) and backend_of(option) is not None:
            refuse(f"Head({loss.name})", name, TypeError, f"was {describe(option)}", "a tensor")
    return {name: option for name, option in options.items() if isinstance(option, torch.Tensor)}


def check_tensors(loss: Loss[...], tensors: dict[str, torch.Tensor]) -> None:
    """Refuses what a layer could not use as it was given: a graph, values that are nowhere, a constant to be learnt."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.nn.Parameter):
            check_graph(loss, name, tensor)
        elif tensor.requires_grad and loss.kinds[name].frozen:
            raise ValueError(f"Head({loss.name}): {name} was a Parameter, and is a constant to the gradient; wanted a "
                             "tensor, or a Parameter with requires_grad=False")
        if tensor.is_meta:
            raise ValueError(f"Head({loss.name}): {name} was on device meta, where it has no value; wanted one, as "
                             "torch.tensor(20.0, device='cpu') has under any default device")


def check_graph(loss: Loss[...], name: str, value: Any) -> None:
    """Refuses a tensor that would be cut off from what it was computed of, if that matters to the loss."""
    if getattr(value, "requires_grad", False) and not loss.kinds[name].frozen:
        raise ValueError(f"Head({loss.name}): {name} was a tensor that requires a gradient, of which only the numbers "
                         f"would be kept; wanted head.options[{name!r}] set to it before every call, or a "
                         "torch.nn.Parameter when the head is made, which is learnt")


def fitting(loss: Loss[...], name: str, value: Any, old: torch.Tensor) -> torch.Tensor:
    """A value as a tensor that can replace the old one's numbers, by broadcasting."""
    wanted = f"wanted a number or a tensor of shape {tuple(old.shape)}"
    try:
        tensor: torch.Tensor = value if isinstance(value, torch.Tensor) else torch.as_tensor(value, device=old.device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"Head({loss.name}): {name} was {describe(value)}; {wanted}") from error
    sizes = zip(reversed(tensor.shape), reversed(old.shape), strict=False)
    if tensor.ndim > old.ndim or any(one not in (1, size) for one, size in sizes):
        raise ValueError(f"Head({loss.name}): {name} was of shape {tuple(tensor.shape)}; {wanted}")
    return tensor


def is_loaded(module: torch.nn.Module, name: str) -> bool:
    """Whether transformers is loading, and has this tensor from a checkpoint: its mark outlasts the loading.

    It guards the functions of `torch.nn.init` alone, none of which sets a tensor to given numbers.
    """
    if torch.nn.init.normal_.__module__ == "torch.nn.init":
        return False
    made_by: Any = module.parametrizations[name] if is_parametrized(module, name) else None  # type: ignore[index]
    parts = [getattr(module, name)] if made_by is None else made_by.state_dict(keep_vars=True).values()
    return all(getattr(part, "_is_hf_initialized", False) for part in parts)


def is_sharded(tensor: Any) -> TypeGuard["DTensor"]:
    """Whether a tensor is a DTensor whose rows are cut over the ranks of a mesh with one axis."""
    placements: Any = getattr(tensor, "placements", ())
    return len(placements) == 1 and bool(placements[0].is_shard(0))


def assign(module: torch.nn.Module, name: str, value: torch.Tensor) -> None:
    """Have a module's tensor hold these numbers; one that is parametrized, by its `right_inverse`."""
    old = getattr(module, name)
    with torch.no_grad():
        if hasattr(old, "placements"):  # a DTensor takes nothing but DTensors
            from torch.distributed.tensor import distribute_tensor

            value = distribute_tensor(value.to(old.device, old.dtype).expand(old.shape), old.device_mesh,
                                      old.placements, src_data_rank=None)
        if name in module._parameters or name in module._buffers:
            old.copy_(value)
        elif is_parametrized(module, name):
            setattr(module, name, torch.empty_like(old).copy_(value))  # a copy, which the inverse may hand on
        else:
            raise TypeError(f"Head: {name} was set, and is {describe(old)} that something else computes; wanted a "
                            "Parameter, a buffer, or a parametrization of one")
