"""Terms of a tile both of its samples over the classes and of its classes over the samples: of a symmetric loss."""

import torch
from triton import cdiv

from anglos.arrays.tile import Tile

from .rest import Terms, combined, room_of_shares

Sums = tuple[torch.Tensor, torch.Tensor]


def terms_both_ways(tile: Tile, way: str, shift: torch.Tensor | None, of_classes: torch.Tensor | None
                    ) -> tuple[Sums, Sums]:
    """As `Softmax.terms_both_ways`."""
    assert tile.product is not None
    terms = Terms(tile.product, way, tile.scratch, "both ways")
    parts = cdiv(terms.samples, terms.block(shift is None).samples), terms.classes
    class_totals = torch.empty(parts, dtype=torch.float32, device=terms.points.device)
    class_largest = torch.empty_like(class_totals) if of_classes is None else None
    largest, totals = terms.made(
        shift, None, class_shift_ptr=of_classes, class_top_ptr=class_largest, class_total_ptr=class_totals)
    return _summed(shift, largest, totals), _summed(of_classes, class_largest, class_totals)


def shares_both_ways(tile: Tile, way: str, total: torch.Tensor, factor: torch.Tensor, of_classes: torch.Tensor,
                     class_factor: torch.Tensor) -> torch.Tensor:
    """As `Softmax.shares_both_ways`."""
    assert tile.product is not None
    out = room_of_shares(tile, way)
    Terms(tile.product, way, out, "both ways", factor).made(
        total, out, shares=True, class_shift_ptr=of_classes.contiguous(), class_factor_ptr=class_factor.contiguous())
    return out


def _summed(shift: torch.Tensor | None, largest: torch.Tensor | None, totals: torch.Tensor) -> Sums:
    if shift is None:
        assert largest is not None
        return combined(largest, totals)
    return shift, totals.sum(dim=0)
