"""Kernels in the place of what is done with rows: lengths and directions of vectors, and the way back through these."""

from collections.abc import Callable
from typing import Any

import torch

from anglos.engines.numerics import shortest

from ._low_precision import LowPrecision
from ._seen import graph_is_made


class RowKernels(LowPrecision):
    """Vectors of the batch, of all classes, and of the labels' classes; and the labels' cosines."""

    def serves(self, *arrays: torch.Tensor) -> bool:
        """Whether kernels of rows and of numbers serve these."""
        if graph_is_made() or not self.on_cuda(arrays[0]):
            return False
        from .triton.choice import reason_against

        return reason_against(*arrays, of_one_type=False) is None

    def makes_unit(self, w: torch.Tensor, samples: int) -> bool:
        return not self.serves(w) and super().makes_unit(w, samples)  # they take 1 / |w| with the product

    def inverse_lengths(self, x: torch.Tensor) -> Any:
        if not self.serves(x):
            return super().inverse_lengths(x)
        from .triton.lengths_of_rows import inverses

        return inverses(x, shortest(torch, torch.float32))

    def unit_rows(self, x: torch.Tensor) -> Any:
        if not self.serves(x):
            return super().unit_rows(x)
        from .triton.lengths_of_rows import units

        return units(x, shortest(torch, torch.float32))

    def scaled_rows(self, x: torch.Tensor, inverse: torch.Tensor) -> Any:
        if x.dtype is not torch.bfloat16 or not self.serves(x, inverse):
            return super().scaled_rows(x, inverse)
        from .triton.lengths_of_rows import scaled

        return scaled(x, inverse)

    def label_directions(self, labels: torch.Tensor, points: torch.Tensor, inverse: torch.Tensor | None,
                         unit: torch.Tensor, are_unit: bool) -> Any:
        if points.ndim != 2 or not self.serves(unit, points):
            return super().label_directions(labels, points, inverse, unit, are_unit)
        from .triton.labels import label_directions

        return label_directions(labels, points, inverse, unit, are_unit)

    def unit_pullback(self, direction: torch.Tensor, vectors: torch.Tensor, factor: torch.Tensor | None = None,
                      after: torch.Tensor | None = None, scratch: torch.Tensor | None = None) -> Any:
        if vectors.ndim != 2 or not self.serves(vectors, direction):
            return super().unit_pullback(direction, vectors, factor, after, scratch)
        from .triton.weights_pullback import unit_pullback

        return unit_pullback(direction, vectors, factor, after)

    def turned_cosine(self, cos: torch.Tensor, numbers: Callable[[], tuple[Any, ...]]) -> Any:
        if not self.serves(cos):
            return None
        from .triton.turned import turned

        return turned(cos, *numbers())

    def product_of_factors(self, product: Callable[..., torch.Tensor], a: torch.Tensor, b: torch.Tensor,
                           factor: torch.Tensor) -> Any:
        if not self.serves(b, a, factor):
            return super().product_of_factors(product, a, b, factor)
        from .triton.short_rows import with_short_rows

        return with_short_rows(product(a, b), a.T, b, factor)

    def direction_pullback(self, product: Callable[..., torch.Tensor], slopes: torch.Tensor, samples: torch.Tensor,
                           direction: torch.Tensor, factor: torch.Tensor | None, after: torch.Tensor | None,
                           rounded: bool = False, out: torch.Tensor | None = None, scratch: torch.Tensor | None = None
                           ) -> Any:
        way = None
        if not graph_is_made() and self.on_cuda(direction):
            from .triton.choice import way_of_pullback

            way = way_of_pullback(slopes, samples, direction, rounded)
        if way is None:
            return super().direction_pullback(product, slopes, samples, direction, factor, after, rounded, out, scratch)
        from .triton.weights_pullback import direction_pullback

        return direction_pullback(product, slopes, samples, direction, factor, after, way, out)
