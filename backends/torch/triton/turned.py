"""The cosine of θ + m, of cosines, and its slope, in one pass; past π as a line in cos θ and in the turned cosine."""

import torch
import triton
import triton.language as tl

_BLOCK = 256


@triton.jit(do_not_specialize=("count",))
def turned_cosine(cos_ptr, value_ptr, slope_ptr, count, cos_shift, sin_shift, least_sin, start, constant, by_cos,
                  by_turned, AT_START: tl.constexpr, BLOCK: tl.constexpr):
    """φ = cos θ cos m − sin θ sin m, φ′ = cos m + cos θ sin m / sin θ; past π the line in place of both."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    cos = tl.load(cos_ptr + i, mask=i < count, other=0.0)
    sin = tl.sqrt_rn(tl.maximum((1.0 - cos) * (1.0 + cos), 0.0))
    turned = cos * cos_shift - sin * sin_shift
    slope = cos_shift + tl.div_rn(cos * sin_shift, tl.maximum(sin, least_sin))
    beyond = cos <= start if AT_START else cos < start
    tl.store(value_ptr + i, tl.where(beyond, constant + by_cos * cos + by_turned * turned, turned), mask=i < count)
    tl.store(slope_ptr + i, tl.where(beyond, by_cos + by_turned * slope, slope), mask=i < count)


def turned(cos: torch.Tensor, cos_shift: float, sin_shift: float, least_sin: float, start: float, at_start: bool,
           constant: float, by_cos: float, by_turned: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The value and the slope in cos θ."""
    cos = cos.contiguous()
    value, slope = torch.empty_like(cos), torch.empty_like(cos)
    with torch.cuda.device_of(cos):  # type: ignore[no-untyped-call]
        turned_cosine[(triton.cdiv(cos.numel(), _BLOCK),)](
            cos, value, slope, cos.numel(), cos_shift, sin_shift, least_sin, start, constant, by_cos, by_turned,
            AT_START=at_start, BLOCK=_BLOCK, num_warps=4, enable_fp_fusion=False)
    return value, slope
