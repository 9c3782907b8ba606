"""1 / |w| of rows, as numbers of them all, and w / |w|."""

import torch
from triton import cdiv

from .arguments import rows
from .lengths import inverse_lengths, scaled_rows
from .weights_pullback import rows_of_pass


def inverses(w: torch.Tensor, least: float) -> torch.Tensor:
    """1 / |w| along the last axis, which stays, in float32.

    0 of a row without an entry above the least, and NaN of one with NaN or ∞.
    """
    return _of_rows(w, least, None)


def units(w: torch.Tensor, least: float) -> tuple[torch.Tensor, torch.Tensor]:
    """W / |w| and 1 / |w|."""
    unit = torch.empty(w.shape, dtype=torch.float32, device=w.device)
    return unit, _of_rows(w, least, unit)


def scaled(x: torch.Tensor, inverse: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `Directions.scaled_rows`, of (B, D)."""
    x, out = rows(x), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    out_inverse, (number, strip) = torch.empty_like(inverse), rows_of_pass(x.shape[1])
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        scaled_rows[(cdiv(len(x), number), cdiv(x.shape[1], strip))](
            x, inverse.contiguous(), out, out_inverse, len(x), x.stride(0), D=x.shape[1], ROWS=number, STRIP=strip,
            num_warps=4, enable_fp_fusion=True)
    return out, out_inverse


def _of_rows(w: torch.Tensor, least: float, unit: torch.Tensor | None) -> torch.Tensor:
    shape, w = w.shape, rows(w.reshape(-1, w.shape[-1]))
    out = torch.empty((len(w), 1), dtype=torch.float32, device=w.device)
    number, strip = rows_of_pass(w.shape[1])
    with torch.cuda.device_of(w):  # type: ignore[no-untyped-call]
        inverse_lengths[(cdiv(len(w), number),)](
            w, out, unit, len(w), w.stride(0), least, D=w.shape[1], ROWS=number, STRIP=strip, num_warps=4,
            enable_fp_fusion=True)
    return out.reshape(*shape[:-1], 1)
