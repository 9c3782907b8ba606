"""A softmax on the GPU: a product by cuBLAS, and one kernel for all else that is done with T × B numbers."""

import math
from typing import Any

import cupy

from anglos.arrays.backend import Backend
from anglos.arrays.library import largest_finite
from anglos.arrays.tile import Product, Tile

STRIP = 32
"""So many classes are a block's, one sample a thread's: a sum of each strip, and then one of all strips."""

_AHEAD = 4

SOURCE = f"""
// Products of classes and samples, a row for each class, become z = scale s a u product + constant + b, and these
//     largest: nothing, but the largest of a strip goes to `partial`;
//     else:    e^(z - shift), clipped at 1 if so asked, times u to `terms`, and the sum of a strip to `partial`.
// Classes of the label's number have logits of -infinity. What is missing is null: then classes are numbered from the
// first on. s is one number, as b with a step of 0.
extern "C" __global__ void anglos_softmax(
        const T* products, T* terms, T* partial, const T* shift, const long long* labels,
        const long long* numbers, const T* s, const T* a, const T* u, const T* b, T scale, T constant, T most,
        long long b_step, long long first, long long classes, long long samples, int largest, int clipped) {{
    const long long sample = (long long)blockIdx.y * blockDim.x + threadIdx.x;
    const long long begin = (long long)blockIdx.x * {STRIP};
    const long long end = begin + {STRIP} < classes ? begin + {STRIP} : classes;
    if (sample >= samples) return;
    const T nothing = -T(1) / T(0), all = s ? scale * s[0] : scale, factor = a ? all * a[sample] : all;
    const T below = shift ? shift[sample] : T(0);
    const long long label = labels[sample];
    T state = largest ? nothing : T(0);
    for (long long next = begin; next < end; next += {_AHEAD}) {{
        T ahead[{_AHEAD}];  // terms may be where the products are: the compiler itself reads no product before a store
        #pragma unroll
        for (int k = 0; k < {_AHEAD}; ++k)
            ahead[k] = next + k < end ? products[(next + k) * samples + sample] : T(0);
        #pragma unroll
        for (int k = 0; k < {_AHEAD}; ++k) {{
            const long long row = next + k;
            if (row >= end) break;
            T z = (u ? ahead[k] * u[row] : ahead[k]) * factor + (b ? constant + b[row * b_step] : constant);
            if ((numbers ? numbers[row] : first + row) == label) z = nothing;
            if (largest) {{
                if (z > state || z != z) state = z;  // and NaN stays
                continue;
            }}
            z -= below;
            if (clipped && z > T(0)) z = T(0);  // not by min(), which turns NaN into a number
            const T term = exp(z);
            state += term;
            if (terms) terms[row * samples + sample] = u ? term * (u[row] > most ? most : u[row]) : term;
        }}
    }}
    if (partial) partial[blockIdx.x * samples + sample] = state;
}}
"""

C_TYPES = {"float32": "float", "float64": "double"}
_softmax = {name: cupy.RawKernel(f"typedef {c_type} T;\n{SOURCE}", "anglos_softmax")
            for name, c_type in C_TYPES.items()}
_MULTIPLIED = ("float16", *C_TYPES)
_MISSING = cupy.uint64(0)


class Softmax(Backend):
    """Terms and shares of products, in their place."""

    def rest_terms(self, tile: Tile, shift: Any = None) -> tuple[Any, Any]:
        product, kept = tile.product, tile.kept
        products = self._products(tile, tile.scratch if kept is None else kept)
        if product is None or products is None:
            return super().rest_terms(tile, shift)
        if shift is None:
            # At least the lowest finite number: a tile of nothing but the label's class must not give ∞ − ∞.
            largest = cupy.max(_softmaxed(products, product, largest=True), axis=0)
            shift = self.clip(largest, -largest_finite(self.xp, largest.dtype))
        return shift, cupy.sum(_softmaxed(products, product, shift, kept, most=product.largest_factor), axis=0)

    def rest_shares(self, tile: Tile, total: Any) -> Any:
        product, products = tile.product, self._products(tile, tile.scratch)
        if product is None or products is None:
            return super().rest_shares(tile, total)
        _softmaxed(products, product, total, products, partial=False, clipped=True)
        return products

    def _products(self, tile: Tile, out: Any) -> Any:
        """W·x of a tile, (T, B), in `out` if there is one; None where the kernel has nothing to start from."""
        product = self._multiplied(tile)
        return None if product is None else self.product(product.prototypes, product.points.T, out=out)

    def _multiplied(self, tile: Tile) -> Product | None:
        """What the kernel starts from."""
        product = tile.product
        served = tile.logits is None and product and not product.map and product.points.dtype.name in _MULTIPLIED
        return product if served else None


def _softmaxed(products: Any, product: Product, shift: Any = None, terms: Any = None, *, partial: bool = True,
               largest: bool = False, clipped: bool = False, most: float = math.inf) -> Any:
    """What the kernel makes of w·x, with terms times u, which is `most` at most; its `partial`, (strips, B)."""
    (classes, samples), dtype = products.shape, products.dtype
    strips, threads = -(-classes // STRIP), min(128, -(-samples // 32) * 32)
    of_strips = cupy.empty((strips, samples), dtype) if partial else None
    scale, s = _parts(product.scale, 1, dtype)
    constant, b = _parts(0 if product.bias is None else product.bias, 0, dtype)
    b_step = 1 if getattr(b, "ndim", 0) else 0
    written = (_MISSING if array is None else array for array in (terms, of_strips))
    read = (_MISSING if array is None else cupy.ascontiguousarray(array) for array in (
        shift, product.labels, product.numbers, s, product.sample_factor, product.class_factor, b))
    counts = (cupy.int64(count) for count in (b_step, product.first, classes, samples))
    numbers = scale, constant, dtype.type(most)
    _softmax[dtype.name]((strips, -(-samples // max(threads, 1))), (threads,), (
        products, *written, *read, *numbers, *counts, cupy.int32(largest), cupy.int32(clipped)))
    return of_strips


def _parts(value: Any, neutral: int, dtype: Any) -> tuple[Any, Any]:
    """A number, and an array or None."""
    if hasattr(value, "dtype"):
        return dtype.type(neutral), cupy.asarray(value, dtype)
    return dtype.type(value), None
