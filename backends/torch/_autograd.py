"""A loss as an autograd.Function whose backward is differentiable again."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from anglos.call.plan import Plan


class Differentiable(torch.autograd.Function):
    """Losses of the samples, then the residuals: outputs, so that autograd frees them with the graph."""

    generate_vmap_rule = True

    @staticmethod
    def forward(plan: Plan, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return _forward(plan, arrays)[1]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        plan, *arrays = inputs
        save(ctx, plan, arrays, output)

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, ...]:
        names = ctx.plan.names
        if g is None:
            return (None,) * (1 + len(names))
        saved = ctx.saved_tensors  # once: torch.utils.checkpoint unpacks a tensor only once
        arrays, residuals = saved[:len(names)], saved[len(names):]
        return None, *backward(ctx.plan, g, arrays, residuals, needs_of(ctx), is_differentiated(g), ctx.remembered)


class WithHint(Differentiable):
    """The same, with a message for forward mode. A compiler refuses every class that has a `jvp`."""

    @staticmethod
    def jvp(ctx: Any, *_: Any) -> None:
        raise NotImplementedError(
            f"{ctx.plan.loss.name}: was differentiated in forward mode, for which its gradient is no help; "
            f"wanted {ctx.plan.name}.plain, which takes the same arguments")


class Untransformed(torch.autograd.Function):
    """The same without a `setup_context`, which transformations need, and for which `apply` binds a signature."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        step, outputs = _forward(plan, arrays)
        save(ctx, plan, arrays, outputs)
        ctx.remembered = step.remembered()  # nothing of the size of W may outlive the backward pass
        return outputs

    backward = staticmethod(Differentiable.backward)
    jvp = staticmethod(WithHint.jvp)


def _forward(plan: Plan, arrays: tuple[torch.Tensor, ...]) -> tuple[Any, tuple[torch.Tensor, ...]]:
    """The step, and what a Function returns."""
    with without_autocast(arrays):
        step = plan.prepare(arrays)
        per_sample, residuals = plan.forward(arrays, step)
    return step, (per_sample, *(residual.clone() if residual is per_sample else residual for residual in residuals))


def save(ctx: Any, plan: Plan, arrays: Any, outputs: tuple[torch.Tensor, ...]) -> None:
    """What the backward pass needs."""
    ctx.plan, ctx.remembered = plan, None
    ctx.mark_non_differentiable(*outputs[1:])
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*arrays, *outputs[1:])


def needs_of(ctx: Any) -> frozenset[str]:
    """The inputs whose gradient is asked for."""
    plan = ctx.plan
    return frozenset([name for name, need in zip(plan.names, ctx.needs_input_grad[1:], strict=True)
                      if need and name in plan.with_gradient])


def is_differentiated(g: torch.Tensor) -> bool:
    """Whether the gradient is itself differentiated, or mapped over as is_grads_batched does it."""
    if torch.is_grad_enabled():
        return True
    return not torch.compiler.is_compiling() and bool(torch._C._functorch.is_legacy_batchedtensor(g))


def backward(plan: Plan, g: torch.Tensor, arrays: tuple[torch.Tensor, ...], residuals: tuple[Any, ...],
             needs: frozenset[str], anew: bool, remembered: Any = None) -> tuple[torch.Tensor | None, ...]:
    """The gradients, None where none is needed.

    The residuals carry no graph: where the gradient is itself differentiated they would give a wrong second derivative
    without a word, so they are computed anew.
    """
    with without_autocast(arrays), torch.set_grad_enabled(anew):
        gradients = plan.backward(g, arrays, residuals, needs, anew=anew, remembered=remembered)
    return tuple([gradients.get(name) for name in plan.names])


def without_autocast(arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
    """Autocast would round the logits to bfloat16; the engine chooses its types itself."""
    device = arrays[0].device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
