"""The gradient in prototypes: the product with the samples, and in the same pass its projection past the directions."""

import triton
import triton.language as tl

from .terms import INTERPRETED


@triton.jit
def strips_of(block, WIDTH: tl.constexpr, STRIP: tl.constexpr):
    """A block, (rows, WIDTH), as strips of columns: whole, its passes after the product would not fit the registers."""
    if WIDTH == STRIP:
        return (block,)
    else:
        pair = tl.reshape(block, (block.shape[0], 2, WIDTH // 2))
        left, right = tl.split(tl.permute(pair, (0, 2, 1)))
        return strips_of(left, WIDTH // 2, STRIP) + strips_of(right, WIDTH // 2, STRIP)


@triton.jit
def direction_of(w_rows, u, k, D: tl.constexpr):
    """Columns k of u w, which is ŵ, or of w where that is of length 1 itself; 0 beyond the last."""
    w = tl.load(w_rows + k[None, :], mask=(k < D)[None, :], other=0.0).to(tl.float32)
    return w if u is None else w * u[:, None]


@triton.jit
def weights_of_product(terms_ptr, x_ptr, w_ptr, u_ptr, after_ptr, out_ptr, classes, samples,
                       terms_stride, x_stride, x_column_stride, w_stride, out_stride,
                       D: tl.constexpr, CLASSES: tl.constexpr, WIDTH: tl.constexpr, STRIP: tl.constexpr,
                       DEPTH: tl.constexpr, PRECISION: tl.constexpr):
    """Whole rows of v − ŵ (ŵ·v), times what comes after, where v = terms · x; what is no power of 2 is padded."""
    j, k = tl.program_id(0) * CLASSES + tl.arange(0, CLASSES), tl.arange(0, WIDTH)
    # Beyond the last is the last once more, of which nothing is stored: a load without a mask.
    row = tl.minimum(j, classes - 1).to(tl.int64)
    v = tl.zeros((CLASSES, WIDTH), tl.float32)
    for start in tl.range(0, samples, DEPTH):
        i = (start + tl.arange(0, DEPTH)).to(tl.int64)
        terms = tl.load(terms_ptr + row[:, None] * terms_stride + i[None, :], mask=(i < samples)[None, :], other=0.0)
        x = tl.load(x_ptr + i[:, None] * x_stride + k.to(tl.int64)[None, :] * x_column_stride,
                    mask=(i < samples)[:, None] & (k < D)[None, :], other=0.0)
        terms = terms.to(x.dtype)  # of the same type, or rounded
        if INTERPRETED:
            terms, x = terms.to(tl.float32), x.to(tl.float32)
        v = tl.dot(terms, x, v, input_precision=PRECISION)
    strips = strips_of(v, WIDTH, STRIP)
    w_rows, k = w_ptr + row[:, None] * w_stride, tl.arange(0, STRIP)
    u = None if u_ptr is None else tl.load(u_ptr + row)
    along = tl.zeros((CLASSES,), tl.float32)
    for strip in tl.static_range(WIDTH // STRIP):
        along += tl.sum(strips[strip] * direction_of(w_rows, u, strip * STRIP + k, D), axis=1)
    for strip in tl.static_range(WIDTH // STRIP):
        column = strip * STRIP + k
        across = strips[strip] - direction_of(w_rows, u, column, D) * along[:, None]
        if after_ptr is not None:
            across = across * tl.load(after_ptr + row)[:, None]
        tl.store(out_ptr + row[:, None] * out_stride + column[None, :], across.to(out_ptr.dtype.element_ty),
                 mask=(j < classes)[:, None] & (column < D)[None, :])


@triton.jit
def projected_in_place(v_ptr, w_ptr, u_ptr, after_ptr, out_ptr, classes, v_stride, w_stride, out_stride,
                       D: tl.constexpr, CLASSES: tl.constexpr, STRIP: tl.constexpr):
    """The same of products v that the library has made, for rows of any length; `out` may be where they are."""
    j, k = tl.program_id(0) * CLASSES + tl.arange(0, CLASSES), tl.arange(0, STRIP)
    row = tl.minimum(j, classes - 1).to(tl.int64)
    v_rows, w_rows = v_ptr + row[:, None] * v_stride, w_ptr + row[:, None] * w_stride
    u = None if u_ptr is None else tl.load(u_ptr + row)
    along = tl.zeros((CLASSES,), tl.float32)
    for start in tl.range(0, D, STRIP):
        v = tl.load(v_rows + (start + k)[None, :], mask=(start + k < D)[None, :], other=0.0).to(tl.float32)
        along += tl.sum(v * direction_of(w_rows, u, start + k, D), axis=1)
    for start in tl.range(0, D, STRIP):  # once more: from a near cache
        column = start + k
        inside = (j < classes)[:, None] & (column < D)[None, :]
        v = tl.load(v_rows + column[None, :], mask=inside, other=0.0).to(tl.float32)
        across = v - direction_of(w_rows, u, column, D) * along[:, None]
        if after_ptr is not None:
            across = across * tl.load(after_ptr + row)[:, None]
        tl.store(out_ptr + row[:, None] * out_stride + column[None, :], across.to(out_ptr.dtype.element_ty),
                 mask=inside)
