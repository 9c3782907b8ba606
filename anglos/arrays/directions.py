"""What is along a direction, and what is at right angles to it."""

from collections.abc import Callable
from typing import Any

from anglos.arrays.library import Array, Library


class Directions(Library):
    """Products of vectors along the last axis, and projections."""

    def dot(self, a: Array, b: Array) -> Array:
        """a·b along the last axis."""
        return self.xp.sum(a * b, axis=-1)

    def project_out(self, direction: Array, vectors: Array, factor: Array | None = None, scratch: Array | None = None
               ) -> Array:
        """What a vector has at right angles to a direction u of length 1, which is factor · direction: v − u (u·v).

        The vectors may hold it, and the scratch array what it needs on the way.
        """
        unit = direction if factor is None else direction * factor
        return vectors - unit * self.dot(unit, vectors)[..., None]

    def direction_pullback(self: Any, product: Callable[..., Array], slopes: Array, samples: Array, direction: Array,
                           factor: Array | None, after: Array | None, rounded: bool = False, out: Array | None = None,
                           scratch: Array | None = None) -> Array:
        """(v − u (u·v)) · after, (T, D), of v = slopes · samples and u = factor · direction, which has length 1.

        Rounded: the product may round both to bfloat16. `out` may hold the result, and the scratch array what is
        needed on the way.
        """
        across = self.project_out(direction, product(slopes, samples, out=out), factor, scratch=scratch)
        return across if after is None else self.multiply(across, after, out=across)
