"""Rows with their partners, one after the other in the order of the labels, as `anglos.arrays.partners` has them.

A program has some whole rows in registers, and reads of its partners as many as there are: nothing is stored between.
"""

from typing import Any

import torch
import triton
import triton.language as tl

from anglos.arrays.partners import Partners

from .arguments import number, rows, vector
from .epilogue import softplus_of


@triton.jit
def row_of(x_ptr, a_ptr, scale_ptr, scale, i, k, count, x_stride, D: tl.constexpr):
    """Whole rows, times s a; and the number of each, where beyond the last is the last once more."""
    row = tl.minimum(i, count - 1).to(tl.int64)
    if scale_ptr is not None:
        scale = tl.load(scale_ptr)
    x = tl.load(x_ptr + row[:, None] * x_stride + k[None, :], mask=(k < D)[None, :], other=0.0).to(tl.float32)
    if a_ptr is not None:
        x = x * tl.load(a_ptr + row)[:, None]
    return row, x * scale


@triton.jit
def partner_at(place, x, v_ptr, u_ptr, order_ptr, first, many, i, k, own, v_stride, HAS_OWN: tl.constexpr,
               D: tl.constexpr):
    """Of every row whether it has a partner there; its number, its vector, its factor, and the logit."""
    some = place < many
    other = tl.load(order_ptr + first + place, mask=some, other=0).to(tl.int64)
    if HAS_OWN:
        some = some & (other != own + i)
    v = tl.load(v_ptr + other[:, None] * v_stride + k[None, :], mask=some[:, None] & (k < D)[None, :],
                other=0.0).to(tl.float32)
    z, factor = tl.sum(x * v, axis=1), some.to(tl.float32)
    if u_ptr is not None:
        factor = tl.load(u_ptr + other, mask=some, other=0.0)
        z = z * factor
    return some, other, v, factor, z


@triton.jit(do_not_specialize=("own", "count"))
def sums_of_partners(x_ptr, a_ptr, v_ptr, u_ptr, scale_ptr, scale, order_ptr, first_ptr, number_ptr, above_ptr,
                     value_ptr, slope_ptr, own, count, x_stride, v_stride, HAS_OWN: tl.constexpr, D: tl.constexpr,
                     ROWS: tl.constexpr, WIDTH: tl.constexpr):
    """Σ ς(above − z) and Σ σ(above − z); with nothing above Σ e^(z − the largest logit), and that."""
    i, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    row, x = row_of(x_ptr, a_ptr, scale_ptr, scale, i, k, count, x_stride, D)
    first, many = tl.load(first_ptr + row), tl.load(number_ptr + row)
    value, slope = tl.zeros((ROWS,), tl.float32), tl.zeros((ROWS,), tl.float32)
    if above_ptr is None:
        slope += float("-inf")
    for place in range(tl.max(many)):
        some, _, _, _, z = partner_at(place, x, v_ptr, u_ptr, order_ptr, first, many, i, k, own, v_stride, HAS_OWN, D)
        if above_ptr is None:
            z = tl.where(some, z, float("-inf"))
            before, slope = slope, tl.where(z > slope, z, slope)
            finite = tl.where(slope == float("-inf"), 0.0, slope)
            value = value * tl.exp(before - finite) + tl.exp(z - finite)
        else:
            one, by = softplus_of(tl.load(above_ptr + row) - z)
            value += tl.where(some, one, 0.0)
            slope += tl.where(some, by, 0.0)
    tl.store(value_ptr + i, value, mask=i < count)
    tl.store(slope_ptr + i, slope, mask=i < count)


@triton.jit(do_not_specialize=("own", "count"))
def pull_of_partners(x_ptr, a_ptr, v_ptr, u_ptr, scale_ptr, scale, order_ptr, first_ptr, number_ptr, above_ptr,
                     weight_ptr, less_ptr, out_ptr, own, count, x_stride, v_stride, out_stride, HAS_OWN: tl.constexpr,
                     D: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr, OF: tl.constexpr):
    """Σ (f′(above − z) − less) u v, with what the row has of these; or with weights, and these, of the partner."""
    i, k = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    row, x = row_of(x_ptr, a_ptr, scale_ptr, scale, i, k, count, x_stride, D)
    first, many = tl.load(first_ptr + row), tl.load(number_ptr + row)
    pulled = tl.zeros((ROWS, WIDTH), tl.float32)
    for place in range(tl.max(many)):
        some, other, v, by, z = partner_at(place, x, v_ptr, u_ptr, order_ptr, first, many, i, k, own, v_stride, HAS_OWN,
                                           D)
        at = row if weight_ptr is None else other
        slope = slope_of(tl.load(above_ptr + at) - z, OF)
        if less_ptr is not None:
            slope = slope - tl.load(less_ptr + at)
        if weight_ptr is not None:
            slope = slope * tl.load(weight_ptr + at)
        pulled += tl.where(some, slope * by, 0.0)[:, None] * v
    tl.store(out_ptr + row[:, None] * out_stride + k[None, :], pulled, mask=(i < count)[:, None] & (k < D)[None, :])


@triton.jit
def slope_of(excess, OF: tl.constexpr):
    """Of a function of what is above a logit."""
    if OF == "softplus":
        _, slope = softplus_of(excess)
    else:
        tl.static_assert(OF == "exponential")
        # Not by minimum(), which would make a number of NaN.
        slope = tl.exp(-tl.where(excess < 0.0, 0.0, excess))
    return slope


def partner_terms(partners: Partners) -> tuple[torch.Tensor, torch.Tensor]:
    """As `OfPartners.partner_terms`."""
    total, top = _sums(partners, None)
    return top.clamp_(min=torch.finfo(torch.float32).min), total


def partner_sums(partners: Partners, of: str, above: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `OfPartners.partner_sums`."""
    assert of == "softplus"
    return _sums(partners, above.contiguous())


def partner_pull(partners: Partners, of: str, above: torch.Tensor, weight: torch.Tensor | None,
                 less: torch.Tensor | None) -> torch.Tensor:
    """As `OfPartners.partner_pull`, in float32."""
    out = torch.empty(partners.rows.shape, dtype=torch.float32, device=partners.rows.device)
    _launch(pull_of_partners, partners, above_ptr=above.contiguous(), out_ptr=out, out_stride=out.stride(0), OF=of,
            weight_ptr=None if weight is None else weight.contiguous(),
            less_ptr=None if less is None else less.contiguous())
    return out


def _sums(partners: Partners, above: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    value = torch.empty(len(partners.rows), dtype=torch.float32, device=partners.rows.device)
    slope = torch.empty_like(value)
    _launch(sums_of_partners, partners, above_ptr=above, value_ptr=value, slope_ptr=slope)
    return value, slope


def block_of(dimension: int) -> tuple[int, int, int]:
    """The length that rows are padded to, how many of them a program has, and its warps."""
    width = max(16, triton.next_power_of_2(dimension))
    return width, max(1, 2048 // width), min(16, max(4, width // 1024))


def _launch(kernel: Any, partners: Partners, **given: Any) -> None:
    (order, first, many, own), x, v = partners.runs, rows(partners.rows), rows(partners.others)
    (count, dimension), (width, block, warps) = x.shape, block_of(x.shape[1])
    with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]
        kernel[(triton.cdiv(count, block),)](
            x_ptr=x, a_ptr=vector(partners.row_factor, count), v_ptr=v, u_ptr=vector(partners.other_factor, len(v)),
            scale_ptr=vector(partners.scale, 1), scale=number(partners.scale), order_ptr=order,
            first_ptr=first.contiguous(), number_ptr=many.contiguous(), own=own or 0, count=count,
            x_stride=x.stride(0), v_stride=v.stride(0), HAS_OWN=own is not None, D=dimension, ROWS=block, WIDTH=width,
            **given, num_warps=warps, enable_fp_fusion=True)
