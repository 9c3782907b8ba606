"""Products of prototypes and points, and in the same pass the terms of their logits: no product is ever stored."""

import triton
import triton.language as tl

from .epilogue import COUNTS, put_rest

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
"""There a number of 16 bits is multiplied as an integer, or summed in its own type, unless it is widened."""


@triton.jit
def block_of_rows(rows, k, D: tl.constexpr, DEPTH: tl.constexpr):
    """The columns k of some rows, (rows, DEPTH); 0 beyond the last."""
    if D % DEPTH == 0:
        block = tl.load(rows + k[None, :])
    else:
        block = tl.load(rows + k[None, :], mask=(k < D)[None, :], other=0.0)
    if INTERPRETED:
        block = block.to(tl.float32)
    return block


@triton.jit(do_not_specialize=COUNTS)
def terms_of_product(w_ptr, x_ptr, scale_ptr, scale, a_ptr, u_ptr, most, b_ptr, b, p_ptr, p, q_ptr, q, labels_ptr,
                     numbers_ptr, shift_ptr, factor_ptr, top_ptr, total_ptr, class_shift_ptr, class_factor_ptr,
                     class_top_ptr, class_total_ptr, out_ptr, first, classes, samples, w_stride, x_stride, out_stride,
                     D: tl.constexpr, SAMPLES: tl.constexpr, CLASSES: tl.constexpr,
                     DEPTH: tl.constexpr, PRECISION: tl.constexpr, OF: tl.constexpr, MAP: tl.constexpr,
                     CLIP: tl.constexpr):
    """One block, (SAMPLES, CLASSES): blocks of samples come first, so that all of them use the same prototypes."""
    blocks = tl.cdiv(samples, SAMPLES)
    strip, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    i, j = block * SAMPLES + tl.arange(0, SAMPLES), strip * CLASSES + tl.arange(0, CLASSES)
    # Beyond the last is the last once more, of which nothing is stored: a load without a mask.
    x_rows = x_ptr + tl.minimum(i, samples - 1).to(tl.int64)[:, None] * x_stride
    w_rows = w_ptr + tl.minimum(j, classes - 1).to(tl.int64)[:, None] * w_stride
    products = tl.zeros((SAMPLES, CLASSES), tl.float32)
    for start in tl.range(0, D, DEPTH):
        k = start + tl.arange(0, DEPTH)
        x, w = block_of_rows(x_rows, k, D, DEPTH), block_of_rows(w_rows, k, D, DEPTH)
        products = tl.dot(x, tl.trans(w), products, input_precision=PRECISION)
    put_rest(products, i, j, strip, block, scale_ptr, scale, a_ptr, u_ptr, most, b_ptr, b, p_ptr, p, q_ptr, q,
             labels_ptr, numbers_ptr, shift_ptr, factor_ptr, top_ptr, total_ptr, class_shift_ptr, class_factor_ptr,
             class_top_ptr, class_total_ptr, out_ptr, first, classes, samples, out_stride, OF, MAP, CLIP)
