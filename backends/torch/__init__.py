"""PyTorch: autograd, autocast, compiled and transformed functions, and a layer."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from anglos.call.plan import Plan

# Not by their full names, under which a type checker does not find them in this repository.
from . import _namespace as xp
from ._autograd import Differentiable, Untransformed, WithHint, without_autocast
from ._head import Head
from ._seen import graph_is_made
from ._tensors import Tensors

__all__ = ["Head", "PyTorch", "backend"]


class PyTorch(Tensors):
    """Losses are registered with autograd, outside of autocast."""

    def differentiable(self, plan: Plan, arrays: tuple[torch.Tensor, ...]
                       ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        differentiated = torch.is_grad_enabled() and any(array.requires_grad for array in arrays)
        if not differentiated:
            plan = plan.for_value_only()
        transformed = torch._C._are_functorch_transforms_active()
        compiling = torch.compiler.is_compiling()
        tracing = graph_is_made() and not compiling
        # Dynamo does not trace `without_autocast` in a Function that nobody differentiates; torch.jit traces none.
        if tracing or (compiling and not differentiated and not transformed):
            with without_autocast(arrays):
                return plan.forward(arrays)
        if (torch.compiler.is_dynamo_compiling() and differentiated and not transformed
                and plan.means.keep_bytes < _bytes_of_pairs(arrays)):
            # A compiler would see that the gradient computes the logits again, and keep them all instead.
            per_sample, *residuals = checkpoint(Differentiable.apply, plan, None, *arrays, use_reentrant=False)
            return per_sample, tuple(residuals)
        # What a graph is made of must be tensors, but for what nobody traces.
        function = Differentiable if compiling else WithHint if transformed else Untransformed
        memo: dict[str, Any] | None = None if compiling or transformed else {}
        per_sample, *residuals = function.apply(plan, memo, *arrays)  # type: ignore[no-untyped-call]
        return per_sample, tuple(residuals)

    def plain(self, arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
        return without_autocast(arrays)

    @contextmanager
    def untracked(self, arrays: tuple[torch.Tensor, ...]) -> Iterator[None]:
        with torch.no_grad(), without_autocast(arrays):
            yield


def _bytes_of_pairs(arrays: tuple[torch.Tensor, ...]) -> int:
    """Of one number for every row and every vector of the longest array."""
    longest = max(array.numel() // array.shape[-1] for array in arrays if array.ndim > 1)
    size = max(4, *(array.element_size() for array in arrays if array.is_floating_point()))
    return arrays[0].shape[0] * longest * size


backend = PyTorch("torch", xp)
