"""Numbers of 16 bits on CUDA, which are multiplied as they are, by units that are many times faster: no digit is lost.

The product of two of them is a number of float32, and so are their sums.
"""

from typing import Any

import torch

from ._seen import recorded, seen_by_dynamo_alone
from ._tensors import Tensors


class LowPrecision(Tensors):
    """Not where what is done is recorded: derivatives of such products would be rounded again."""

    def on_cuda(self, array: torch.Tensor) -> bool:
        """Whether kernels could be run where it is: ROCm's devices are called so too."""
        return array.is_cuda and torch.version.hip is None

    def multiplies_as_is(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        return a.dtype is b.dtype and a.dtype.itemsize == 2 and self._is_plain(a)

    def _is_plain(self, array: torch.Tensor) -> bool:
        """Whether it is there, and nobody differentiates what is done with it."""
        return self.on_cuda(array) and (seen_by_dynamo_alone() or not recorded())

    def product(self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        return self.unrounded(a, b, out) if self.multiplies_as_is(a, b) else super().product(a, b, out)

    def unrounded(self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None) -> torch.Tensor:
        """The product of numbers of 16 bits, in float32."""
        return torch.mm(a, b, out_dtype=torch.float32, out=out)

    def bfloat16_product(self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
        rounded, dtype = (a.to(torch.bfloat16), b.to(torch.bfloat16)), torch.promote_types(a.dtype, torch.float32)
        if dtype is torch.float32 and self._is_plain(a):
            return self.unrounded(*rounded, out)
        product = torch.mm(*rounded).to(dtype)
        return product if out is None else out.copy_(product)

    def empty_like(self, array: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        return array if array.dtype is dtype else array.new_empty(0, dtype=dtype)

    def rounded_like(self, like: torch.Tensor) -> Any:
        # Not float16, in which a term that is smaller than the largest by 10⁻⁸ would vanish.
        return like.new_empty(0, dtype=torch.bfloat16) if self._is_plain(like) else like
