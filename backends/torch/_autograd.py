"""A loss as an autograd.Function whose backward is differentiable again."""

import dataclasses
import functools
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from typing import Any

import torch

from anglos.call.plan import Plan

_NUMPY = find_spec("numpy") is not None


class Differentiable(torch.autograd.Function):
    """Losses of the rows, then the residuals: outputs, so that autograd frees them with the graph."""

    generate_vmap_rule = True

    @staticmethod
    def forward(plan: Plan, memo: dict[str, Any] | None, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        if memo is not None and _are_small(plan, arrays):
            # Copies: numpy() would pin a storage that fully_shard must free, and fill again elsewhere.
            inputs = tuple([array.clone().numpy() for array in arrays])
            small = _in_numpy(plan)
            with small.backend.errstate():
                step = small.prepare(inputs)
                per_sample, residuals = small.forward(inputs, step)
            memo["small"] = small, inputs, residuals, step
            count = plan.loss.engine.count(residuals)
            return _tensor(small, per_sample), *(() if count is None else (_tensor(small, count),))
        with without_autocast(arrays):
            step = plan.prepare(arrays)
            per_sample, residuals = plan.forward(arrays, step)
        if memo is not None:
            memo["remembered"] = step.remembered()  # nothing of the size of W may outlive the backward pass
        return per_sample, *(residual.clone() if residual is per_sample else residual for residual in residuals)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        ctx.plan, ctx.memo, *arrays = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays, *output[1:])

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, ...]:
        plan = ctx.plan
        count = len(plan.names)
        if g is None:
            return (None,) * (count + 2)
        saved = ctx.saved_tensors  # once: torch.utils.checkpoint unpacks a tensor only once
        arrays, residuals = saved[:count], saved[count:]
        needs = frozenset(name for name, need in zip(plan.names, ctx.needs_input_grad[2:], strict=True)
                          if need and name in plan.with_gradient)
        memo = ctx.memo or {}
        # As is_grads_batched makes it.
        compiling = torch.compiler.is_compiling()
        batched = not compiling and torch._C._functorch.is_legacy_batchedtensor(g)
        if "small" in memo and not (torch.is_grad_enabled() or batched or compiling):
            small, inputs, numbers, step = memo["small"]
            with small.backend.errstate():
                found = small.backward(g.resolve_neg().numpy(), inputs, numbers, needs, step)
            return None, None, *(_tensor(small, found[name]) if name in found else None for name in plan.names)
        # The residuals carry no graph: where this gradient is itself differentiated they would give a wrong
        # second derivative without a word, so they are computed anew.
        anew = torch.is_grad_enabled() or batched or "small" in memo
        if "small" in memo:
            small, _, numbers, _ = memo["small"]
            residuals = tuple([None if number is None else _tensor(small, number) for number in numbers])
        with without_autocast(arrays), torch.set_grad_enabled(torch.is_grad_enabled() or batched):
            gradients = plan.backward(g, arrays, residuals, needs, anew=anew, remembered=memo.get("remembered"))
        return None, None, *(gradients.get(name) for name in plan.names)


class WithHint(Differentiable):
    """The same, but for what forward mode is told. A compiler refuses every class that has a `jvp`."""

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> None:
        name = ctx.plan.loss.name
        raise NotImplementedError(f"{name}: was differentiated in forward mode, for which its gradient is no help; "
                                  f"wanted anglos.{name}.plain, which takes the same arguments")


class Untransformed(torch.autograd.Function):
    """The same without a `setup_context`, which transformations need, and for which `apply` binds a signature."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[torch.Tensor, ...]:
        outputs = Differentiable.forward(*inputs)
        Differentiable.setup_context(ctx, inputs, outputs)
        return outputs

    backward = staticmethod(Differentiable.backward)
    jvp = staticmethod(WithHint.jvp)


@functools.lru_cache(256)
def _in_numpy(plan: Plan) -> Plan:
    from anglos.backends.numpy import backend

    return dataclasses.replace(plan, backend=backend)


def _tensor(small: Plan, array: Any) -> torch.Tensor:
    """A copy: what a user does to it must not change what is kept. Not by as_tensor, which obeys a default device."""
    return torch.from_numpy(small.backend.xp.array(array))


def _are_small(plan: Plan, arrays: tuple[torch.Tensor, ...]) -> bool:
    """Whether PyTorch would be busy with calls more than with numbers; NumPy's cost a third of its."""
    backend: Any = plan.backend
    for array in arrays:
        if array.numel() > backend.small or (array.ndim and array.shape[0] > 512) or not backend.readable(array):
            return False
        if array.is_neg() or array.dtype is torch.bfloat16 or array.dtype is torch.float16:
            return False
    return _NUMPY


def without_autocast(arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
    """Autocast would round the logits to bfloat16; the engine chooses its types itself."""
    device = arrays[0].device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
