"""What PyTorch makes of functions, as far as ranks cannot go along."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from .._seen import graph_is_made


def check_transforms(loss: str, arrays: Mapping[str, Any]) -> None:
    """Refuse the transformations through which ranks cannot be asked, or DTensors not be taken."""
    if graph_is_made():
        return
    if torch.autograd.forward_ad._current_level >= 0:
        raise NotImplementedError(f"{loss}: was differentiated in forward mode over ranks; wanted torch.autograd.grad, "
                                  "torch.func.grad or torch.func.vjp")
    functorch = torch._C._functorch
    for transform in functorch.get_interpreter_stack() or ():
        if transform.key() == functorch.TransformType.Vmap:
            raise NotImplementedError(f"{loss}: was mapped over by torch.func.vmap over ranks; wanted a call for each")
        for name, array in arrays.items():
            if isinstance(array, DTensor):
                raise NotImplementedError(f"{loss}: {name} was a DTensor inside torch.func; wanted "
                                          "torch.autograd.grad, or this rank's part of it, with num_classes")
