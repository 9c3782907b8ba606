"""Of every sample the direction of its label's class, and its cosine, in one pass over these rows of the prototypes."""

import torch
import triton
import triton.language as tl

from .arguments import rows, vector
from .weights_pullback import rows_of_pass


@triton.jit(do_not_specialize=("samples",))
def directions_of_labels(w_ptr, inverse_ptr, x_ptr, labels_ptr, out_ptr, out_inverse_ptr, cos_ptr, samples, w_stride,
                         x_stride, out_stride, IS_UNIT: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr,
                         STRIP: tl.constexpr):
    """The direction u = w_y / |w_y|, or w_y where that is it; 1 / |w_y|; and u · x."""
    i, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, STRIP)
    # Beyond the last is the last once more, of which nothing is stored: a load without a mask.
    row = tl.minimum(i, samples - 1).to(tl.int64)
    label = tl.load(labels_ptr + row).to(tl.int64)
    if inverse_ptr is not None:
        inverse = tl.load(inverse_ptr + label)
        tl.store(out_inverse_ptr + i, inverse, mask=i < samples)
    cos = tl.zeros((ROWS,), tl.float32)
    for start in tl.range(0, D, STRIP):
        column = (start + k)[None, :]
        inside = (i < samples)[:, None] & (column < D)
        w = tl.load(w_ptr + label[:, None] * w_stride + column, mask=inside, other=0.0).to(tl.float32)
        u = w if IS_UNIT else w * inverse[:, None]
        tl.store(out_ptr + row[:, None] * out_stride + column, u, mask=inside)
        cos += tl.sum(u * tl.load(x_ptr + row[:, None] * x_stride + column, mask=inside, other=0.0), axis=1)
    tl.store(cos_ptr + i, cos, mask=i < samples)


def label_directions(labels: torch.Tensor, points: torch.Tensor, inverse: torch.Tensor | None, unit: torch.Tensor,
                     are_unit: bool) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]:
    """As `Directions.label_directions`, in float32."""
    points, unit, (samples, dimension) = rows(points), rows(unit), unit.shape
    out, cos = torch.empty_like(unit), unit.new_empty(samples)
    out_inverse = None if inverse is None else unit.new_empty(samples, 1)
    number, strip = rows_of_pass(dimension)
    with torch.cuda.device_of(unit):  # type: ignore[no-untyped-call]
        directions_of_labels[(triton.cdiv(samples, number),)](
            points, vector(inverse, len(points)), unit, labels.contiguous(), out, out_inverse, cos, samples,
            points.stride(0), unit.stride(0), out.stride(0), IS_UNIT=are_unit, D=dimension, ROWS=number, STRIP=strip,
            num_warps=4, enable_fp_fusion=True)
    return out, out_inverse, cos
