"""The gradient in prototypes, as `Backend.direction_pullback` describes it: one kernel, or one after the library's."""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from triton import cdiv, next_power_of_2

from .arguments import rows, vector
from .blocks import HALF, PRECISIONS, TF32, Block
from .weights import projected_in_place, weights_of_product

LONGEST = 512
"""Rows of ∂w up to which a block of them fits the registers."""

ALIGNED = 16
"""What divides the places where rows begin that the kernel has registers for."""

STRIP = 64
"""Columns of a block that what follows the product takes at a time."""

_BLOCKS = {
    (128, HALF): Block(64, 64, 64, 4, 3),
    (128, TF32): Block(32, 64, 32, 4, 3),
    (256, HALF): Block(32, 64, 32, 8, 3),
    (256, TF32): Block(16, 64, 16, 8, 3),
    (512, HALF): Block(32, 64, 32, 8, 3),
    (512, TF32): Block(16, 64, 16, 8, 3),
}
"""By the longest row, padded; of so many samples at a time. They serve every device: for a Hopper Triton 3.6 and 3.9
spill no register, and but for the longest rows, or slopes of float32, two or more are on a processor, so that one
multiplies while another stores."""


def direction_pullback(product: Callable[..., torch.Tensor], slopes: torch.Tensor, samples: torch.Tensor,
                       direction: torch.Tensor, factor: torch.Tensor | None, after: torch.Tensor | None, way: str,
                       out: torch.Tensor | None) -> torch.Tensor:
    """(v − ŵ (ŵ·v)) · after of v = slopes · samples, where ŵ = factor · direction, in float32."""
    if not fuses(way, slopes, direction):
        return unit_pullback(direction, product(slopes, samples, out=out), factor, after)
    if out is None:  # not of fewer digits, as the direction may have: the labels' rows are still to be added
        out = torch.empty(direction.shape, dtype=torch.float32, device=direction.device)
    with torch.cuda.device_of(direction):  # type: ignore[no-untyped-call]
        _fused(rows(slopes), samples, way, _given(direction, factor, after, out))
    return out


def fuses(way: str, slopes: torch.Tensor, direction: torch.Tensor) -> bool:
    """Whether one kernel does it all: a program has its rows to itself, so few rows would leave processors idle."""
    (classes, dimension), samples = direction.shape, slopes.shape[1]
    if way not in (HALF, TF32) or dimension > LONGEST or dimension % ALIGNED or samples % ALIGNED:
        return False
    programs: int = cdiv(classes, block_of(way, dimension)[0].classes)
    return programs >= processors(direction.device)


@cache
def processors(device: torch.device) -> int:
    """How many programs a device runs at the same time, at least."""
    return torch.cuda.get_device_properties(device).multi_processor_count


def unit_pullback(direction: torch.Tensor, v: torch.Tensor, factor: torch.Tensor | None, after: torch.Tensor | None
                  ) -> torch.Tensor:
    """As `Directions.unit_pullback`, where v is, if its rows are numbers next to each other."""
    v = rows(v)
    number, strip = rows_of_pass(v.shape[1])
    with torch.cuda.device_of(v):  # type: ignore[no-untyped-call]
        projected_in_place[(cdiv(len(v), number),)](
            v, **_given(direction, factor, after, v), v_stride=v.stride(0), CLASSES=number, STRIP=strip, num_warps=4,
            enable_fp_fusion=True)
    return v


def _given(direction: torch.Tensor, factor: torch.Tensor | None, after: torch.Tensor | None, out: torch.Tensor
           ) -> dict[str, Any]:
    (classes, dimension), direction = direction.shape, rows(direction)
    return {"w_ptr": direction, "w_stride": direction.stride(0), "u_ptr": vector(factor, classes),
            "after_ptr": vector(after, classes), "classes": classes, "D": dimension, "out_ptr": out,
            "out_stride": out.stride(0)}


def block_of(way: str, dimension: int) -> tuple[Block, int]:
    """The block, and the length that its rows are padded to."""
    width = max(16, next_power_of_2(dimension))
    return _BLOCKS[max(128, width), way], width


def rows_of_pass(dimension: int) -> tuple[int, int]:
    """How many rows, and columns of them at a time, a pass over a matrix takes; 16 bytes each thread."""
    strip = min(512, max(16, next_power_of_2(dimension)))
    return max(1, 2048 // strip), strip


def _fused(slopes: torch.Tensor, samples: torch.Tensor, way: str, given: dict[str, Any]) -> None:
    block, width = block_of(way, given["D"])
    if way == HALF:
        samples = rows(samples.to(torch.bfloat16 if slopes.dtype is torch.float32 else slopes.dtype))
    else:  # the matrix units read float32 along what is summed
        samples = samples.T.contiguous().T
    weights_of_product[(cdiv(given["classes"], block.classes),)](
        slopes, samples, **given, samples=len(samples), terms_stride=slopes.stride(0), x_stride=samples.stride(0),
        x_column_stride=samples.stride(1), CLASSES=block.classes, WIDTH=width, STRIP=min(STRIP, width),
        DEPTH=block.depth, PRECISION=PRECISIONS[way], num_warps=block.warps,
        num_stages=block.stages, enable_fp_fusion=True)

