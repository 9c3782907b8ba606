"""PyTorch: every loss is an autograd.Function whose backward is differentiable again."""

import inspect
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

import array_api_compat.torch as xp
import torch

from anglos._backend import Backend
from anglos._loss import Loss, Plan, check_head


class _Differentiable(torch.autograd.Function):
    """Losses of the rows, then the residuals: outputs, so that autograd frees them with the graph."""

    generate_vmap_rule = True

    @staticmethod
    def forward(plan: Plan, *arrays: torch.Tensor) -> tuple[torch.Tensor, ...]:
        with _without_autocast(arrays):
            per_row, residuals = plan.forward(arrays)
        return per_row, *(residual.clone() if residual is per_row else residual for residual in residuals)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[torch.Tensor, ...]) -> None:
        ctx.plan, *arrays = inputs
        ctx.mark_non_differentiable(*output[1:])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*arrays, *output[1:])

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor | None, *_: Any) -> tuple[torch.Tensor | None, ...]:
        plan = ctx.plan
        count = len(plan.names)
        if g is None:
            return (None,) * (count + 1)
        saved = ctx.saved_tensors  # once: torch.utils.checkpoint unpacks a tensor only once
        arrays, residuals = saved[:count], saved[count:]
        needs = frozenset(name for name, need in zip(plan.names, ctx.needs_input_grad[1:], strict=True)
                          if need and not plan.loss.kinds[name].frozen)
        # The residuals carry no graph: where this gradient is itself differentiated they would give a wrong
        # second derivative without a word, so they are computed anew.
        with _without_autocast(arrays):
            gradients = plan.backward(g, arrays, None if torch.is_grad_enabled() else residuals, needs)
        return None, *(gradients.get(name) for name in plan.names)


# apply() asks for the signature at every call; looking it up here saves 10 µs.
_Differentiable.forward.__signature__ = inspect.signature(_Differentiable.forward)  # type: ignore[attr-defined]


def _without_autocast(arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
    """Autocast would round the logits to bfloat16; the engine chooses its types itself."""
    device = arrays[0].device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()


class PyTorch(Backend):
    """Autograd, autocast, and tensors that may be looked at if they are on a processor and real."""

    def device(self, array: torch.Tensor) -> torch.device:
        return array.device

    def arange(self, count: int, like: torch.Tensor) -> torch.Tensor:
        return torch.arange(count, dtype=like.dtype, device=like.device)

    def bounds(self, array: torch.Tensor) -> tuple[float, float] | None:
        if torch.compiler.is_compiling() or array.device.type != "cpu":
            return None
        # A FakeTensor or DTensor has a type of its own; what vmap and grad have wrapped has not.
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor(array)
        if wrapped or type(array) not in (torch.Tensor, torch.nn.Parameter):
            return None
        low, high = torch.aminmax(array.detach())
        return low.item(), high.item()

    def sum_by_label(self, values: torch.Tensor, labels: torch.Tensor, classes: int) -> torch.Tensor:
        return values.new_zeros(classes, values.shape[1]).index_add(0, labels, values)

    def place(self, whole: Any, part: torch.Tensor, first: int, count: int) -> Any:
        traced = torch.is_grad_enabled() or torch._C._functorch.is_functorch_wrapped_tensor(part)
        if isinstance(whole, list) or (whole is None and traced):
            return [*(whole or []), part]
        return super().place(whole, part, first, count)

    def rank(self, ordered: torch.Tensor, values: torch.Tensor, strict: bool = False) -> torch.Tensor:
        return torch.searchsorted(ordered.detach(), values.detach().contiguous(), right=not strict)

    def scatter(self, weights: torch.Tensor, columns: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(like).scatter_add(1, columns, weights)

    def stop_gradient(self, array: torch.Tensor) -> torch.Tensor:
        return array.detach()

    def differentiable(self, plan: Plan, arrays: tuple[torch.Tensor, ...]
                       ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
        per_row, *residuals = _Differentiable.apply(plan, *arrays)  # type: ignore[no-untyped-call]
        return per_row, tuple(residuals)

    def plain(self, arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
        return _without_autocast(arrays)

    def untracked(self, arrays: tuple[torch.Tensor, ...]) -> AbstractContextManager[Any]:
        stack = ExitStack()
        stack.enter_context(torch.no_grad())
        stack.enter_context(_without_autocast(arrays))
        return stack


backend = PyTorch("torch", xp)


class Head(torch.nn.Module):
    """The last layer of a network: one prototype per class, and a loss that compares embeddings with them.

    `weight` is a parameter of shape (num_classes, embedding_dim), drawn from a normal distribution of standard
    deviation 1/√embedding_dim: rows of length about 1. The options go to the loss at every call. A number or a
    word can be changed between steps: `head.options["margin"] = 0.3`. A `torch.nn.Parameter` (a learnable scale,
    say) is trained with the rest; any tensor moves and is saved with the module, as `head.tensors`.

    >>> import anglos, torch
    >>> head = Head(anglos.arcface, num_classes=10, embedding_dim=4, margin=0.3)
    >>> head(torch.eye(4), torch.tensor([0, 1, 2, 3])).shape
    torch.Size([])
    """

    def __init__(self, loss: Loss[...], num_classes: int, embedding_dim: int, *,
                 device: Any = None, dtype: Any = None, **options: Any) -> None:
        super().__init__()
        check_head(loss, num_classes, embedding_dim, options)
        self.loss, self.num_classes, self.embedding_dim = loss, num_classes, embedding_dim
        self.weight = torch.nn.Parameter(torch.empty(num_classes, embedding_dim, device=device, dtype=dtype))
        self.tensors = torch.nn.ParameterDict()
        self.options: dict[str, Any] = {}
        for name, option in options.items():
            if isinstance(option, torch.Tensor):
                learnt = isinstance(option, torch.nn.Parameter)
                self.tensors[name] = option if learnt else torch.nn.Parameter(option, requires_grad=False)
            else:
                self.options[name] = option
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the prototypes anew."""
        torch.nn.init.normal_(self.weight, std=self.embedding_dim**-0.5)

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; where both have an option, `options` comes before `tensors`."""
        value: torch.Tensor = self.loss(embeddings, self.weight, labels, **{**self.tensors, **self.options})
        return value

    def extra_repr(self) -> str:
        return ", ".join([self.loss.name, f"{self.num_classes}, {self.embedding_dim}",
                          *(f"{name}={option}" for name, option in self.options.items())])
