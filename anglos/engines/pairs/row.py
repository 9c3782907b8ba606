"""The table of losses over pairs: what one loss puts into the scheme of `engine.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array
from anglos.engines.pairs.guide import RULE, Rule


class PairTile(NamedTuple):
    """A rows against all N columns: logits or distances, and which pairs are positive and which negative, (A, N)."""

    values: Array
    positive: Array
    negative: Array
    weight: Array | None
    """Of every positive, and 1 of all other pairs; None for 1 throughout. Of targets the distance of every two."""
    between: Array | None
    """The values of the columns with each other, (N, N), for a row that asks for them."""
    part: Any
    """Of the proxies, the part that has a positive."""
    chosen: tuple[Array, ...] = ()
    """What the row chose of the tile, if it chooses."""
    labels: Array | None = None
    """Of the rows."""
    of_columns: Array | None = None
    """Which are negatives to the columns; None for the same."""

    def weighted(self, terms: Array) -> Array:
        """Terms of every pair, those of positives times their weights."""
        return terms if self.weight is None else terms * self.weight

    def weighted_logits(self, xp: Any, logits: Array) -> Array:
        """Log w + z of positives, whose exponential is w eᶻ."""
        return logits if self.weight is None else logits + xp.log(self.weight)


class Terms(NamedTuple):
    """The terms of the rows of a tile: their sum and how many they are, (A,), and the slope, (A, N), in the values."""

    value: Array
    count: Array
    slope: Callable[[], Array]
    option_slopes: Callable[[], Mapping[str, Array | Callable[[Array], Array]]] = dict
    """In options that may be arrays, through the terms and not through the values: (A,) by name; or, of an option that
    is no single number, from the weights of the rows, (A,), to its gradient."""
    between_slope: Callable[[Array], Array] | None = None
    """From the weights of the rows, (A, 1), to the slope in `between`, summed over the rows."""


@dataclass(frozen=True)
class PairRow:
    """What one loss puts into the scheme."""

    terms: Callable[[Backend, PairTile], Terms]
    scale: Any = 1.0
    bias: Any = None
    normalize: bool = True
    distance: str | None = None
    """Values are distances of this name (`distances.py`) in place of logits scale · S + bias."""
    excess_over_negatives: bool = False
    """Whether the terms are Σ_p (L − z_p), L the log-sum-exp of the negatives."""
    partners: str | None = None
    """What else they may be: Σ_p ς(L − z_p) of "each" positive; with L_P as the log-sum-exp of the positives, of their
    "share" ς(L − L_P) + log |P|; or with the "mean" of their logits, ς(L − L_P) + L_P − mean_p z_p."""
    symmetric: bool = False
    """The mean of this loss and of the cross entropy of every column over the rows."""
    log_noise: tuple[Array | None, Array | None] | None = None
    """log p of a row's key, (B,), and of the M negatives: log M + log p is subtracted from the logits."""
    guide: Rule = RULE
    """Which negatives are none, where a guide is given."""
    hardness: Any = None
    """Times the similarity of every negative, as a constant to the gradient, added to its logit; None for none."""
    length_penalty: Any = None
    """Times |q|² + |k|² of every pair of rows; None for none."""
    per_anchor: Callable[[Backend, Array], tuple[Array, Callable[[Array], Mapping[str, Array]]]] | None = None
    """Of labels, what every anchor adds, (B,), and from weights to its gradients by option. It is added as often as an
    anchor has terms on average: of the mean over terms it becomes the mean over anchors."""
    wants_between: bool = False
    triples: bool = False
    """Whether `terms` holds N numbers for every pair, so that tiles must be smaller."""
    choose: Callable[[Backend, PairTile], tuple[Array, ...]] | None = None
    """Of a tile, arrays (A, n) that are constants to the gradient: made once, and kept for it."""
    target_distance: str = "l1"
    """Of targets, real numbers in place of labels: of all two samples, which are positives."""
    unit_means: bool = True
    """Of `means.py`: whether class means are of unit vectors, or of vectors as they are."""
    first_asks: bool = False
    """Of `means.py`: whether the first sample of a class is in no mean, and is the only one that is compared."""
    ignore_index: int | None = None
    names: Mapping[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)
    """For an option on which fields of the row depend: these fields, each with its slope."""

    @property
    def has_groups(self) -> bool:
        """Whether a row's terms are known to be of its class and of the negatives."""
        return self.excess_over_negatives or self.partners is not None
