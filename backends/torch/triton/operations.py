"""The kernels as operations of PyTorch: what a compiler takes for one, and knows the results of.

Their blocks are chosen when they run, so a graph serves any number of samples. Numbers come as arrays of one, which a
graph need not fix; and nothing is changed that was given.
"""

from typing import Any

import torch

from anglos.arrays.library import store
from anglos.arrays.tile import Product, Tile

from . import blocks, choice
from .operands import PRODUCT, array_of, arrays_of, product_of, scratch_for, sums_of, tile_of

_fixed: Any = torch.compiler.assume_constant_result
way_on = _fixed(choice.way_on)


def way_of(product: Product) -> str | None:
    """As `choice.way_of`, in a graph."""
    reason = choice.against_arrays(product.prototypes, product.points)
    way: str | None = way_on(product.points.dtype, product.points.device, reason)
    return way


def rest_terms(tile: Tile, way: str, shift: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """As `rest.rest_terms`."""
    made = _kept(tile, rest_terms_of(shift, *arrays_of(tile), way=way, kept=_type_kept(tile)))
    return made[0] if shift is None else shift, made[-1]


def rest_shares(tile: Tile, way: str, total: torch.Tensor) -> Any:
    """As `rest.rest_shares`."""
    return rest_shares_of(total, *arrays_of(tile), way=way)


def terms_both_ways(tile: Tile, way: str, shift: torch.Tensor | None, of_classes: torch.Tensor | None) -> Any:
    """As `rest.terms_both_ways`."""
    made = terms_both_ways_of(shift, of_classes, *arrays_of(tile), way=way)
    own, others = (made[:-2], made[-2:]) if of_classes is None else (made[:-1], [of_classes, made[-1]])
    return own if shift is None else [shift, *own], others


def shares_both_ways(tile: Tile, way: str, *by: torch.Tensor) -> Any:
    """As `rest.shares_both_ways`."""
    return shares_both_ways_of(*by, *arrays_of(tile), way=way)


def rest_sums(tile: Tile, way: str, of: str) -> torch.Tensor:
    """As `rest.rest_sums`."""
    return _kept(tile, rest_sums_of(*arrays_of(tile), way=way, of=of, kept=_type_kept(tile)))[0]


def rest_slopes(tile: Tile, way: str, of: str, factor: Any) -> Any:
    """As `rest.rest_slopes`."""
    arrays = arrays_of(tile)
    return rest_slopes_of(array_of(factor, product_of(arrays).labels), *arrays, way=way, of=of)


def _kept(tile: Tile, made: list[torch.Tensor]) -> list[torch.Tensor]:
    """What is made, without the terms, if they are kept: those go where the tile keeps them."""
    if tile.kept is None:
        return made
    store(tile.kept, made[-1])
    return made[:-1]


def _type_kept(tile: Tile) -> torch.dtype | None:
    return None if tile.kept is None else tile.kept.dtype


def _operation(name: str, schema: str) -> Any:
    """The decorator of what becomes one, which changes nothing that it is given."""
    return torch.library.custom_op(f"anglos::{name}", mutates_args=(), schema=schema)


@_operation("rest_terms", f"(Tensor? shift, {PRODUCT}, *, str way, ScalarType? kept) -> Tensor[]")
def rest_terms_of(shift: torch.Tensor | None, *arrays: Any, way: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    """The shift unless it is given; the sums; and the terms of a type, if they are asked for."""
    from . import rest

    tile = tile_of(arrays, kept)
    return _made(tile, *rest.rest_terms(tile, way, shift)[shift is not None:])


@_operation("rest_shares", f"(Tensor total, {PRODUCT}, *, str way) -> Tensor")
def rest_shares_of(total: torch.Tensor, *arrays: Any, way: str) -> torch.Tensor:
    """The shares."""
    from . import rest

    return rest.rest_shares(tile_of(arrays), way, total)


@_operation("terms_both_ways", f"(Tensor? shift, Tensor? of_classes, {PRODUCT}, *, str way) -> Tensor[]")
def terms_both_ways_of(shift: torch.Tensor | None, of_classes: torch.Tensor | None, *arrays: Any, way: str
                       ) -> list[torch.Tensor]:
    """Shifts unless they are given, and sums."""
    from . import rest

    own, others = rest.terms_both_ways(tile_of(arrays), way, shift, of_classes)
    return [*own[shift is not None:], *others[of_classes is not None:]]


@_operation("shares_both_ways", f"(Tensor total, Tensor factor, Tensor of_classes, Tensor by_class, {PRODUCT}, "
                                "*, str way) -> Tensor")
def shares_both_ways_of(*arrays: Any, way: str) -> torch.Tensor:
    """The shares."""
    from . import rest

    return rest.shares_both_ways(tile_of(arrays[4:]), way, *arrays[:4])


@_operation("rest_sums", f"({PRODUCT}, *, str way, str of, ScalarType? kept) -> Tensor[]")
def rest_sums_of(*arrays: Any, way: str, of: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    """The sums; and the slopes in a type, if they are asked for."""
    from . import rest

    tile = tile_of(arrays, kept)
    return _made(tile, rest.rest_sums(tile, way, of))


@_operation("rest_slopes", f"(Tensor? factor, {PRODUCT}, *, str way, str of) -> Tensor")
def rest_slopes_of(factor: torch.Tensor | None, *arrays: Any, way: str, of: str) -> torch.Tensor:
    """The slopes."""
    from . import rest

    return rest.rest_slopes(tile_of(arrays), way, of, factor)


@rest_terms_of.register_fake
def _(shift: torch.Tensor | None, *arrays: Any, way: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    return _made(tile_of(arrays, kept), *[sums_of(arrays) for _ in range(1 + (shift is None))])


@terms_both_ways_of.register_fake
def _(shift: torch.Tensor | None, of_classes: torch.Tensor | None, *arrays: Any, way: str) -> list[torch.Tensor]:
    return [*[sums_of(arrays) for _ in range(1 + (shift is None))],
            *[sums_of(arrays, "prototypes") for _ in range(1 + (of_classes is None))]]


@shares_both_ways_of.register_fake
def _(*arrays: Any, way: str) -> torch.Tensor:
    return scratch_for(arrays[4:], torch.bfloat16 if way == blocks.HALF else torch.float32)


@rest_sums_of.register_fake
def _(*arrays: Any, way: str, of: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    return _made(tile_of(arrays, kept), sums_of(arrays))


@rest_shares_of.register_fake
@rest_slopes_of.register_fake
def _(_: torch.Tensor | None, *arrays: Any, way: str, of: str = "") -> torch.Tensor:
    return scratch_for(arrays, torch.bfloat16 if way == blocks.HALF else torch.float32)


def _made(tile: Tile, *sums: torch.Tensor) -> list[torch.Tensor]:
    return [*sums] if tile.kept is None else [*sums, tile.kept]
