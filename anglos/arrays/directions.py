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

    def scaled_rows(self: Any, x: Array, inverse: Array) -> tuple[Array, Array]:
        """The rows times powers of 2 near their 1 / |x|, and 1 / |x| of these; nothing is rounded.

        Of a type whose products might leave the range of those lengths; others stay.
        """
        xp = self.xp
        if float(xp.finfo(x.dtype).max) ** 2 < float(xp.finfo(inverse.dtype).max):
            return x, inverse
        exponent = xp.round(xp.log2(xp.where(inverse > 0.0, inverse, 1.0)))
        power = xp.astype(2.0 ** self.clip(exponent, -126.0), x.dtype)
        return x * power, inverse / xp.astype(power, inverse.dtype)

    def cosines(self: Any, unit: Array, others: Array) -> Array:
        """x̂·û of a row and another, (B, D), or several others, (B, K, D)."""
        return self.total(self.dot(unit if others.ndim == 2 else unit[:, None, :], others))

    def label_directions(self: Any, labels: Array, points: Array, inverse: Array | None, unit: Array, are_unit: bool
                         ) -> tuple[Array, Array | None, Array]:
        """Of the label's class û, 1 / |w| and x̂·û, in the type of the units x̂, out of what all classes have.

        û = w / |w| of the points w, unless these are it; then the inverse lengths may be None.
        """
        label_unit, label_inverse = self.xp.astype(self.of_label(points, labels), unit.dtype, copy=False), None
        if inverse is not None:
            label_inverse = self.xp.astype(self.of_label(inverse, labels), unit.dtype, copy=False)
            label_unit = label_unit if are_unit else label_unit * label_inverse
        return label_unit, label_inverse, self.cosines(unit, label_unit)

    def unit_pullback(self: Any, direction: Array, vectors: Array, factor: Array | None = None,
                      after: Array | None = None, scratch: Array | None = None) -> Array:
        """(v − u (u·v)) · after, of u = factor · direction, which has length 1; v may hold it.

        ∂L/∂w of v = ∂L/∂u where w has the direction u, and what comes after is 1 / |w|.
        """
        across = self.project_out(direction, vectors, factor, scratch=scratch)
        return across if after is None else self.multiply(across, after, out=across)

    def direction_pullback(self: Any, product: Callable[..., Array], slopes: Array, samples: Array, direction: Array,
                           factor: Array | None, after: Array | None, rounded: bool = False, out: Array | None = None,
                           scratch: Array | None = None) -> Array:
        """(v − u (u·v)) · after, (T, D), of v = slopes · samples and u = factor · direction, which has length 1.

        Rounded: the product may round both to bfloat16. `out` may hold the result, and the scratch array what is
        needed on the way.
        """
        return self.unit_pullback(direction, product(slopes, samples, out=out), factor, after, scratch)
