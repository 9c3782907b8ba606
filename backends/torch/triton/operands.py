"""What an operation of a graph is given: a tile as arrays, and a tile of these."""

from typing import Any

import torch

from anglos.arrays.tile import Map, Product, Tile

PRODUCT = ("Tensor prototypes, Tensor points, Tensor scale, Tensor? sample_factor, Tensor? class_factor, "
           "Tensor? bias, Tensor labels, SymInt first, float largest_factor, Tensor? numbers, str? map, "
           "Tensor[] of_map")
"""Their types."""


def arrays_of(tile: Tile) -> tuple[Any, ...]:
    """The product without numbers but for that of the first class, and of its map the name and the numbers."""
    product = tile.product
    assert product is not None
    scale, bias = (array_of(one, product.labels) for one in (product.scale, product.bias))
    *arrays, of = product._replace(scale=scale, bias=bias)
    numbers = [] if of is None else [array_of(one, product.labels) for one in of.numbers]
    return (*arrays, None if of is None else of.name, numbers)


def product_of(arrays: Any) -> Product:
    """What they were made of."""
    name, numbers = arrays[-2:]
    of = None if name is None else Map(name, tuple(numbers), lambda backend, cos: None)
    return Product(*(*arrays[:-2], of))


def array_of(number: Any, beside: torch.Tensor) -> Any:
    """One of one number, on a device; what is an array or missing stays so."""
    if number is None or isinstance(number, torch.Tensor):
        return number
    return beside.new_ones((), dtype=torch.float32) * number  # not full(), which would fix it


def tile_of(arrays: Any, kept: torch.dtype | None = None) -> Tile:
    """What kernels ask of one."""
    scratch = None if kept is None else scratch_for(arrays, kept)
    return Tile(None, lambda terms, value: terms, lambda: None, scratch, scratch, product_of(arrays))


def scratch_for(arrays: Any, dtype: torch.dtype) -> torch.Tensor:
    """For a number of every class and sample."""
    product = product_of(arrays)
    shape = product.prototypes.shape[0], product.points.shape[0]
    return torch.empty(shape, dtype=dtype, device=product.points.device)


def sums_of(arrays: Any, of: str = "points") -> torch.Tensor:
    """For a number of every sample, or of every class."""
    vectors = getattr(product_of(arrays), of)
    return torch.empty(vectors.shape[0], dtype=torch.float32, device=vectors.device)
