"""How the logit of the label's class and those of the others become the loss of a row.

Each reduction is a monoid over tiles of classes (`gather` one, `combine` two), then the `value` of all with what the
slopes need, and the slopes of the loss in the label's logit (`label_slope`) and in the others of a tile (`rest_slope`,
0 at the label's). Those that gather exponentials leave them in the place of the logits, and can take the slopes from
them: `kept_slope`, which is still to be multiplied by the `row_factor` of every row, unless that is None. With a factor
all slopes of a row add up to 0: the others' are to the label's as e_j is to −Σ e. One whose fields may be arrays has
the slopes of the loss in them: `field_slopes`.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from anglos.engines.numerics import Array, beyond_larger, is_number, largest_finite, sigmoid, softplus


class Tile(NamedTuple):
    """T classes against B rows."""

    logits: Array
    """(T, B)"""
    with_label: Callable[[Array, Any], Array]
    """(terms, value) -> the terms with the value in the label's place; the array of the terms may be used for it."""
    classes: Callable[[], Array]
    """() -> the numbers of the classes, (T,)."""
    spare: Array | None = None
    """An array like the logits, or they themselves, for what comes of them."""


def tile_of(backend: Any, logits: Array, labels: Array, first: Any = 0, spare: Array | None = None,
            whole: bool = False) -> Tile:
    """The tile whose first class has this number; whole if it has all classes."""
    return Tile(logits, partial(backend.with_label, labels, first, whole=whole),
                lambda: backend.numbers(logits, labels) + first, spare)


def marked_tile(xp: Any, logits: Array, own: Array) -> Tile:
    """The tile whose label's places are marked; the logits are left as they are."""
    return Tile(logits, lambda terms, value: xp.where(own, value, terms), lambda: None)


class LogSumExp(NamedTuple):
    """Of the rest so far: a shift near the largest logit, Σ e^(z − shift), and if asked for Σ z; each (B,)."""

    shift: Array
    total: Array
    sum: Array | None = None


class CrossEntropy(NamedTuple):
    """ℓ = lse_j z_j − z_y + ε (z_y − mean_j z_j): softmax cross entropy, with label smoothing ε.

    Written ς(L − z_y), L the log-sum-exp of the rest, it keeps every digit of a small loss.
    """

    label_smoothing: Any = 0.0

    @property
    def smooths(self) -> bool:
        """Whether any label is smoothed, as far as is known."""
        return not (is_number(self.label_smoothing) and self.label_smoothing == 0.0)

    def gather(self, backend: Any, tile: Tile, label_logit: Array, shift: Array | None = None) -> LogSumExp:
        total = sum_of_rest(backend.xp, tile, tile.logits) if self.smooths else None
        return _gather(backend, tile, shift, total)

    def combine(self, xp: Any, a: LogSumExp, b: LogSumExp) -> LogSumExp:
        return _combine(xp, a, b)

    def value(self, backend: Any, gathered: LogSumExp, label_logit: Array, classes: int
              ) -> tuple[Array, tuple[Array, ...]]:
        """ℓ; −log p_y = ς(L − z_y), L, z_y, the rest's Σ e^(z − shift), to be divided by, and z_y − mean_j z_j."""
        rest, total = _finish(backend, gathered)
        excess = rest - label_logit
        surprise = softplus(backend, excess)
        if not self.smooths:
            return surprise, (surprise, rest, label_logit, total)
        above_mean = label_logit - (gathered.sum + label_logit) / classes
        return surprise + self.label_smoothing * above_mean, (surprise, rest, label_logit, total, above_mean)

    def field_slopes(self, backend: Any, residuals: tuple[Array, ...]) -> dict[str, Array]:
        """∂ℓ/∂ε = z_y − mean_j z_j."""
        return {"label_smoothing": residuals[4]}

    def label_slope(self, backend: Any, residuals: tuple[Array, ...], classes: int) -> Array:
        """∂ℓ/∂z_y = −(1 − p_y) + ε (1 − 1/C)."""
        slope = _label_slope(backend.xp, residuals)
        return slope + self.label_smoothing * (1.0 - 1.0 / classes) if self.smooths else slope

    def rest_slope(self, backend: Any, residuals: tuple[Array, ...], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = p_j − ε/C."""
        rest, label_logit = residuals[1:3]
        everything = backend.maximum(rest, label_logit) + beyond_larger(backend, rest - label_logit)
        return self._smoothed(_probability(backend, tile, everything), tile, classes)

    def kept_slope(self, backend: Any, residuals: tuple[Array, ...], tile: Tile, classes: int) -> Array:
        """The same, with p_j = (1 − p_y) e_j / Σ e."""
        if not self.smooths:
            return tile.logits
        share = -_label_slope(backend.xp, residuals) / residuals[3]
        return self._smoothed(tile.logits * share, tile, classes)

    def row_factor(self, xp: Any, residuals: tuple[Array, ...], label_slope: Array) -> Array | None:
        return None if self.smooths else -label_slope / residuals[3]

    def _smoothed(self, p: Array, tile: Tile, classes: int) -> Array:
        return tile.with_label(p - self.label_smoothing / classes, 0.0) if self.smooths else p


class ExcludedPositive(NamedTuple):
    """ℓ = L − z_y: cross entropy whose denominator leaves the label's class out. Unbounded below."""

    def gather(self, backend: Any, tile: Tile, label_logit: Array, shift: Array | None = None) -> LogSumExp:
        return _gather(backend, tile, shift)

    def combine(self, xp: Any, a: LogSumExp, b: LogSumExp) -> LogSumExp:
        return _combine(xp, a, b)

    def value(self, backend: Any, gathered: LogSumExp, label_logit: Array, classes: int
              ) -> tuple[Array, tuple[Array, ...]]:
        """ℓ, 0 where there is no other class; L, whether there is one, and Σ e^(z − shift), to be divided by."""
        xp, (rest, total) = backend.xp, _finish(backend, gathered)
        some = rest != -math.inf
        rest = xp.where(some, rest, 0.0)
        return xp.where(some, rest - label_logit, 0.0), (rest, some, total)

    def label_slope(self, backend: Any, residuals: tuple[Array, ...], classes: int) -> Array:
        """∂ℓ/∂z_y = −1."""
        return -backend.xp.astype(residuals[1], residuals[0].dtype)

    def rest_slope(self, backend: Any, residuals: tuple[Array, ...], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = e^(z_j − L)."""
        return _probability(backend, tile, residuals[0])

    def kept_slope(self, backend: Any, residuals: tuple[Array, ...], tile: Tile, classes: int) -> Array:
        """The same as e_j / Σ e."""
        return tile.logits

    def row_factor(self, xp: Any, residuals: tuple[Array, ...], label_slope: Array) -> Array | None:
        return -label_slope / residuals[2]


class Binary(NamedTuple):
    """ℓ = λ₊ ς(−z_y) + λ₋ Σ_{j≠y} ς(z_j): of every class by itself, whether it is this one."""

    positive: Any = 1.0
    negative: Any = 1.0

    def gather(self, backend: Any, tile: Tile, label_logit: Array) -> Array:
        return sum_of_rest(backend.xp, tile, softplus(backend, tile.logits))

    def combine(self, xp: Any, a: Array, b: Array) -> Array:
        return a + b

    def value(self, backend: Any, gathered: Array, label_logit: Array, classes: int
              ) -> tuple[Array, tuple[Array, Array, Array]]:
        """ℓ; z_y, ς(−z_y), and Σ ς(z_j)."""
        own = softplus(backend, -label_logit)
        return self.positive * own + self.negative * gathered, (label_logit, own, gathered)

    def field_slopes(self, backend: Any, residuals: tuple[Array, Array, Array]) -> dict[str, Array]:
        """∂ℓ/∂λ₊ = ς(−z_y), ∂ℓ/∂λ₋ = Σ ς(z_j)."""
        return {"positive": residuals[1], "negative": residuals[2]}

    def label_slope(self, backend: Any, residuals: tuple[Array, Array, Array], classes: int) -> Array:
        """∂ℓ/∂z_y = −λ₊ σ(−z_y)."""
        return -self.positive * sigmoid(backend, -residuals[0])

    def rest_slope(self, backend: Any, residuals: tuple[Array, Array, Array], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = λ₋ σ(z_j)."""
        return tile.with_label(self.negative * sigmoid(backend, tile.logits), 0.0)


class Squares(NamedTuple):
    """ℓ = ½ (z_y − 1)² + ½ Σ_{j≠y} z_j²."""

    def gather(self, backend: Any, tile: Tile, label_logit: Array) -> Array:
        return sum_of_rest(backend.xp, tile, 0.5 * tile.logits * tile.logits)

    def combine(self, xp: Any, a: Array, b: Array) -> Array:
        return a + b

    def value(self, backend: Any, gathered: Array, label_logit: Array, classes: int) -> tuple[Array, tuple[Array]]:
        return 0.5 * (label_logit - 1.0) ** 2 + gathered, (label_logit,)

    def label_slope(self, backend: Any, residuals: tuple[Array], classes: int) -> Array:
        """∂ℓ/∂z_y = z_y − 1."""
        return residuals[0] - 1.0

    def rest_slope(self, backend: Any, residuals: tuple[Array], tile: Tile, classes: int) -> Array:
        """∂ℓ/∂z_j = z_j."""
        return tile.with_label(1.0 * tile.logits, 0.0)


def _gather(backend: Any, tile: Tile, shift: Array | None, total: Array | None = None) -> LogSumExp:
    """Without a shift, by the largest logit of the tile."""
    xp, rest = backend.xp, tile.with_label(tile.logits, -math.inf)
    if shift is None:
        # At least the lowest finite number: a tile of nothing but the label's class must not give ∞ − ∞.
        shift = backend.clip(xp.max(rest, axis=0), -largest_finite(xp, rest.dtype))
    return LogSumExp(shift, xp.sum(backend.exponential(rest, shift), axis=0), total)


def _probability(backend: Any, tile: Tile, total: Array) -> Array:
    """e^(z_j − total), from the same masked logits as `_gather`: a compiler need not keep others."""
    return backend.probability(tile.with_label(tile.logits, -math.inf), total, out=tile.spare)


def _combine(xp: Any, a: LogSumExp, b: LogSumExp) -> LogSumExp:
    if a.shift is b.shift:
        shift, total = a.shift, a.total + b.total
    else:
        shift = xp.where(a.shift > b.shift, a.shift, b.shift)
        total = a.total * xp.exp(a.shift - shift) + b.total * xp.exp(b.shift - shift)
    return LogSumExp(shift, total, None if a.sum is None else a.sum + b.sum)


def _finish(backend: Any, gathered: LogSumExp) -> tuple[Array, Array]:
    """The log-sum-exp, −∞ of nothing; and the total, 1 of nothing, which has no share that it would be divided by."""
    xp, total = backend.xp, gathered.total
    if backend.surely_above(total, 0.0):
        return gathered.shift + xp.log(total), total
    nothing = total == 0.0  # and not "> 0": a NaN must stay one
    total = xp.where(nothing, 1.0, total)
    return xp.where(nothing, -math.inf, gathered.shift + xp.log(total)), total


def sum_of_rest(xp: Any, tile: Tile, terms: Array) -> Array:
    """Σ_{j≠y} of the tile's classes."""
    return xp.sum(tile.with_label(terms, 0.0), axis=0)


def _label_slope(xp: Any, residuals: tuple[Array, ...]) -> Array:
    """−(1 − p_y)."""
    return xp.expm1(-residuals[0])
