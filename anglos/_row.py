"""The table of losses against class prototypes: what one loss puts into the scheme of `_prototypes.py`."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from anglos._numerics import Array
from anglos._reductions import CrossEntropy

_NONE: Mapping[str, Any] = {}  # no MappingProxyType, which torch.compile does not follow
NAMES: Mapping[str, tuple[str, float]] = {"scale": ("scale", 1.0), "bias": ("bias", 1.0)}


class Curve(NamedTuple):
    """φ or η of cos θ, its slope in cos θ, in every option of the loss that may be an array, and in |x|."""

    value: Any
    slope: Any
    option_slopes: Mapping[str, Any] = _NONE
    length_slope: Any = None


def unchanged(backend: Any, cos: Array, length: Array) -> Curve:
    """φ = cos θ."""
    return Curve(cos, 1.0)


class Row(NamedTuple):
    """What one loss puts into the scheme."""

    scale: Any = 1.0
    target: Callable[[Any, Array, Array], Curve] = unchanged
    """φ: (backend, cos θ_y, |x| if `wants_length`)."""
    reduction: Any = CrossEntropy()
    bias: Any = None
    """One per class, or one for all."""
    normalize_embeddings: bool = True
    normalize_weights: bool = True
    straight_through: bool = False
    wants_length: bool = False
    """Whether φ or the regulariser depends on |x|."""
    rest: Callable[[Any, Array, Any], Curve] | None = None
    """η, if it is not cos θ: (backend, cos θ of a tile, the row statistic)."""
    statistic: Callable[[Any, Array], Any] | None = None
    """What η compares cosines with: (backend, cos θ_y); a constant to the gradient."""
    nearest: int | None = None
    """How many of the nearest other classes η treats otherwise; its row statistic is then which of a tile they are."""
    merge: Callable[[Any, Array], tuple[Array, Array]] | None = None
    """Of several prototypes per class: (backend, cosines (·, K, ...)) -> the class's, and its slopes in them."""
    regularizer: Callable[[Any, Array], tuple[Array, Array]] | None = None
    """A term of the loss in |x|, and its slope."""
    gate: Callable[[Any, Array, Array, Array], Array] | None = None
    """Which rows have a gradient: (xp, the largest logit of the rest, the label's, the label's if φ were cos θ)."""
    detach_centroids: bool = False
    """Of `_centroids.py`: whether class means are constants to the gradient."""
    ignore_index: int | None = None
    names: Mapping[str, tuple[str, float]] = NAMES
    """For an option of the loss that is a field of the row: the field, and its slope in the option."""

    @property
    def asks_for_length(self) -> bool:
        """Whether |x| matters to the loss."""
        return self.wants_length or not self.normalize_embeddings


def by_length(xp: Any, row: Row, batch: Any, own_slope: Array) -> Array | None:
    """∂ℓ/∂|x| beyond that of a free length: through φ, and through the regulariser."""
    slope = None
    if batch.target.length_slope is not None:
        slope = own_slope * row.scale * batch.target.length_slope
    if row.regularizer is not None:
        regularizer_slope = row.regularizer(xp, batch.length)[1]
        slope = regularizer_slope if slope is None else slope + regularizer_slope
    return slope
