"""The prototypes of a tile: their directions, and the way back to the weights."""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.scratch import Scratch
from anglos.engines.numerics import Array, near_rows


class Prototypes(NamedTuple):
    """The prototypes of a tile, one a row: `factor` · `points`, which are ŵ, or w where it is not normalised."""

    points: Array
    pullback_factor: Array | None = None
    """(T, 1): the part of 1 / |w| that the gradient still lacks after the factor, of ŵ all of it; None for 1."""
    factor: Array | None = None
    """(T, 1), or None for 1."""


def unit_prototypes(backend: Backend, w: Array, samples: int, scratch: Scratch, first: Any = 0,
                    inverses: dict[int, Array] | None = None) -> Prototypes:
    """Ŵ, or W with its factor, as W of less than 32 bits stays.

    1 / |w| of a tile that was seen before is among the inverses, by its first class.
    """
    before = None if inverses is None else inverses.get(first)
    near, largest, inverse = near_rows(backend, w) if before is None else (w, None, before)
    if inverses is not None and largest is None:
        inverses[first] = inverse
    whole_inverse = inverse if largest is None else inverse / largest
    is_wide, makes_unit = w.dtype == inverse.dtype, backend.makes_unit(w, samples)
    if not is_wide or (not makes_unit and (largest is None or not backend.readable(w))):
        return Prototypes(w, factor=whole_inverse)
    return Prototypes(backend.multiply(near, inverse, out=scratch.take("unit", w, *w.shape)), whole_inverse)


def of_kept_terms(step: Any, prototypes: Prototypes) -> Prototypes:
    """With what kept terms lack of 1 / |w| of the shortest; 1 for the others."""
    if prototypes.factor is None:
        return prototypes
    return prototypes._replace(pullback_factor=step.backend.clip(prototypes.factor * (1.0 / step.most), 1.0))


def prototypes_pullback(step: Any, prototypes: Prototypes, slopes: Array, samples: Array, out: Array | None = None
                        ) -> Array:
    """∂w = (v − ŵ (ŵ·v)) / |w|, or v where w is not normalised, of v = slopes · samples; `out` may hold it.

    The slopes are already multiplied by the factor.
    """
    direction, after, factor = prototypes
    if after is None and factor is None:
        return step.slope_product(slopes, samples, out=out)
    across = step.scratch.take("across", samples, *direction.shape)
    return step.backend.direction_pullback(step.slope_product, slopes, samples, direction, factor, after,
                                           rounded=step.rounds_slopes, out=out, scratch=across)
