"""The terms of logits whose products the library has made, in one pass: for float32 as IEEE has it, without TF32."""

import triton
import triton.language as tl

from .epilogue import COUNTS, put_rest


@triton.jit(do_not_specialize=COUNTS)
def terms_in_place(products_ptr, scale_ptr, scale, a_ptr, u_ptr, most, b_ptr, b, p_ptr, p, q_ptr, q, labels_ptr,
                   numbers_ptr, shift_ptr, factor_ptr, top_ptr, total_ptr, class_shift_ptr, class_factor_ptr,
                   class_top_ptr, class_total_ptr, out_ptr, first, classes, samples, products_stride, out_stride,
                   SAMPLES: tl.constexpr, CLASSES: tl.constexpr, OF: tl.constexpr,
                   MAP: tl.constexpr, CLIP: tl.constexpr):
    """One block of products, (classes, samples), whose terms may go where it was."""
    blocks = tl.cdiv(samples, SAMPLES)
    strip, block = tl.program_id(0) // blocks, tl.program_id(0) % blocks
    i, j = block * SAMPLES + tl.arange(0, SAMPLES), strip * CLASSES + tl.arange(0, CLASSES)
    at = j.to(tl.int64)[None, :] * products_stride + i[:, None]
    inside = (i < samples)[:, None] & (j < classes)[None, :]
    products = tl.load(products_ptr + at, mask=inside, other=0.0)
    put_rest(products, i, j, strip, block, scale_ptr, scale, a_ptr, u_ptr, most, b_ptr, b, p_ptr, p, q_ptr, q,
             labels_ptr, numbers_ptr, shift_ptr, factor_ptr, top_ptr, total_ptr, class_shift_ptr, class_factor_ptr,
             class_top_ptr, class_total_ptr, out_ptr, first, classes, samples, out_stride, OF, MAP, CLIP)
