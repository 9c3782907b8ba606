"""What the engines ask of tensors."""

import itertools
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from anglos.arrays.library import Spec
from anglos.engines.numerics import shortest

from . import _namespace as xp
from ._places import Places
from ._seen import graph_is_made, recorded, spec_in, traced


class Tensors(Places):
    """Tensors may be looked at if they are on a processor and real, and be changed if nothing records what is done."""

    at_once = True

    small = 1 << 14
    """Numbers in a tensor up to which NumPy computes a call."""

    def spec(self, array: torch.Tensor) -> Spec:
        return spec_in(self, array)

    def device(self, array: torch.Tensor) -> torch.device:
        return array.device

    def asarray(self, number: float, like: torch.Tensor, dtype: Any) -> torch.Tensor:
        return torch.full((), number, dtype=dtype, device=like.device)  # asarray would read a size that may change

    def arange(self, count: int, like: torch.Tensor) -> torch.Tensor:
        return torch.arange(count, dtype=like.dtype, device=like.device)

    def on_processor(self, array: torch.Tensor) -> bool:
        """Whether its numbers are computed by who asks for them; another device has them when it comes to that."""
        return array.is_cpu

    def readable(self, array: torch.Tensor) -> bool:
        return self.on_processor(array) and not traced(array)

    def bounds(self, array: torch.Tensor) -> tuple[Any, ...] | None:
        if not self.readable(array):
            return None
        offset = 2**63 if array.dtype in (torch.uint16, torch.uint32, torch.uint64) else 0  # which it cannot compare
        array = array.to(torch.int64) ^ -offset if offset else array
        return tuple(one.item() + offset for one in torch.aminmax(array.detach()))

    def surely_above(self, array: torch.Tensor, bound: Any) -> bool:
        return self.readable(array) and bool((array > bound).all())

    def class_tile_width(self, like: torch.Tensor, samples: int, dimension: int, classes: int, keep: bool) -> int:
        if not self.on_processor(like) or graph_is_made():
            # Kept exponentials have one shift, which several tiles could not agree on without waiting for the GPU.
            return classes if keep else max(1, (1 << 24) // max(samples, dimension))
        # All threads share a tile: smaller products would not keep them busy. Over more than 2¹⁶ classes, as rows of
        # few numbers would have, float32 sums lose digits.
        return max(1, min(1 << 16, (1 << 24) // (samples + 4 * dimension)))

    def tiles(self, count: int, width: int) -> list[tuple[int, int]]:
        if not graph_is_made():
            return super().tiles(count, width)
        # Every tile becomes a part of the graph, so they are few. The sizes of a batch are compared, not read:
        # the graph then serves every batch that needs as many.
        number = 1
        while number < 16 and number * width < count:
            number *= 2
        return [(count * place // number, count * (place + 1) // number) for place in range(number)]

    def makes_unit(self, w: torch.Tensor, samples: int) -> bool:
        # A compiler makes one pass of the factors and what follows, and one graph serves batches on either side.
        return not graph_is_made() and super().makes_unit(w, samples)

    def changes_arrays(self) -> bool:
        return not recorded()

    def inverse_lengths(self, x: torch.Tensor) -> Any:
        if recorded():
            return None
        dtype = x.dtype if x.element_size() > 2 else torch.float32
        largest = torch.linalg.vector_norm(x, torch.inf, dim=-1, keepdim=True, dtype=dtype)  # no copy
        usable = largest > shortest(torch, dtype)
        near = x / xp.where(usable, largest, 1.0)
        inverse = torch.linalg.vector_norm(near, dim=-1, keepdim=True).reciprocal_().div_(largest)
        return xp.where(usable, inverse, 0.0)

    def product(self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        return torch.mm(a, b, out=out)

    def multiply(self, a: torch.Tensor, b: Any, out: torch.Tensor | None = None) -> torch.Tensor:
        return a * b if out is None or recorded() else torch.mul(a, b, out=out)

    def add(self, a: torch.Tensor, b: Any, out: torch.Tensor | None = None) -> torch.Tensor:
        return a + b if out is None or recorded() else torch.add(a, b, out=out)

    def add_product(self, total: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return super().add_product(total, a, b) if recorded() else total.addcmul_(a, b)

    def project_out(self, direction: torch.Tensor, vectors: torch.Tensor, factor: torch.Tensor | None = None,
               scratch: torch.Tensor | None = None) -> Any:
        if recorded():
            return super().project_out(direction, vectors, factor)
        if factor is not None and not self.readable(direction):  # its square might overflow, unseen
            direction, factor, scratch = torch.mul(direction, factor, out=scratch), None, None
        step = max(1, (1 << 19) * len(vectors) // max(vectors.numel(), 1))  # rows that stay in a near cache
        square = itertools.repeat(None) if factor is None else torch.split(torch.mul(factor, factor), step)
        for u, v, by in zip(torch.split(direction, step), torch.split(vectors, step), square, strict=False):
            out = None if scratch is None else scratch[:len(u)]  # the same rows, which are still near
            along = torch.mul(u, v, out=out).sum(dim=-1, keepdim=True)
            v.addcmul_(u, along if by is None else along.mul_(by), value=-1)
        return vectors

    def dot(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        if a is b and not recorded():
            return torch.linalg.vector_norm(a, dim=-1).square_()  # one pass
        return torch.sum(a * b, dim=-1)

    def exponential(self, logits: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return torch.exp(logits - shift) if recorded() else logits.sub_(shift).exp_()

    def probability(self, logits: torch.Tensor, total: torch.Tensor, out: torch.Tensor | None = None) -> Any:
        if recorded():
            return super().probability(logits, total)
        return torch.sub(logits, total, out=out).clamp_(max=0.0).exp_()

    def softplus(self, x: torch.Tensor) -> Any:
        return None if recorded() else torch.nn.functional.softplus(x, threshold=40.0)  # above it, it is x

    def log_add_exp(self, a: torch.Tensor, b: torch.Tensor) -> Any:
        return None if recorded() else torch.logaddexp(a, b)

    def sigmoid(self, x: torch.Tensor) -> Any:
        return None if recorded() else torch.sigmoid(x)

    def maximum(self, a: torch.Tensor, b: Any) -> Any:
        if recorded():
            return super().maximum(a, b)
        return a.maximum(b) if isinstance(b, torch.Tensor) else a.clamp(min=b)

    def minimum(self, a: torch.Tensor, b: Any) -> Any:
        if recorded():
            return super().minimum(a, b)
        return a.minimum(b) if isinstance(b, torch.Tensor) else a.clamp(max=b)

    def stop_gradient(self, array: torch.Tensor) -> torch.Tensor:
        return array.detach()

    def errstate(self) -> AbstractContextManager[Any]:
        return nullcontext()  # a compiler does not trace NumPy's
