"""CuPy: no automatic differentiation; gradients come from `value_and_grad`, computed on the GPU."""

from typing import Any

import array_api_compat.cupy as xp
import cupy

from anglos.arrays.backend import Backend

# Each is one pass over a tile, in place: name -> inputs, operation.
KERNELS = {
    "with_label": ("int64 number, int64 label, T value, T term", "out = number == label ? value : term"),
    "exponential": ("T logit, T shift", "out = exp(logit - shift)"),
    # Not by min(), which turns NaN into a number.
    "probability": ("T logit, T total", "out = exp(logit > total ? T(0) : logit - total)"),
    "project_out": ("T vector, T unit, T along", "out = vector - unit * along"),
}
_fused = {name: cupy.ElementwiseKernel(inputs, "T out", operation, f"anglos_{name}")
          for name, (inputs, operation) in KERNELS.items()}


class CuPy(Backend):
    """Arrays can be changed in place, and nothing waits for the GPU."""

    tile_elements = 1 << 24
    """Of a tile of pairs. Tiles that fit a processor's cache are too small for a GPU; this is 64 MiB of float32."""

    def class_tile_width(self, like: Any, samples: int, dimension: int, classes: int, keep: bool) -> int:
        # Kept exponentials have one shift, which several tiles could not agree on without waiting for the GPU.
        return classes if keep else max(1, self.tile_elements // max(samples, dimension))

    def changes_arrays(self) -> bool:
        return True

    def product(self, a: Any, b: Any, out: Any = None) -> Any:
        return cupy.matmul(a, b, out=out)

    def multiply(self, a: Any, b: Any, out: Any = None) -> Any:
        return cupy.multiply(a, b, out=out)

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        return cupy.add(a, b, out=out)

    def project_out(self, direction: Any, vectors: Any, factor: Any = None, scratch: Any = None) -> Any:
        unit = direction if factor is None else self.multiply(direction, factor, out=scratch)
        return _fused["project_out"](vectors, unit, self.dot(unit, vectors)[..., None], vectors)

    def with_label(self, labels: Any, first: int, terms: Any, value: Any, whole: bool = False) -> Any:
        numbers = cupy.arange(first, first + len(terms))[:, None]
        return _fused["with_label"](numbers, labels, value, terms, terms)

    def exponential(self, logits: Any, shift: Any) -> Any:
        return _fused["exponential"](logits, shift, logits)

    def probability(self, logits: Any, total: Any, out: Any = None) -> Any:
        return _fused["probability"](logits, total, cupy.empty_like(logits) if out is None else out)

    def add_at_labels(self, labels: Any, first: int, whole: Any, values: Any) -> Any:
        places = labels - first
        inside = (places >= 0) & (places < len(whole))
        values = cupy.where(inside.reshape(-1, *[1] * (values.ndim - 1)), values, 0.0)
        cupy.add.at(whole, cupy.clip(places, 0, len(whole) - 1), values)
        return whole


backend = CuPy("cupy", xp)
