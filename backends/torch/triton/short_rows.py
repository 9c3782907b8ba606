"""What rows too short for their terms add to a product: nearly always nothing, and then one number is read."""

import torch
import triton
import triton.language as tl

from .arguments import rows, vector


@triton.jit(do_not_specialize=("classes", "samples"))
def add_short_rows(out_ptr, terms_ptr, w_ptr, factor_ptr, largest_ptr, classes, samples, terms_stride, w_stride,
                   out_stride, D: tl.constexpr, SAMPLES: tl.constexpr, WIDTH: tl.constexpr, CLASSES: tl.constexpr):
    """Σ_j (factor_j − 1) terms_j w_j, where a factor is above 1, to a block of `out`, (SAMPLES, WIDTH)."""
    if tl.load(largest_ptr) > 1.0:
        i = tl.program_id(0) * SAMPLES + tl.arange(0, SAMPLES)
        k = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
        added = tl.zeros((SAMPLES, WIDTH), tl.float32)
        for start in range(0, classes, CLASSES):
            j = start + tl.arange(0, CLASSES)
            if tl.max(tl.load(factor_ptr + j, mask=j < classes, other=1.0)) > 1.0:
                for one in range(start, tl.minimum(start + CLASSES, classes)):
                    row, more = tl.cast(one, tl.int64), tl.load(factor_ptr + one) - 1.0
                    if more > 0.0:
                        w = tl.load(w_ptr + row * w_stride + k, mask=k < D, other=0.0).to(tl.float32)
                        terms = tl.load(terms_ptr + row * terms_stride + i, mask=i < samples, other=0.0)
                        added += terms.to(tl.float32)[:, None] * (w * more)[None, :]
        at = out_ptr + i.to(tl.int64)[:, None] * out_stride + k[None, :]
        inside = (i < samples)[:, None] & (k < D)[None, :]
        tl.store(at, tl.load(at, mask=inside, other=0.0) + added, mask=inside)


def with_short_rows(product: torch.Tensor, terms: torch.Tensor, w: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """The product termsᵀ · w, (B, D), which becomes that of factor · w; the factor is at least 1."""
    (classes, samples), terms, w = terms.shape, rows(terms), rows(w)
    factors = vector(factor, classes)
    assert factors is not None
    with torch.cuda.device_of(product):  # type: ignore[no-untyped-call]
        add_short_rows[(triton.cdiv(samples, 64), triton.cdiv(w.shape[1], 64))](
            product, terms, w, factors, factors.amax(), classes, samples, terms.stride(0), w.stride(0),
            product.stride(0), D=w.shape[1], SAMPLES=64, WIDTH=64, CLASSES=1024, num_warps=4, enable_fp_fusion=True)
    return product
