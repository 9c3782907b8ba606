"""What all kernels do with a block of products x · w, (samples, classes): logits, terms, and the sums of these.

Arrays that a call does not have are None, and what would use them is not compiled.
"""

import triton
import triton.language as tl

COUNTS = ("first", "classes", "samples")
"""For whose divisors no kernel is compiled by itself: they are another in the last tile, and in the last batch."""


@triton.jit
def logits_of(products, i, j, scale_ptr, scale, a_ptr, u_ptr, b_ptr, b, labels_ptr, first, samples, classes):
    """The logits s a u (x · w) + b, and −∞ for the label's class and for what is beyond the last."""
    if scale_ptr is not None:
        scale = tl.load(scale_ptr)
    if u_ptr is not None:
        products = products * (scale * tl.load(u_ptr + j, mask=j < classes, other=0.0))[None, :]
        if a_ptr is not None:
            products = products * tl.load(a_ptr + i, mask=i < samples, other=0.0)[:, None]
    elif a_ptr is not None:
        products = products * (scale * tl.load(a_ptr + i, mask=i < samples, other=0.0))[:, None]
    else:
        products = products * scale
    if b_ptr is not None:
        products = products + tl.load(b_ptr + j, mask=j < classes, other=0.0)[None, :]
    else:
        products = products + b
    labels = tl.load(labels_ptr + i, mask=i < samples, other=-1)
    left_out = (labels[:, None] == (first + j)[None, :]) | (j >= classes)[None, :]
    return tl.where(left_out, float("-inf"), products)


@triton.jit
def put_terms(z, i, j, strip, u_ptr, shift_ptr, top_ptr, total_ptr, out_ptr,
              out_stride, samples, classes, CLIP: tl.constexpr):
    """Terms e^(z − shift), times u to `out`, and their sum over the classes of the block.

    By the largest logit if no shift is given: that goes to `top`, and is NaN if a logit is.
    """
    if shift_ptr is None:
        shift = tl.max(z, axis=1)
        # Of nothing but −∞ no term is NaN.
        terms = tl.exp(z - tl.where(shift == float("-inf"), 0.0, shift)[:, None])
    else:
        shift = tl.load(shift_ptr + i, mask=i < samples, other=0.0)
        z = z - shift[:, None]
        if CLIP:  # not by minimum(), which would make a number of NaN
            z = tl.where(z > 0.0, 0.0, z)
        terms = tl.exp(z)
    if total_ptr is not None:
        total, at = tl.sum(terms, axis=1), strip.to(tl.int64) * samples + i
        tl.store(total_ptr + at, total, mask=i < samples)
        if top_ptr is not None:
            tl.store(top_ptr + at, tl.where(total == total, shift, total), mask=i < samples)
    if out_ptr is not None:
        if u_ptr is not None:
            terms = terms * tl.load(u_ptr + j, mask=j < classes, other=0.0)[None, :]
        # A row of `out` is a class, and rows are more than 32 bits can count the elements of.
        at = j.to(tl.int64)[None, :] * out_stride + i[:, None]
        tl.store(out_ptr + at, terms.to(out_ptr.dtype.element_ty),
                 mask=(i < samples)[:, None] & (j < classes)[None, :])
