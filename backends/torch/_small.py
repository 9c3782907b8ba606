"""Small calls, which NumPy computes: PyTorch would be busy with calls more than with numbers."""

import functools
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch

from anglos.call.plan import Plan
from anglos.engines.contract import pack

from ._autograd import WithHint, backward, is_differentiated, needs_of, save

numpy: Any = import_module("numpy") if find_spec("numpy") else None


def are_small(plan: Plan, arrays: tuple[torch.Tensor, ...]) -> bool:
    """Whether a call is one; NumPy's cost a third of PyTorch's."""
    backend: Any = plan.backend
    for array in arrays:
        if array.numel() > backend.small or (array.ndim and array.shape[0] > 512) or not backend.readable(array):
            return False
        if array.is_neg() or array.dtype is torch.bfloat16 or array.dtype is torch.float16:
            return False
    return numpy is not None


def value(plan: Plan, arrays: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
    """The loss of every sample, where no gradient will follow; then how many terms are in each, if that is not one."""
    small = _in_numpy(plan)
    with small.backend.errstate():
        per_sample, *counts = _outputs(small, *small.value(_copies(arrays)))
    return per_sample, tuple(counts)


class Small(torch.autograd.Function):
    """As `Untransformed`."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        small, inputs = _in_numpy(plan), _copies(arrays)
        with small.backend.errstate():
            step = small.prepare(inputs)
            per_sample, saved = small.loss.engine.forward(step)
        outputs = _outputs(small, per_sample, saved)
        save(ctx, plan, arrays, outputs)
        ctx.small = small, inputs, saved, step
        return outputs

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, ...]:
        plan, (small, inputs, saved, step), needs = ctx.plan, ctx.small, needs_of(ctx)
        if g is None:
            return (None,) * (1 + len(plan.names))
        arrays = ctx.saved_tensors[:len(plan.names)]
        if is_differentiated(g) or torch.compiler.is_compiling():
            return None, *backward(plan, g, arrays, tuple(map(_tensor, pack(saved))), needs, anew=True)
        with small.backend.errstate():
            found = small.gradients(step, saved, g.resolve_neg().numpy(), inputs, needs)
        return None, *(_tensor(found[name]) if name in found else None for name in plan.names)

    jvp = staticmethod(WithHint.jvp)


@functools.lru_cache(256)
def _in_numpy(plan: Plan) -> Plan:
    from anglos.backends.numpy import backend

    return replace(plan, backend=backend)


def _copies(arrays: tuple[torch.Tensor, ...]) -> tuple[Any, ...]:
    """Of the storages: numpy() would pin one that fully_shard must free, and fill again elsewhere."""
    return tuple([array.clone().numpy() for array in arrays])


def _outputs(small: Plan, per_sample: Any, saved: tuple[Any, ...]) -> tuple[torch.Tensor, ...]:
    """What a Function returns."""
    count = small.loss.engine.count(saved)
    return (_tensor(per_sample),) if count is None else (_tensor(per_sample), _tensor(count))


def _tensor(array: Any) -> torch.Tensor:
    """A copy: what a user does to it must not change what is kept. Not by as_tensor, which obeys a default device."""
    return torch.from_numpy(numpy.array(array))
