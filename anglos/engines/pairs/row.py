"""The table of losses over pairs: what one loss puts into the scheme of `engine.py`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array
from anglos.engines.pairs.guide import RULE, Rule


class PairTile(NamedTuple):
    """A rows against all N columns: logits or distances, and which pairs are positive and which negative, (A, N).

    Attributes
    ----------
    values
        Logits or distances, (A, N).
    positive
        Which pairs are positive, (A, N).
    negative
        Which are negative, (A, N).
    weight
        Of every positive, and 1 of all other pairs; None for 1 throughout. Of targets the distance of every two.
    between
        The values of the columns with each other, (N, N), for a row that asks for them.
    part
        Of the proxies, the part that has a positive.
    chosen
        What the row chose of the tile, if it chooses.
    labels
        Of the rows.
    of_columns
        Which are negatives to the columns; None for the same.
    """

    values: Array
    positive: Array
    negative: Array
    weight: Array | None
    between: Array | None
    part: Any
    chosen: tuple[Array, ...] = ()
    labels: Array | None = None
    of_columns: Array | None = None

    def weighted(self, terms: Array) -> Array:
        """Terms of every pair, those of positives times their weights."""
        return terms if self.weight is None else terms * self.weight

    def weighted_logits(self, xp: Any, logits: Array) -> Array:
        """Log w + z of positives, whose exponential is w eᶻ."""
        return logits if self.weight is None else logits + xp.log(self.weight)


class Terms(NamedTuple):
    """The terms of the rows of a tile: their sum and how many they are, (A,), and the slope, (A, N), in the values.

    Attributes
    ----------
    value
        The sum of each row's terms, (A,).
    count
        How many they are, (A,).
    slope
        () -> the slope in the values, (A, N).
    option_slopes
        In options that may be arrays, through the terms and not through the values: (A,) by name; or, of an option that
        is no single number, from the weights of the rows, (A,), to its gradient.
    between_slope
        From the weights of the rows, (A, 1), to the slope in `between`, summed over the rows.
    """

    value: Array
    count: Array
    slope: Callable[[], Array]
    option_slopes: Callable[[], Mapping[str, Array | Callable[[Array], Array]]] = dict
    between_slope: Callable[[Array], Array] | None = None


@dataclass(frozen=True)
class PairRow:
    """What one loss puts into the scheme.

    Attributes
    ----------
    terms
        (backend, a `PairTile`) -> the `Terms` of its rows.
    scale
        By which similarities are multiplied.
    bias
        What is added to the logits; None for none.
    normalize
        Whether vectors are divided by their lengths.
    distance
        Values are distances of this name (`distances.py`) in place of logits scale · S + bias.
    excess_over_negatives
        Whether the terms are Σ_p (L − z_p), L the log-sum-exp of the negatives.
    partners
        What else they may be: Σ_p ς(L − z_p) of "each" positive; with L_P as the log-sum-exp of the positives, of their
        "share" ς(L − L_P) + log |P|; or with the "mean" of their logits, ς(L − L_P) + L_P − mean_p z_p.
    symmetric
        The mean of this loss and of the cross entropy of every column over the rows.
    log_noise
        log p of a row's key, (B,), and of the M negatives: log M + log p is subtracted from the logits.
    guide
        Which negatives are none, where a guide is given.
    hardness
        Times the similarity of every negative, as a constant to the gradient, added to its logit; None for none.
    length_penalty
        Times |q|² + |k|² of every pair of rows; None for none.
    per_anchor
        Of labels, what every anchor adds, (B,), and from weights to its gradients by option. It is added as often as an
        anchor has terms on average: of the mean over terms it becomes the mean over anchors.
    wants_between
        Whether the tile is to have `between`.
    triples
        Whether `terms` holds N numbers for every pair, so that tiles must be smaller.
    choose
        Of a tile, arrays (A, n) that are constants to the gradient: made once, and kept for it.
    target_distance
        Of targets, real numbers in place of labels: of all two samples, which are positives.
    unit_means
        Of `means.py`: whether class means are of unit vectors, or of vectors as they are.
    first_asks
        Of `means.py`: whether the first sample of a class is in no mean, and is the only one that is compared.
    ignore_index
        The label of samples that take no part; None for none.
    names
        For an option on which fields of the row depend: these fields, each with its slope.
    """

    terms: Callable[[Backend, PairTile], Terms]
    scale: Any = 1.0
    bias: Any = None
    normalize: bool = True
    distance: str | None = None
    excess_over_negatives: bool = False
    partners: str | None = None
    symmetric: bool = False
    log_noise: tuple[Array | None, Array | None] | None = None
    guide: Rule = RULE
    hardness: Any = None
    length_penalty: Any = None
    per_anchor: Callable[[Backend, Array], tuple[Array, Callable[[Array], Mapping[str, Array]]]] | None = None
    wants_between: bool = False
    triples: bool = False
    choose: Callable[[Backend, PairTile], tuple[Array, ...]] | None = None
    target_distance: str = "l1"
    unit_means: bool = True
    first_asks: bool = False
    ignore_index: int | None = None
    names: Mapping[str, tuple[tuple[str, Any], ...]] = field(default_factory=dict)

    @property
    def has_groups(self) -> bool:
        """Whether a row's terms are known to be of its class and of the negatives."""
        return self.excess_over_negatives or self.partners is not None
