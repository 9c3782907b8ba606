"""The kernels as operations of PyTorch: what a compiler takes for one, and knows the results of.

Their blocks are chosen when they run, so a graph serves any number of samples. Numbers come as arrays of one, which a
graph need not fix; and nothing is changed that was given.
"""

from typing import Any

import torch

from anglos.arrays.library import store
from anglos.arrays.tile import Map, Product, Tile

from . import blocks, choice

_PRODUCT = ("Tensor prototypes, Tensor points, Tensor scale, Tensor? sample_factor, Tensor? class_factor, "
            "Tensor? bias, Tensor labels, SymInt first, float largest_factor, Tensor? numbers, str? map, "
            "Tensor[] of_map")

_fixed: Any = torch.compiler.assume_constant_result
way_on = _fixed(choice.way_on)


def way_of(product: Product) -> str | None:
    """As `choice.way_of`, in a graph."""
    reason = choice.against_arrays(product.prototypes, product.points)
    way: str | None = way_on(product.points.dtype, product.points.device, reason)
    return way


def rest_terms(tile: Tile, way: str, shift: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """As `rest.rest_terms`."""
    made = _kept(tile, rest_terms_of(shift, *_arrays(tile), way=way, kept=_type_kept(tile)))
    return made[0] if shift is None else shift, made[-1]


def rest_shares(tile: Tile, way: str, total: torch.Tensor) -> Any:
    """As `rest.rest_shares`."""
    return rest_shares_of(total, *_arrays(tile), way=way)


def rest_sums(tile: Tile, way: str, of: str) -> torch.Tensor:
    """As `rest.rest_sums`."""
    return _kept(tile, rest_sums_of(*_arrays(tile), way=way, of=of, kept=_type_kept(tile)))[0]


def rest_slopes(tile: Tile, way: str, of: str, factor: Any) -> Any:
    """As `rest.rest_slopes`."""
    return rest_slopes_of(_array(tile, factor), *_arrays(tile), way=way, of=of)


def _kept(tile: Tile, made: list[torch.Tensor]) -> list[torch.Tensor]:
    """What is made, without the terms, if they are kept: those go where the tile keeps them."""
    if tile.kept is None:
        return made
    store(tile.kept, made[-1])
    return made[:-1]


def _type_kept(tile: Tile) -> torch.dtype | None:
    return None if tile.kept is None else tile.kept.dtype


def _arrays(tile: Tile) -> tuple[Any, ...]:
    """The product without numbers but for that of the first class, and of its map the name and the numbers."""
    product = tile.product
    assert product is not None
    *arrays, of = product._replace(scale=_array(tile, product.scale), bias=_array(tile, product.bias))
    return (*arrays, None, []) if of is None else (*arrays, of.name, [_array(tile, one) for one in of.numbers])


def _product(arrays: Any) -> Product:
    """What they were made of."""
    name, numbers = arrays[-2:]
    of = None if name is None else Map(name, tuple(numbers), lambda backend, cos: None)
    return Product(*(*arrays[:-2], of))


def _array(tile: Tile, number: Any) -> Any:
    assert tile.product is not None
    if number is None or isinstance(number, torch.Tensor):
        return number
    return tile.product.labels.new_ones((), dtype=torch.float32) * number  # not full(), which would fix it


def _operation(name: str, schema: str) -> Any:
    """The decorator of what becomes one, which changes nothing that it is given."""
    return torch.library.custom_op(f"anglos::{name}", mutates_args=(), schema=schema)


@_operation("rest_terms", f"(Tensor? shift, {_PRODUCT}, *, str way, ScalarType? kept) -> Tensor[]")
def rest_terms_of(shift: torch.Tensor | None, *arrays: Any, way: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    """The shift unless it is given; the sums; and the terms of a type, if they are asked for."""
    from . import rest

    tile = _tile(arrays, kept)
    return _made(tile, *rest.rest_terms(tile, way, shift)[shift is not None:])


@_operation("rest_shares", f"(Tensor total, {_PRODUCT}, *, str way) -> Tensor")
def rest_shares_of(total: torch.Tensor, *arrays: Any, way: str) -> torch.Tensor:
    """The shares."""
    from . import rest

    return rest.rest_shares(_tile(arrays), way, total)


@_operation("rest_sums", f"({_PRODUCT}, *, str way, str of, ScalarType? kept) -> Tensor[]")
def rest_sums_of(*arrays: Any, way: str, of: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    """The sums; and the slopes in a type, if they are asked for."""
    from . import rest

    tile = _tile(arrays, kept)
    return _made(tile, rest.rest_sums(tile, way, of))


@_operation("rest_slopes", f"(Tensor? factor, {_PRODUCT}, *, str way, str of) -> Tensor")
def rest_slopes_of(factor: torch.Tensor | None, *arrays: Any, way: str, of: str) -> torch.Tensor:
    """The slopes."""
    from . import rest

    return rest.rest_slopes(_tile(arrays), way, of, factor)


@rest_terms_of.register_fake
def _(shift: torch.Tensor | None, *arrays: Any, way: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    return _made(_tile(arrays, kept), *[_sums(arrays) for _ in range(1 + (shift is None))])


@rest_sums_of.register_fake
def _(*arrays: Any, way: str, of: str, kept: torch.dtype | None) -> list[torch.Tensor]:
    return _made(_tile(arrays, kept), _sums(arrays))


@rest_shares_of.register_fake
@rest_slopes_of.register_fake
def _(_: torch.Tensor | None, *arrays: Any, way: str, of: str = "") -> torch.Tensor:
    return _room(arrays, torch.bfloat16 if way == blocks.HALF else torch.float32)


def _sums(arrays: Any) -> torch.Tensor:
    points = _product(arrays).points
    return torch.empty(points.shape[0], dtype=torch.float32, device=points.device)


def _made(tile: Tile, *sums: torch.Tensor) -> list[torch.Tensor]:
    return [*sums] if tile.kept is None else [*sums, tile.kept]


def _tile(arrays: Any, kept: torch.dtype | None = None) -> Tile:
    """What kernels ask of one."""
    room = None if kept is None else _room(arrays, kept)
    return Tile(None, lambda terms, value: terms, lambda: None, room, room, _product(arrays))


def _room(arrays: Any, dtype: torch.dtype) -> torch.Tensor:
    product = _product(arrays)
    shape = product.prototypes.shape[0], product.points.shape[0]
    return torch.empty(shape, dtype=dtype, device=product.points.device)
