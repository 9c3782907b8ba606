"""CuPy: no automatic differentiation; gradients come from `value_and_grad`, computed on the GPU."""

from typing import Any

import cupy

from . import _namespace as xp
from ._cublas import wide_product
from ._kernels import add_rows, fused, reduced
from ._softmax import Softmax

__all__ = ["CuPy", "backend"]


class CuPy(Softmax):
    """Arrays can be changed in place, and nothing waits for the GPU."""

    tile_elements = 1 << 24
    """Of a tile of pairs. Tiles that fit a processor's cache are too small for a GPU; this is 64 MiB of float32."""

    def class_tile_width(self, like: Any, samples: int, dimension: int, classes: int, keep: bool) -> int:
        # Kept exponentials have one shift, which several tiles could not agree on without waiting for the GPU.
        return classes if keep else max(1, self.tile_elements // max(samples, dimension))

    def changes_arrays(self) -> bool:
        return True

    def multiplies_as_is(self, a: Any, b: Any) -> bool:
        return bool(a.dtype == b.dtype == cupy.float16)

    def inverse_lengths(self, x: Any) -> Any:
        if x.dtype not in (cupy.float16, cupy.float32):
            return None
        return reduced["inverse_length"](x, axis=-1, keepdims=True)

    def product(self, a: Any, b: Any, out: Any = None) -> Any:
        if a.dtype == b.dtype == cupy.float16:
            return wide_product(a, b, out)
        # IEEE float32 unless the user set CUPY_TF32.
        return cupy.matmul(a, b, out=out)

    def slope_product(self, a: Any, b: Any, dtype: Any, out: Any = None) -> Any:
        return wide_product(cupy.asarray(a, cupy.float32), cupy.asarray(b, cupy.float32), out, tf32=True)

    def multiply(self, a: Any, b: Any, out: Any = None) -> Any:
        return cupy.multiply(a, b, out=out)

    def add(self, a: Any, b: Any, out: Any = None) -> Any:
        return cupy.add(a, b, out=out)

    def dot(self, a: Any, b: Any) -> Any:
        return reduced["dot"](a, b, axis=-1) if a.dtype == b.dtype else super().dot(a, b)

    def project_out(self, direction: Any, vectors: Any, factor: Any = None, scratch: Any = None) -> Any:
        along = reduced["dot"](vectors, direction, axis=-1, keepdims=True)
        along = along if factor is None else along * factor * factor
        return fused["project_out"](vectors, direction, along, vectors)

    def with_label(self, labels: Any, first: int, terms: Any, value: Any, whole: bool = False) -> Any:
        numbers = cupy.arange(first, first + len(terms))[:, None]
        return fused["with_label"](numbers, labels, value, terms, terms)

    def exponential(self, logits: Any, shift: Any) -> Any:
        return fused["exponential"](logits, shift, logits)

    def probability(self, logits: Any, total: Any, out: Any = None) -> Any:
        return fused["probability"](logits, total, cupy.empty_like(logits) if out is None else out)

    def add_at_labels(self, labels: Any, first: int, rows: Any, values: Any, whole: bool = False) -> Any:
        return add_rows(rows, labels - first, values)

    def scatter(self, weights: Any, columns: Any, like: Any) -> Any:
        total, rows = cupy.zeros_like(like), cupy.arange(len(like))[:, None]
        add_rows(total.reshape(-1), (columns + like.shape[1] * rows).ravel(), weights.ravel())
        return total


backend = CuPy("cupy", xp)


def __dir__() -> list[str]:
    return list(__all__)
