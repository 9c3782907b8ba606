"""1 / |w| of rows in one pass, whatever their range: squares of 1e30 or 1e-30 are in no float32."""

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
def inverse_lengths(w_ptr, out_ptr, rows, stride, least, D: tl.constexpr, ROWS: tl.constexpr, STRIP: tl.constexpr):
    """1 / |w|; 0 of a row without an entry above the least, and NaN of one with NaN or ∞."""
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
    tl.store(out_ptr + i, tl.where(is_finite, inverse, float("nan")), mask=i < rows)
