"""PyTorch: autograd, autocast, compiled and transformed functions, and a layer."""

from contextlib import AbstractContextManager, ExitStack
from typing import Any

import array_api_compat.torch as xp
import torch

from anglos._loss import Plan

# Not by their full names, under which a type checker does not find them in this repository.
from ._autograd import Differentiable, without_autocast
from ._head import Head
from ._tensors import Tensors

__all__ = ["Head", "PyTorch", "backend"]


class PyTorch(Tensors):
    """Losses are registered with autograd, outside of autocast."""

    def differentiable(self, plan: Plan, arrays: tuple[torch.Tensor, ...]
                       ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        if not (torch.is_grad_enabled() and any(array.requires_grad for array in arrays)):
            plan = plan.for_value_only()
        # What a graph is made of must be tensors, but for what nobody traces.
        traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
        per_row, *residuals = Differentiable.apply(plan, None if traced else {}, *arrays)  # type: ignore[no-untyped-call]
        return per_row, tuple(residuals)

    def plain(self, arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
        return without_autocast(arrays)

    def untracked(self, arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(torch.no_grad())
        stack.enter_context(without_autocast(arrays))
        return stack


backend = PyTorch("torch", xp)
