"""Kernels in the place of the operations that they fuse, where they serve. None is imported before they do."""

from collections.abc import Callable
from typing import Any

import torch

from anglos.arrays.tile import Term, Tile
from anglos.engines.numerics import shortest

from ._low_precision import LowPrecision
from ._seen import graph_is_made, seen_by_dynamo_alone

_TERMS = frozenset(("softplus", "half square"))
"""That kernels have."""


class Kernels(LowPrecision):
    """Exponentials of a tile, and sums of other terms, of a product that nobody has made yet; and the way back."""

    def way_of_kernels(self, tile: Tile) -> str | None:
        """How kernels make the products of a tile; None where they do not."""
        product = tile.product
        if tile.logits is not None or product is None or not self.on_cuda(product.points):
            return None
        if seen_by_dynamo_alone():
            from .triton.operations import way_of
        elif graph_is_made():
            return None  # and no words about that
        else:
            from .triton.choice import way_of

        return way_of(product)

    def makes_operations(self, like: torch.Tensor) -> bool:
        """Whether a graph may have some of such arrays."""
        if not self.on_cuda(like) or like.dtype is torch.float64:
            return False
        from .triton.operations import way_on

        return way_on(like.dtype, like.device, None) is not None

    def kept_terms(self, like: torch.Tensor, fused: bool, *shape: int) -> torch.Tensor | None:
        # What an operation makes a compiler keeps only if it is told to.
        if fused and seen_by_dynamo_alone() and self.makes_operations(like):
            return like.new_empty(shape)
        return super().kept_terms(like, fused, *shape)

    def both_ways(self, tile: Tile, turned: Tile) -> tuple[Tile, Tile]:
        return super().both_ways(tile, turned) if self.way_of_kernels(tile) is None else (tile, turned)

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

    def inverse_lengths(self, x: torch.Tensor) -> Any:
        if graph_is_made() or not self.on_cuda(x):
            return super().inverse_lengths(x)
        from .triton.choice import reason_against

        if reason_against(x) is not None:
            return super().inverse_lengths(x)
        from .triton.lengths_of_rows import inverses

        return inverses(x, shortest(torch, torch.float32))

    def product_of_factors(self, product: Callable[..., torch.Tensor], a: torch.Tensor, b: torch.Tensor,
                           factor: torch.Tensor) -> Any:
        if not graph_is_made() and self.on_cuda(b):
            from .triton.choice import reason_against

            if reason_against(a, b, factor, of_one_type=False) is None:
                from .triton.short_rows import with_short_rows

                return with_short_rows(product(a, b), a.T, b, factor)
        return super().product_of_factors(product, a, b, factor)

    def direction_pullback(self, product: Callable[..., torch.Tensor], slopes: torch.Tensor, samples: torch.Tensor,
                           direction: torch.Tensor, factor: torch.Tensor | None, after: torch.Tensor | None,
                           rounded: bool = False, out: torch.Tensor | None = None, scratch: torch.Tensor | None = None
                           ) -> Any:
        way = None
        if not graph_is_made() and self.on_cuda(direction):
            from .triton.choice import way_of_pullback

            way = way_of_pullback(slopes, samples, direction, rounded)
        if way is None:
            return super().direction_pullback(product, slopes, samples, direction, factor, after, rounded, out, scratch)
        from .triton.weights_pullback import direction_pullback

        return direction_pullback(product, slopes, samples, direction, factor, after, way, out)


def _kernels() -> Any:
    """Themselves, or as operations of a graph."""
    if graph_is_made():
        from .triton import operations

        return operations
    from .triton import rest

    return rest
