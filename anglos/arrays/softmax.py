"""All that a softmax, or a sum over the classes, does with T × B numbers, beside the products of its gradient.

A backend that fuses these with the product before them overrides them, and leaves to them what it does not fuse.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from anglos.arrays.library import Array, Library, largest_finite, store
from anglos.arrays.tile import Product, Term, Tile, sum_of_rest

_ROWS = 1 << 15
"""So many prototypes are multiplied by their factor at a time."""


class Softmax(Library):
    """Exponentials of a tile, and sums of other functions of its logits."""

    turns_tiles = True
    """Whether a tile with its classes as samples costs no more than the same summed along its other axis."""

    def tile_of(self: Any, logits: Array | None, labels: Array, first: Any = 0, *, whole: bool = False,
                scratch: Array | None = None, kept: Array | None = None, product: Product | None = None) -> Tile:
        """The tile whose first class has this number; whole if it has all classes."""
        with_label = partial(self.with_label, labels, first, whole=whole)
        if product is not None and product.numbers is not None:
            with_label = partial(self.with_alike, labels, product.numbers)
        return Tile(logits, with_label,
                    lambda: self.numbers(logits, labels) + (self.first_class + first), scratch, kept, product)

    def with_alike(self, labels: Array, numbers: Array, terms: Array, value: float) -> Array:
        """Terms, (T, B), of classes of these numbers, (T,), with a value for the label's; these may hold them."""
        return self.with_value(terms, numbers[:, None] == labels[None, :], value)

    def with_value(self: Any, terms: Array, where: Array, value: float) -> Array:
        """Terms with a value in some places; these may hold them."""
        if not self.changes_arrays():
            return self.xp.where(where, value, terms)
        terms[where] = value
        return terms

    def logits(self: Any, tile: Tile) -> Array:
        """z_ji = s η(a_i u_j (w_j · x_i)) + b_j, (T, B), computed if they are not yet; in the scratch array, or not."""
        logits: Array = self._curved(tile)[0]
        return logits

    def _curved(self: Any, tile: Tile) -> tuple[Array, Any]:
        """The logits, and η′, which is None for 1."""
        if tile.logits is not None:
            return tile.logits, None
        assert tile.product is not None
        product, out = tile.product, tile.scratch
        if product.map is None:
            return self._linear(product, out), None
        cos = self.clip(self._linear(product._replace(scale=1.0, bias=None), out), -1.0, 1.0)
        curve, b = product.map.curve(self, cos), product.bias
        logits = product.scale * curve.value
        return logits if b is None else self.add(logits, b, out=logits), curve.slope

    def _linear(self: Any, product: Product, out: Array | None) -> Array:
        """Of a product as it is, s a_i u_j (w_j · x_i) + b_j."""
        w, x, s, a, u, b, *_ = product
        if a is None and u is None and not self.multiplies_as_is(w, x):
            logits = self.product(w, (s * x).T, out=out)
        else:  # also where x would be rounded
            logits = self.product(w, x.T, out=out)
            for factor in (s if a is None else s * a,) if u is None else (s * u, a):
                logits = logits if factor is None else self.multiply(logits, factor, out=logits)
        return logits if b is None else self.add(logits, b, out=logits)

    def rounded_like(self, like: Array) -> Array:
        """An array of the type of terms that are kept, and will be multiplied as bfloat16."""
        return like

    def rest_terms(self: Any, tile: Tile, shift: Array | None = None) -> tuple[Array, Array]:
        """A shift, by default the largest logit of the rest, and Σ_{j≠y} e^(z_j − shift), (B,).

        Where the tile keeps terms there go these times η′ and their factor, 0 at the label's class: what both products
        of the gradient multiply.
        """
        xp, (logits, slope) = self.xp, self._curved(tile)
        late = tile.zeroes and shift is not None
        rest = logits if late else tile.with_label(logits, -math.inf)
        if shift is None:
            # At least the lowest finite number: a tile of nothing but the label's class must not give ∞ − ∞.
            shift = self.clip(xp.max(rest, axis=0), -largest_finite(xp, rest.dtype))
        terms = self.exponential(rest, shift)
        terms = tile.with_label(terms, 0.0) if late else terms
        total = xp.sum(terms, axis=0)  # not of what is kept, whose terms may be rounded
        if tile.kept is not None:
            store(tile.kept, self._times(terms, slope, self.term_factor(tile.product)))
        return shift, total

    def rest_shares(self: Any, tile: Tile, total: Array) -> Array:
        """u_j η′ e^(z_j − total), 0 at the label's class.

        From the same masked logits as in `rest_terms`: a compiler need not keep others.
        """
        logits, slope = self._curved(tile)
        rest = logits if tile.zeroes else tile.with_label(logits, -math.inf)
        shares = self.probability(rest, total, out=rest if tile.logits is None else tile.scratch)
        shares = tile.with_label(shares, 0.0) if tile.zeroes else shares
        return self._times(shares, slope, self._class_factor(tile))

    def terms_both_ways(self: Any, tile: Tile, shift: Array | None = None, of_classes: Array | None = None
                        ) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """`rest_terms`, and of every class the same over the samples, (T,). Shifts that are given are one number."""
        xp, rest = self.xp, tile.with_label(self.logits(tile), -math.inf)
        if shift is not None and of_classes is not None:
            terms = self.exponential(rest, shift)
            return (shift, xp.sum(terms, axis=0)), (of_classes, xp.sum(terms, axis=1))
        turned = xp.asarray(rest.T, copy=True) if self.changes_arrays() else rest.T  # both will be changed
        own, others = (self.rest_terms(Tile(one, lambda terms, value: terms, tile.classes)) for one in (rest, turned))
        return own, others

    def shares_both_ways(self: Any, tile: Tile, total: Array, factor: Array, of_classes: Array, class_factor: Array
                         ) -> Array:
        """u_j (f_i e^(z_ji − total_i) + h_j e^(z_ji − t_j)), with t and the factor h of classes; 0 at the label's."""
        rest = tile.with_label(self.logits(tile), -math.inf)
        others = self._times(self.probability(rest, of_classes[:, None]), class_factor[:, None])
        shares = self._times(self.probability(rest, total, out=rest), factor)
        return self._times(self.add(shares, others, out=shares), self._class_factor(tile))

    def rest_sums(self: Any, tile: Tile, term: Term) -> Array:
        """Σ_{j≠y} f(z_j), (B,).

        Where the tile keeps terms there go u_j η′ f′(z_j), 0 at the label's class.
        """
        logits, slope = self._curved(tile)
        total = sum_of_rest(self.xp, tile, term.value(self, logits))
        if tile.kept is not None:
            slopes = tile.with_label(term.slope(self, logits), 0.0)
            store(tile.kept, self._times(slopes, slope, self._class_factor(tile)))
        return total

    def rest_slopes(self: Any, tile: Tile, term: Term, factor: Any = None) -> Array:
        """u_j η′ f′(z_j), 0 at the label's class, times the factor: a number, or an array of one or (B,)."""
        logits, slope = self._curved(tile)
        return self._times(tile.with_label(term.slope(self, logits), 0.0), factor, slope, self._class_factor(tile))

    def term_factor(self: Any, product: Product | None) -> Array | None:
        """By what exponentials that are kept are multiplied; None for 1."""
        if product is None or product.class_factor is None or product.largest_factor == math.inf:
            return None if product is None else product.class_factor
        factor: Array = self.clip(product.class_factor, None, product.largest_factor)
        return factor

    def _class_factor(self, tile: Tile) -> Array | None:
        """u, where terms will be multiplied by prototypes that are not."""
        return None if tile.product is None else tile.product.class_factor

    def _times(self: Any, terms: Array, *factors: Any) -> Array:
        """The terms, in their place, times factors; None for 1."""
        for factor in factors:
            terms = terms if factor is None else self.multiply(terms, factor, out=terms)
        return terms

    def product_of_factors(self: Any, product: Callable[..., Array], a: Array, b: Array, factor: Array) -> Array:
        """A · (factor · b), where the factor, (T, 1), is 1 for nearly all rows of b."""
        total: Any = None
        for first, last in self.tiles(b.shape[0], _ROWS):
            part = product(a[:, first:last], b[first:last, ...] * factor[first:last, ...])
            total = part if total is None else self.add(total, part, out=total)
        return total
