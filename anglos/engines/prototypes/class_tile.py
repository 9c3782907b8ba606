"""What a step has of some of the classes."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from anglos.arrays.tile import Tile
from anglos.engines.numerics import Array
from anglos.engines.prototypes.directions import Prototypes
from anglos.engines.prototypes.row import NO_OPTIONS, Curve


class ClassTile(NamedTuple):
    """T classes against the batch: their prototypes, and their logits as a tile, with all that led to them."""

    prototypes: Prototypes
    tile: Tile
    cos: Array | None = None
    """Cosines of the classes, (T, B), where η starts from them."""
    rest: Curve | None = None
    """η of these."""
    cosines: Array | None = None
    """Of several prototypes per class: their cosines, (T, K, B)."""
    mix: Array | None = None
    """∂cos / ∂cosines."""
    option_slopes: Mapping[str, Any] = NO_OPTIONS
    """Of η, and of the merge."""
