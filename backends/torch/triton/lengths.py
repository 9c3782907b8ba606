"""1 / |w| of rows, and w / |w|, in one pass, whatever their range: squares of 1e30 or 1e-30 are in no float32."""

import triton
import triton.language as tl


@triton.jit
def power_for(largest):
    """A power of 2 that numbers up to the largest are multiplied by, exactly, to have squares in range.

    The bits of the largest's exponent are subtracted from those of 1. Of 2¹²⁷ or more 2⁻¹²⁶ is left, a normal number.
    """
    exponent = (largest.to(tl.int32, bitcast=True) >> 23) & 255
    return (tl.maximum(254 - exponent, 1) << 23).to(tl.float32, bitcast=True)


@triton.jit
def scaled_rows(x_ptr, inverse_ptr, out_ptr, out_inverse_ptr, rows, stride, D: tl.constexpr, ROWS: tl.constexpr,
                STRIP: tl.constexpr):
    """Rows times the largest power of 2 up to their 1 / |x|, exactly, and 1 / |x| of these."""
    i, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.program_id(1) * STRIP + tl.arange(0, STRIP)
    inverse = tl.load(inverse_ptr + i, mask=i < rows, other=1.0)
    power = (tl.maximum(inverse.to(tl.int32, bitcast=True) >> 23, 1) << 23).to(tl.float32, bitcast=True)
    inside = (i < rows)[:, None] & (k < D)[None, :]
    x = tl.load(x_ptr + i.to(tl.int64)[:, None] * stride + k[None, :], mask=inside, other=0.0).to(tl.float32)
    tl.store(out_ptr + i.to(tl.int64)[:, None] * D + k[None, :], (x * power[:, None]).to(out_ptr.dtype.element_ty),
             mask=inside)
    if tl.program_id(1) == 0:
        tl.store(out_inverse_ptr + i, tl.div_rn(inverse, power), mask=i < rows)


@triton.jit
def inverse_lengths(w_ptr, out_ptr, unit_ptr, rows, stride, least, D: tl.constexpr, ROWS: tl.constexpr,
                    STRIP: tl.constexpr):
    """1 / |w|; 0 of a row without an entry above the least, and NaN of one with NaN or ∞. And w / |w|, if asked for."""
    i, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, STRIP)
    # Beyond the last is the last once more, of which nothing is stored: a load without a mask.
    w_rows = w_ptr + tl.minimum(i, rows - 1).to(tl.int64)[:, None] * stride
    largest, total = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
    power = power_for(largest)
    for start in tl.range(0, D, STRIP):
        w = tl.load(w_rows + (start + k)[None, :], mask=(start + k < D)[None, :], other=0.0).to(tl.float32)
        largest = tl.maximum(largest, tl.max(tl.abs(w), axis=1))  # which may lose a NaN, but the total does not
        before, power = power, power_for(largest)
        change, near = tl.div_rn(power, before), w * power[:, None]
        total = total * (change * change) + tl.sum(near * near, axis=1)
    is_finite = total - total == 0.0
    inverse = tl.where(largest > least, tl.div_rn(power, tl.sqrt_rn(total)), 0.0)
    inverse = tl.where(is_finite, inverse, float("nan"))
    tl.store(out_ptr + i, inverse, mask=i < rows)
    if unit_ptr is not None:
        for start in tl.range(0, D, STRIP):  # once more: from a near cache
            inside = (i < rows)[:, None] & (start + k < D)[None, :]
            w = tl.load(w_rows + (start + k)[None, :], mask=inside, other=0.0).to(tl.float32)
            tl.store(unit_ptr + i.to(tl.int64)[:, None] * D + (start + k)[None, :], w * inverse[:, None], mask=inside)
