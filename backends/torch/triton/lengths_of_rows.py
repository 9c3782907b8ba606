"""1 / |w| of rows, as numbers of them all."""

import torch
from triton import cdiv

from .lengths import inverse_lengths
from .rest import rows
from .weights_pullback import rows_of_pass


def inverses(w: torch.Tensor, least: float) -> torch.Tensor:
    """1 / |w| along the last axis, which stays, in float32.

    0 of a row without an entry above the least, and NaN of one with NaN or ∞.
    """
    shape, w = w.shape, rows(w.reshape(-1, w.shape[-1]))
    out = torch.empty((len(w), 1), dtype=torch.float32, device=w.device)
    number, strip = rows_of_pass(w.shape[1])
    with torch.cuda.device_of(w):  # type: ignore[no-untyped-call]
        inverse_lengths[(cdiv(len(w), number),)](
            w, out, len(w), w.stride(0), least, D=w.shape[1], ROWS=number, STRIP=strip, num_warps=4,
            enable_fp_fusion=True)
    return out.reshape(*shape[:-1], 1)
