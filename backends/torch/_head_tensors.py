"""Options of a layer that are tensors."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from anglos._kinds import describe
from anglos._loss import Loss

from ._resize import resized


class Told(torch.nn.Module):
    """A module that is told the name of whatever is set on it, by assignment or by registration."""

    def told(self, name: str) -> None:
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        self.told(name)
        super().__setattr__(name, value)

    def register_parameter(self, name: str, param: torch.nn.Parameter | None) -> None:
        self.told(name)
        super().register_parameter(name, param)

    def register_buffer(self, name: str, tensor: torch.Tensor | None, persistent: bool = True) -> None:
        self.told(name)
        super().register_buffer(name, tensor, persistent)


class HeadTensors(Told):
    """Options that are tensors: a `torch.nn.Parameter` is learnt, others are buffers. Read and set like a dict's.

    They are found by their names, whatever a tool of PyTorch has made of them: a property, a plain attribute, a
    parameter elsewhere. A call gives them all, after the hooks by which some tools make them anew.
    """

    def __init__(self, loss: Loss[...], tensors: dict[str, torch.Tensor]) -> None:
        super().__init__()
        self._loss = loss
        self._names: tuple[str, ...] = ()
        for name, tensor in tensors.items():
            if isinstance(tensor, torch.nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor.detach().clone())
        self._initial = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def told(self, name: str) -> None:
        loss = vars(self).get("_loss")
        if loss is not None and name in loss.defaults and name not in self._names:
            self._names = (*self._names, name)

    def forward(self) -> dict[str, torch.Tensor]:
        """Copies: a state may be set anew, and a shard be freed, before the backward pass of this call."""
        return {name: self._number(name, tensor) for name, tensor in self.items()}

    def reset_parameters(self) -> None:
        """Restore the values that were given at construction."""
        for name, value in self._initial.items():
            owner: Any = self
            place = name
            if is_parametrized(self, name):
                made_by: Any = self.parametrizations[name]  # type: ignore[index]
                if not all(hasattr(one, "right_inverse") for one in made_by):  # as when it was registered
                    owner, place = made_by, "original"
            assign(owner, place, value)

    def remember_classes(self, starts: dict[str, float], count: int) -> None:
        """Have so many numbers to restore, one for each class; new ones as given."""
        for name in self._initial.keys() & starts:
            self._initial[name] = resized(self._initial[name], count, starts[name])

    def items(self) -> tuple[tuple[str, torch.Tensor], ...]:
        found: list[tuple[str, Any]] = [(name, getattr(self, name, None)) for name in self._names]
        return tuple((name, tensor) for name, tensor in found if tensor is not None)

    def keys(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.items())

    def values(self) -> tuple[torch.Tensor, ...]:
        return tuple(tensor for _, tensor in self.items())

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()

    def __getitem__(self, name: str) -> torch.Tensor:
        tensor: torch.Tensor | None = getattr(self, name, None) if name in self._names else None
        if tensor is None:
            raise KeyError(f"Head: tensors has no {name}; wanted one of {', '.join(self) or 'none'}")
        return tensor

    def __setitem__(self, name: str, value: torch.Tensor | float) -> None:
        self[name]  # or KeyError
        check_graph(self._loss, name, value)
        assign(self, name, value)

    def extra_repr(self) -> str:
        return ", ".join(f"{name} of shape {tuple(tensor.shape)}" for name, tensor in self.items())

    def _number(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.Tensor):
            return tensor
        is_number = tensor.shape == (1,) and "" in self._loss.kinds[name].shapes
        return (tensor.reshape(()) if is_number else tensor).clone()  # last: of a view fully_shard warns


def check_tensors(loss: Loss[...], tensors: dict[str, torch.Tensor]) -> None:
    """Refuses what a layer could not keep as it was given: a graph, and values that are nowhere."""
    for name, tensor in tensors.items():
        if not isinstance(tensor, torch.nn.Parameter):
            check_graph(loss, name, tensor)
        if tensor.is_meta:
            raise ValueError(f"Head({loss.name}): {name} was on device meta, where it has no value; wanted one, as "
                             "torch.tensor(20.0, device='cpu') has under any default device")


def check_graph(loss: Loss[...], name: str, value: Any) -> None:
    """Refuses a tensor that would be cut off from what it was computed of, if that matters to the loss."""
    if getattr(value, "requires_grad", False) and not loss.kinds[name].frozen:
        raise ValueError(f"Head({loss.name}): {name} was a tensor that requires a gradient, of which only the numbers "
                         f"would be kept; wanted head.options[{name!r}] set to it before every call, or a "
                         "torch.nn.Parameter when the head is made, which is learnt")


def assign(module: torch.nn.Module, name: str, value: Any) -> None:
    """Have a module's tensor hold these numbers; one that is parametrized, by its `right_inverse`."""
    old = getattr(module, name)
    with torch.no_grad():
        value = value if isinstance(value, torch.Tensor) else torch.as_tensor(value, device=old.device)
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
