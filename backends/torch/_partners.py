"""Kernels in the place of what is done with the partners of rows, one pass for all of it."""

from collections.abc import Callable
from typing import Any

import torch

from anglos.arrays.partners import Partners
from anglos.arrays.tile import Term

from ._row_kernels import RowKernels
from ._seen import graph_is_made, seen_by_dynamo_alone


class PartnerKernels(RowKernels):
    """Partners are found on the device: how many there are is never read."""

    def meets_partners(self, vectors: torch.Tensor, number: Callable[[], torch.Tensor]) -> bool:
        return self._has_kernels(vectors) or super().meets_partners(vectors, number)

    def _has_kernels(self, vectors: torch.Tensor) -> bool:
        """Of ranks that share a batch all say the same, also one that has none."""
        if seen_by_dynamo_alone():
            return self.makes_operations(vectors)
        if graph_is_made() or not self.on_cuda(vectors) or vectors.dtype is torch.float64:
            return False
        from .triton.choice import against_arrays, against_recording, way_on

        reason = against_recording() or (against_arrays(vectors) if vectors.numel() else None)
        return way_on(vectors.dtype, vectors.device, reason) is not None

    def makes_operations(self, like: torch.Tensor) -> bool:
        """Whether a graph may have some of such arrays."""
        if not self.on_cuda(like) or like.dtype is torch.float64:
            return False
        from .triton.operations import way_on

        return way_on(like.dtype, like.device, None) is not None

    def partner_terms(self, partners: Partners) -> Any:
        if not self._has_kernels(partners.others):
            return super().partner_terms(partners)
        return _kernels().partner_terms(partners)

    def partner_sums(self, partners: Partners, term: Term, above: torch.Tensor) -> Any:
        if not self._has_kernels(partners.others):
            return super().partner_sums(partners, term, above)
        return _kernels().partner_sums(partners, term.name, above)

    def partner_pull(self, partners: Partners, term: Term, above: torch.Tensor, weight: torch.Tensor | None = None,
                     less: torch.Tensor | None = None) -> Any:
        if not self._has_kernels(partners.others):
            return super().partner_pull(partners, term, above, weight, less)
        return _kernels().partner_pull(partners, term.name, above, weight, less)


def _kernels() -> Any:
    """Themselves, or as operations of a graph."""
    if graph_is_made():
        from .triton import partner_operations

        return partner_operations
    from .triton import partners

    return partners
