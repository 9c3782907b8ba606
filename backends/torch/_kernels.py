"""Kernels in the place of the operations that they fuse, where they serve. None is imported before they do."""

from typing import Any

import torch

from anglos.arrays.tile import Term, Tile

from ._partners import PartnerKernels
from ._seen import graph_is_made, seen_by_dynamo_alone

_TERMS = frozenset(("softplus", "half square"))
_MAPS = frozenset(("power", "above a threshold"))
"""That kernels have."""


class Kernels(PartnerKernels):
    """Exponentials of a tile, and sums of other terms, of a product that nobody has made yet."""

    def way_of_kernels(self, tile: Tile) -> str | None:
        """How kernels make the products of a tile; None where they do not."""
        product = tile.product
        if tile.logits is not None or product is None or not self.on_cuda(product.points):
            return None
        if product.map is not None and product.map.name not in _MAPS:
            return None
        if seen_by_dynamo_alone():
            from .triton.operations import way_of
        elif graph_is_made():
            return None  # and no words about that
        else:
            from .triton.choice import way_of

        return way_of(product)

    def kept_terms(self, like: torch.Tensor, fused: bool, *shape: int) -> torch.Tensor | None:
        # What an operation makes a compiler keeps only if it is told to.
        if fused and seen_by_dynamo_alone() and self.makes_operations(like):
            return like.new_empty(shape)
        return super().kept_terms(like, fused, *shape)

    def rest_terms(self, tile: Tile, shift: torch.Tensor | None = None) -> Any:
        way = self.way_of_kernels(tile)
        if way is None:
            return super().rest_terms(tile, shift)
        return _kernels().rest_terms(tile, way, shift)

    def rest_shares(self, tile: Tile, total: torch.Tensor) -> Any:
        way = self.way_of_kernels(tile)
        if way is None:
            return super().rest_shares(tile, total)
        return _kernels().rest_shares(tile, way, total)

    def terms_both_ways(self, tile: Tile, shift: torch.Tensor | None = None, of_classes: torch.Tensor | None = None
                        ) -> Any:
        way = self.way_of_kernels(tile)
        if way is None:
            return super().terms_both_ways(tile, shift, of_classes)
        return _kernels().terms_both_ways(tile, way, shift, of_classes)

    def shares_both_ways(self, tile: Tile, *by: torch.Tensor) -> Any:
        way = self.way_of_kernels(tile)
        if way is None:
            return super().shares_both_ways(tile, *by)
        return _kernels().shares_both_ways(tile, way, *by)

    def rest_sums(self, tile: Tile, term: Term) -> Any:
        way = self.way_of_kernels(tile) if term.name in _TERMS else None
        if way is None:
            return super().rest_sums(tile, term)
        return _kernels().rest_sums(tile, way, term.name)

    def rest_slopes(self, tile: Tile, term: Term, factor: Any = None) -> Any:
        way = self.way_of_kernels(tile) if term.name in _TERMS else None
        if way is None:
            return super().rest_slopes(tile, term, factor)
        return _kernels().rest_slopes(tile, way, term.name, factor)


def _kernels() -> Any:
    """Themselves, or as operations of a graph."""
    if graph_is_made():
        from .triton import operations

        return operations
    from .triton import rest

    return rest
