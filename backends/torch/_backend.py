"""PyTorch's backend: how a loss is registered with autograd, wherever it is called."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

from anglos.arrays.backend import Computation
from anglos.call.plan import Plan

from . import _namespace as xp
from . import _small
from ._autograd import Differentiable, Untransformed, WithHint, without_autocast
from ._kernels import Kernels
from ._seen import graph_is_made, seen_by_a_mode


class PyTorch(Kernels):
    """Losses are registered with autograd, outside of autocast."""

    draws_by = "a torch.Generator on the device of the labels, or None for the default one"

    def uniform(self, rng: Any, count: int, like: torch.Tensor) -> torch.Tensor | None:
        if rng is not None and not (isinstance(rng, torch.Generator) and rng.device.type == like.device.type):
            return None
        return torch.rand(count, generator=rng, dtype=torch.float32, device=like.device)

    def differentiable(self, plan: Computation, arrays: tuple[torch.Tensor, ...]
                       ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        assert isinstance(plan, Plan)
        differentiated = torch.is_grad_enabled() and any(array.requires_grad for array in arrays)
        transformed = torch._C._are_functorch_transforms_active()
        compiling = torch.compiler.is_compiling()
        # Dynamo does not trace `without_autocast` in a Function that is not differentiated; torch.jit traces none.
        if (graph_is_made() and not compiling) or (compiling and not differentiated and not transformed):
            with without_autocast(arrays):
                return plan.forward(arrays) if differentiated else plan.value(arrays)
        seen = compiling or transformed  # a graph is made of tensors alone
        # Not for a subclass, whose hooks NumPy would not use.
        small = type(self) is PyTorch and not seen and _small.are_small(plan, arrays)
        # A mode that makes a graph would make no_grad a part of it, and others may differentiate that.
        if not (differentiated or seen or seen_by_a_mode() or torch.autograd.forward_ad._current_level >= 0):
            return _small.value(plan, arrays) if small else _value(plan, arrays)
        plan = plan if differentiated else replace(plan, keep_bytes=0)
        if compiling:
            per_sample, *residuals = _compiled(plan, arrays, differentiated and not transformed)
        else:
            function: Any = WithHint if transformed else _small.Small if small else Untransformed
            per_sample, *residuals = function.apply(plan, *arrays)
        return per_sample, tuple(residuals)

    def plain(self, arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
        return without_autocast(arrays)

    @contextmanager
    def untracked(self, arrays: tuple[torch.Tensor, ...]) -> Iterator[None]:
        with torch.no_grad(), without_autocast(arrays):
            yield


def _value(plan: Plan, arrays: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """Where nobody records what is done, so that tensors may be changed in place."""
    with torch.no_grad(), without_autocast(arrays):
        return plan.value(arrays)


def _compiled(plan: Plan, arrays: tuple[torch.Tensor, ...], plainly: bool) -> Any:
    """Under a compiler, which would see that the gradient computes the logits again, and keep them all instead."""
    # Dynamo refuses a tensor that a Function takes twice, and under torch.func.grad loses the gradient of an argument.
    arrays = tuple([array if plainly and not any(array is other for other in arrays[:place]) else array.view_as(array)
                    for place, array in enumerate(arrays)])
    if torch.compiler.is_dynamo_compiling() and plainly and plan.keep_bytes < _bytes_of_pairs(arrays):
        # To PyTorch a function that chooses is worth a warning, which is spared those who have no kernels.
        chooses: dict[str, Any] = {"context_fn": _KEEPING} if backend.makes_operations(arrays[0]) else {}
        return checkpoint(Differentiable.apply, plan, *arrays, use_reentrant=False, **chooses)
    return Differentiable.apply(plan, *arrays)  # type: ignore[no-untyped-call]


def _keeps(_: Any, operation: Any, *arguments: Any, **named: Any) -> CheckpointPolicy:
    """What kernels return for every sample is small, and took a product; all else is computed again."""
    ours = operation.namespace == "anglos"
    return CheckpointPolicy.MUST_SAVE if ours else CheckpointPolicy.PREFER_RECOMPUTE


_KEEPING = partial(create_selective_checkpoint_contexts, _keeps)


def _bytes_of_pairs(arrays: tuple[torch.Tensor, ...]) -> int:
    """Of one number for every sample and every vector of the longest array."""
    longest = max(array.numel() // array.shape[-1] for array in arrays if array.ndim > 1)
    size = max(4, *(array.element_size() for array in arrays if array.is_floating_point()))
    return arrays[0].shape[0] * longest * size


backend = PyTorch("torch", xp)
