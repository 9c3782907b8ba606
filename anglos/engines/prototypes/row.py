"""The table of losses against class prototypes: what one loss puts into the scheme of `engine.py`."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.tile import Map
from anglos.engines.numerics import Array, is_number, is_one
from anglos.engines.reductions import CrossEntropy

NO_OPTIONS: Mapping[str, Any] = {}  # no MappingProxyType, which torch.compile does not follow
NAMES: Mapping[str, tuple[tuple[str, Any], ...]] = {
    name: ((name, 1.0),) for name in ("scale", "bias", "label_smoothing")}


class Curve(NamedTuple):
    """φ or η of cos θ, its slope in cos θ, in every option of the loss that may be an array, and in |x|.

    Attributes
    ----------
    value
        φ or η, of the shape of cos θ.
    slope
        In cos θ; a number, or an array of that shape.
    option_slopes
        By name, in every option of the loss that may be an array.
    length_slope
        In |x|; None if it does not depend on it.
    """

    value: Any
    slope: Any
    option_slopes: Mapping[str, Any] = NO_OPTIONS
    length_slope: Any = None


def unchanged(backend: Backend, cos: Array, length: Array) -> Curve:
    """φ = cos θ."""
    return Curve(cos, 1.0)


class Row(NamedTuple):
    """What one loss puts into the scheme.

    Attributes
    ----------
    scale
        s, by which cosines are multiplied; a number, or an array.
    target
        φ: (backend, cos θ_y, |x| if `wants_length`) -> a `Curve`.
    reduction
        What is made of the logits: `CrossEntropy()`, `Binary`, `ExcludedPositive` or another of `anglos.define`.
    bias
        One per class, or one for all.
    normalize_embeddings
        Whether embeddings are divided by their lengths.
    normalize_weights
        Whether prototypes are.
    straight_through
        Whether φ and η have slope 1 in cos θ, whatever their values are.
    wants_length
        Whether φ or the regulariser depends on |x|.
    rest
        η, if it is not cos θ: (backend, cos θ of a tile, the statistic) -> a `Curve`.
    known
        By what a backend may know η, if it has no slope in an option: a name, and its numbers, a statistic the last.
    statistic
        What η compares cosines with: (backend, cos θ_y); a constant to the gradient.
    nearest
        How many of the nearest other classes η treats differently; its statistic is then their mask in a tile.
    merge
        Of several prototypes per class: (backend, cosines (·, K, ...)) -> a `Curve`, with its slopes in them.
    regularizer
        A term of the loss in |x|: (xp, |x|) -> a `Curve`.
    gate
        Which samples have a gradient: (xp, the largest logit of the rest, the label's, the label's if φ were cos θ).
    detach_centroids
        Of `centroids.py`: whether class means are constants to the gradient.
    ignore_index
        The label of samples that are left out of class means; None for none.
    names
        For an option on which fields of the row or of its reduction depend: these fields, each with its slope.
    """

    scale: Any = 1.0
    target: Callable[[Backend, Array, Array], Curve] = unchanged
    reduction: Any = CrossEntropy()
    bias: Any = None
    normalize_embeddings: bool = True
    normalize_weights: bool = True
    straight_through: bool = False
    wants_length: bool = False
    rest: Callable[[Backend, Array, Any], Curve] | None = None
    known: tuple[Any, ...] = ()
    statistic: Callable[[Backend, Array], Any] | None = None
    nearest: int | None = None
    merge: Callable[[Backend, Array], Curve] | None = None
    regularizer: Callable[[Any, Array], Curve] | None = None
    gate: Callable[[Any, Array, Array, Array], Array] | None = None
    detach_centroids: bool = False
    ignore_index: int | None = None
    names: Mapping[str, tuple[tuple[str, Any], ...]] = NAMES

    @property
    def bound(self) -> Any:
        """How far the others' logits, whose exponentials are added, may be from 0; ∞ if no number is known for it."""
        fixed = (self.reduction.of_exponentials and self.gate is None and self.rest is None
                 and self.normalize_embeddings and self.normalize_weights)
        if not (fixed and is_number(self.scale) and (self.bias is None or is_number(self.bias))):
            return math.inf
        return abs(self.scale) + abs(self.bias or 0.0)

    @property
    def asks_for_length(self) -> bool:
        """Whether |x| matters to the loss."""
        return self.wants_length or not self.normalize_embeddings

    @property
    def has_statistic(self) -> bool:
        """Whether η depends on more than its cosine."""
        return self.statistic is not None or self.nearest is not None

    def takes_as_it_is(self, name: str) -> bool:
        """Whether an option is a field of its own name, and nothing else."""
        (field, slope), *others = self.names.get(name, ((None, None),))
        return field == name and not others and is_one(slope)

    @property
    def maps(self) -> bool:
        """Whether nothing but η, which a backend may know, is between cosines and logits."""
        return bool(self.known and self.normalize_embeddings and self.normalize_weights and is_number(self.scale)
                    and not self.straight_through and self.merge is None and self.nearest is None)

    @property
    def of_slopes(self) -> bool:
        """Whether nothing is asked of the other classes but sums, and slopes times 1 / |w|, of all of their logits."""
        learns_bias = self.bias is not None and not is_number(self.bias)
        return self.reduction.keeps_slopes and not self.reduction.smooths and not (
            (self.starts_from_cosines and not self.maps) or (self.normalize_weights and learns_bias))

    def map(self, statistic: Any) -> Map:
        """Of η."""
        name, *numbers = self.known
        numbers = [*numbers, statistic] if self.has_statistic else numbers
        return Map(name, tuple(numbers), lambda backend, cos: curve_of(backend, self, self.rest, cos, statistic))

    @property
    def starts_from_cosines(self) -> bool:
        """Whether curves, or the choice among prototypes, start from the cosines of a tile, which are then kept."""
        return self.merge is not None or self.rest is not None


def curve_of(backend: Backend, row: Row, of: Any, cos: Array, other: Any, merged: Curve | None = None) -> Curve:
    """φ or η; for a straight-through gradient its value with slope 1, whoever differentiates it.

    With the slopes in options of the merge that the cosine came from.
    """
    fixed = backend.stop_gradient(cos) if row.straight_through else cos
    curve: Curve = of(backend, fixed, other)
    if row.straight_through:
        curve = curve._replace(value=cos + (curve.value - fixed), slope=1.0)
    if merged is None or not merged.option_slopes:
        return curve
    slopes = {name: curve.slope * slope for name, slope in merged.option_slopes.items()}
    for name, slope in curve.option_slopes.items():
        slopes[name] = slope + slopes[name] if name in slopes else slope
    return curve._replace(option_slopes=slopes)
