"""Rows, each with its partners among others: those of its label, which follow one another in the order of the labels.

Nothing is of the size of all pairs: what is done is so often D as there are partners. A backend that makes one pass of
it overrides these.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from anglos.arrays.library import Array, Library, largest_finite
from anglos.arrays.tile import Term


class Runs(NamedTuple):
    """Where the partners of rows are."""

    order: Array
    """Of N others, by their labels: (N,)."""
    first: Array
    """The place in the order where a row's partners begin, (A,)."""
    number: Array
    """How many there are, (A,), with the row itself."""
    own: Any
    """The number that the first row has among the others; None where none is its own partner."""


class Partners(NamedTuple):
    """Logits of A rows with their partners, not computed yet: z_ip = s a_i u_p (x_i · v_p)."""

    rows: Array
    """x, (A, D)."""
    row_factor: Array | None
    """a, (A,) or (A, 1); None for 1."""
    others: Array
    """v, (N, D)."""
    other_factor: Array | None
    """u, as a."""
    scale: Any
    """s: a number, or an array of one."""
    runs: Runs

    def turned(self, runs: Runs) -> "Partners":
        """The others as rows, whose partners are where the runs say."""
        return Partners(self.others, self.other_factor, self.rows, self.row_factor, self.scale, runs)


class OfPartners(Library):
    """Sums over the partners of every row, one place of their runs after the other."""

    def meets_partners(self: Any, vectors: Array, number: Callable[[], Array]) -> bool:
        """Whether that takes less than to compare all pairs, of rows with so many partners each."""
        if not (self.changes_arrays() and self.readable(vectors)):
            return False
        pairs = 32 + vectors.shape[1] // 4  # that are compared in the time that one partner takes
        return bool(self.bounds(number())[1] * pairs <= vectors.shape[0])

    def partner_terms(self: Any, partners: Partners) -> tuple[Array, Array]:
        """The largest logit, and Σ_p e^(z_ip − that), (A,); of no partner the lowest finite number, and 0."""
        xp, (z, _) = self.xp, self._logits(partners, self._others(partners))
        shift = self.clip(xp.max(z, axis=1), -largest_finite(xp, z.dtype))
        return shift, xp.sum(xp.exp(z - shift[:, None]), axis=1)

    def partner_sums(self: Any, partners: Partners, term: Term, above: Array) -> tuple[Array, Array]:
        """Σ_p f(above_i − z_ip) and Σ_p f′(above_i − z_ip), (A,)."""
        xp, (z, some) = self.xp, self._logits(partners, self._others(partners))
        excess = xp.where(some, above[:, None] - z, 0.0)
        return (xp.sum(xp.where(some, term.value(self, excess), 0.0), axis=1),
                xp.sum(xp.where(some, term.slope(self, excess), 0.0), axis=1))

    def partner_pull(self: Any, partners: Partners, term: Term, above: Array, weight: Array | None = None,
                     less: Array | None = None) -> Array:
        """Σ_p (f′(above_i − z_ip) − less_i) u_p v_p, (A, D).

        With weights of the others, whose what is above and less then is, Σ_p w_p (f′(above_p − z_ip) − less_p) u_p v_p.
        """
        xp, others = self.xp, self._others(partners)
        z, some = self._logits(partners, others)

        def of_pairs(one: Array) -> Array:
            if weight is None:
                return one[:, None]
            return xp.stack([xp.take(one, other, axis=0) for other, _ in others], axis=1)

        by = term.slope(self, xp.where(some, of_pairs(above) - z, 0.0))
        by = by if less is None else by - of_pairs(less)
        by = xp.where(some, by if weight is None else by * of_pairs(weight), 0.0)
        total: Any = None
        for place, (other, _) in enumerate(others):
            part = by[:, place][:, None] * self._vectors(partners.others, partners.other_factor, other)
            total = part if total is None else self.add(total, part, out=total)
        return total

    def _others(self: Any, partners: Partners) -> list[tuple[Array, Array]]:
        """For every place of the runs the partner there, and whether there is one, (A,)."""
        xp, (order, first, number, own) = self.xp, partners.runs
        bounds, last, found = self.bounds(number), order.shape[0] - 1, []
        for place in range(last + 1 if bounds is None else max(1, int(bounds[1]))):
            other = xp.take(order, xp.clip(first + place, 0, last), axis=0)
            some = number > place
            found.append((other, some if own is None else some & (other != self.numbers(first, other) + own)))
        return found

    def _logits(self: Any, partners: Partners, others: list[tuple[Array, Array]]) -> tuple[Array, Array]:
        """The logit of every row and place, −∞ where there is no partner; and where there is one."""
        xp = self.xp
        x = self._vectors(partners.rows, partners.row_factor, None) * partners.scale
        some = xp.stack([some for _, some in others], axis=1)
        z = xp.stack([self.dot(x, self._vectors(partners.others, partners.other_factor, other))
                      for other, _ in others], axis=1)
        return xp.where(some, z, -math.inf), some

    def _vectors(self: Any, vectors: Array, factor: Array | None, places: Array | None) -> Array:
        """Those at some places, times their factor, in the type of the arithmetic."""
        xp = self.xp
        if places is not None:
            vectors = xp.take(vectors, places, axis=0)
            factor = None if factor is None else xp.take(factor, places, axis=0)
        vectors = xp.astype(vectors, xp.result_type(vectors.dtype, xp.float32), copy=False)
        return vectors if factor is None else vectors * xp.reshape(factor, (-1, 1))
