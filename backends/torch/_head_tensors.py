"""Options of a layer that are tensors."""

from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.utils.parametrize import is_parametrized

from anglos.call.loss import Loss

from ._head_values import assign, check_graph, fitting, is_loaded, is_sharded
from ._resize import resized


class Notified(torch.nn.Module):
    """A module that hears the name of whatever is set on it, by assignment or by registration."""

    def notified(self, name: str) -> None:
        raise NotImplementedError

    def __setattr__(self, name: str, value: Any) -> None:
        self.notified(name)
        super().__setattr__(name, value)

    def register_parameter(self, name: str, param: torch.nn.Parameter | None) -> None:
        self.notified(name)
        super().register_parameter(name, param)

    def register_buffer(self, name: str, tensor: torch.Tensor | None, persistent: bool = True) -> None:
        self.notified(name)
        super().register_buffer(name, tensor, persistent)


class HeadTensors(Notified):
    """Options that are tensors: a `torch.nn.Parameter` is learnt, others are buffers. Read and set like a dict's.

    They are found by their names, whatever a tool of PyTorch has made of them: a property, a plain attribute, a
    parameter elsewhere. A call gives them all, after the hooks by which some tools compute them again.
    """

    def __init__(self, loss: Loss[...], tensors: dict[str, torch.Tensor], elsewhere: tuple[str, ...]) -> None:
        super().__init__()
        self._elsewhere = elsewhere
        self._loss = loss
        self._names: tuple[str, ...] = ()
        for name, tensor in tensors.items():
            if isinstance(tensor, torch.nn.Parameter):
                self.register_parameter(name, tensor)
            else:
                self.register_buffer(name, tensor.detach().clone())
        self._initial = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def notified(self, name: str) -> None:
        loss = vars(self).get("_loss")
        if loss is not None and name in self._elsewhere:
            raise AttributeError(f"Head({loss.name}): {name} was set in head.tensors, and given as no tensor, which "
                                 f"comes first; wanted head.options[{name!r}], or a torch.nn.Parameter when the head "
                                 "is made, which is learnt")
        if loss is not None and name in loss.defaults and name not in self._names:
            self._names = (*self._names, name)

    def forward(self) -> dict[str, torch.Tensor]:
        """Copies: a state may be set again, and a shard be freed, before the backward pass of this call."""
        return {name: self._number(name, tensor) for name, tensor in self.items()}

    def reset_parameters(self) -> None:
        """Restore the values that were given at construction."""
        for name, value in self._initial.items():
            if is_loaded(self, name):
                continue
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
        old = self[name]  # or KeyError
        check_graph(self._loss, name, value)
        assign(self, name, fitting(self._loss, name, value, old))

    def __delitem__(self, name: str) -> None:
        self[name]  # or KeyError
        raise TypeError(f"Head({self._loss.name}): {name} was to be deleted; wanted a number or a tensor for it")

    def extra_repr(self) -> str:
        return ", ".join(f"{name} of shape {tuple(tensor.shape)}" for name, tensor in self.items())

    def _number(self, name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.Tensor):
            return tensor
        is_number = tensor.shape == (1,) and "" in self._loss.kinds[name].shapes
        if is_number and is_sharded(tensor):
            raise TypeError(f"Head({self._loss.name}): {name} was a DTensor that fully_shard makes whole in `forward` "
                            "alone; wanted fully_shard of the head itself, ignored_params={head.weight} if that has a "
                            "mesh, and torch.distributed.fsdp.register_fsdp_forward_method(head, \"nearest\"), or "
                            "\"logits\"")
        return (tensor.reshape(()) if is_number else tensor).clone()  # last: of a view fully_shard warns
