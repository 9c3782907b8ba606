"""The slope of a loss in its scale, where those in its logits are rounded in the products with vectors.

From these it would follow as x · ∂x. But slopes of a softmax add up to 0, so that what all logits have in common moves
nothing; rounded ones do not, and beside vectors with a common direction nothing would be left of it but their error.
"""

from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.monoid import SUM
from anglos.arrays.tile import Tile
from anglos.engines.numerics import Array, is_array


def rest_by_scale(backend: Backend, reduction: Any, saved: Any, tile: Tile, bias: Any, label_product: Array,
                  classes: int) -> Array:
    """What the others of a tile add to s ∂ℓ/∂s = Σ_j G_ij (z_ij − b_j), of slopes that nobody has rounded.

    Each with that of the label's class subtracted, where all slopes of a sample are balanced. Logits that nobody has
    made are made of a part of the classes at a time.
    """
    def of_logits(tile: Tile, bias: Any) -> Array:
        logits = backend.logits(tile)
        moved = logits if bias is None else logits - bias
        moved = moved - label_product if reduction.balanced else moved
        slopes = reduction.rest_slope(
            backend, saved, tile._replace(logits=logits, scratch=None, product=None), classes)
        return backend.xp.sum(backend.xp.where(slopes == 0.0, 0.0, moved) * slopes, axis=0)  # −∞ leaves a class out

    def of_part(first: Any, points: Array, factor: Array | None, numbers: Array | None, each: Array | None
                ) -> tuple[dict[str, Array], tuple[()]]:
        part = z._replace(prototypes=points, class_factor=factor, numbers=numbers, first=z.first + first,
                          bias=z.bias if each is None else each)
        tile = backend.tile_of(None, z.labels, part.first, product=part)
        return {"all": of_logits(tile, None if bias is None else part.bias)}, ()

    z: Any = tile.product
    if tile.logits is not None or z is None:
        return of_logits(tile, bias)
    (samples, dimension), many = z.points.shape, z.prototypes.shape[0]
    width = backend.class_tile_width(z.points, samples, dimension, many, keep=False)
    each = z.bias if is_array(z.bias) and z.bias.ndim > 0 else None
    sums, _ = backend.sweep(of_part, SUM, (z.prototypes, z.class_factor, z.numbers, each), width)
    return sums["all"]


def label_by_scale(backend: Backend, reduction: Any, saved: Any, label_product: Array, classes: int) -> Any:
    """What the label's class adds to that, where it is not in there."""
    return 0.0 if reduction.balanced else reduction.label_slope(backend, saved, classes) * label_product
