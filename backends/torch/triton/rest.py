"""The exponentials of all classes but the label's, and sums of other terms, as `anglos.arrays.softmax` has them."""

from typing import Any

import torch
from triton import cdiv

from anglos.arrays.tile import Tile

from . import blocks
from .launch import Terms

Sums = tuple[torch.Tensor, torch.Tensor]


def rest_terms(tile: Tile, way: str, shift: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """A shift and Σ e^(z − shift), with the terms times u where they are kept.

    The largest logits are known when all are: terms by them take a second pass.
    """
    assert tile.product is not None
    terms = Terms(tile.product, way, tile.scratch)
    if shift is None:
        shift, total = combined(*terms.made(None, None))
        if tile.kept is None:
            return shift, total
    _, totals = terms.made(shift, tile.kept)
    return shift, totals.sum(dim=0)


def rest_shares(tile: Tile, way: str, total: torch.Tensor) -> torch.Tensor:
    """Shares e^(z − total), at most 1, times u."""
    product, out = tile.product, scratch_of(tile, way)
    assert product is not None
    Terms(product, way, out).made(total, out, shares=True)
    return out


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
    out = scratch_of(tile, way)
    Terms(tile.product, way, out, "both ways", factor).made(
        total, out, shares=True, class_shift_ptr=of_classes.contiguous(), class_factor_ptr=class_factor.contiguous())
    return out


def rest_sums(tile: Tile, way: str, of: str) -> torch.Tensor:
    """Σ f(z), with the slopes times u where they are kept."""
    assert tile.product is not None
    _, totals = Terms(tile.product, way, tile.scratch, of).made(None, tile.kept)
    return totals.sum(dim=0)  # type: ignore[no-any-return]


def rest_slopes(tile: Tile, way: str, of: str, factor: Any) -> torch.Tensor:
    """Slopes f′(z) times u and the factor."""
    product, out = tile.product, scratch_of(tile, way)
    assert product is not None
    if factor is not None and not isinstance(factor, torch.Tensor):
        factor = out.new_full((1,), factor, dtype=torch.float32)
    Terms(product, way, out, of, factor).made(None, out, shares=True)
    return out


def scratch_of(tile: Tile, way: str) -> torch.Tensor:
    """Where they go: in bfloat16 where the gradient multiplies numbers of 16 bits."""
    scratch: torch.Tensor | None = tile.scratch
    if scratch is not None and way != blocks.HALF:
        return scratch
    assert tile.product is not None
    shape = len(tile.product.prototypes), len(tile.product.points)
    dtype = torch.bfloat16 if way == blocks.HALF else torch.float32
    return torch.empty(shape, dtype=dtype, device=tile.product.points.device)


def combined(largest: torch.Tensor, totals: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Of strips of classes, (strips, B): the largest logit, and Σ e^(z − that)."""
    # At least the lowest finite number: of nothing but the label's class it must not give ∞ − ∞.
    shift = largest.amax(dim=0).clamp_(min=torch.finfo(largest.dtype).min)
    return shift, totals.mul_(largest.sub_(shift).exp_()).sum(dim=0)


def _summed(shift: torch.Tensor | None, largest: torch.Tensor | None, totals: torch.Tensor) -> Sums:
    if shift is None:
        assert largest is not None
        return combined(largest, totals)
    return shift, totals.sum(dim=0)
