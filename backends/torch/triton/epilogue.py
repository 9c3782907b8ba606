"""What all kernels do with a block of products x · w, (samples, classes): logits, terms, and the sums of these.

Arrays that a call does not have are None, and what would use them is not compiled.
"""

import triton
import triton.language as tl

COUNTS = ("first", "classes", "samples")
"""For whose divisors no kernel is compiled by itself: they are another in the last tile, and in the last batch."""

LEAST = tl.constexpr(2.0**-126)
"""The smallest normal number."""


@triton.jit
def put_rest(products, i, j, strip, block, scale_ptr, scale, a_ptr, u_ptr, most, b_ptr, b, p_ptr, p, q_ptr, q,
             labels_ptr, numbers_ptr, shift_ptr, factor_ptr, top_ptr, total_ptr, class_shift_ptr, class_factor_ptr,
             class_top_ptr, class_total_ptr, out_ptr, first, classes, samples, out_stride, OF: tl.constexpr,
             MAP: tl.constexpr, CLIP: tl.constexpr):
    """All that there is to do with a block of products."""
    if scale_ptr is not None:
        scale = tl.load(scale_ptr)
    slope = None
    if MAP is None:
        z = multiplied(products, i, j, scale, a_ptr, u_ptr, samples, classes)
    else:
        cos = multiplied(products, i, j, 1.0, a_ptr, u_ptr, samples, classes)
        z, slope = mapped(cos, of_samples(p_ptr, p, i, samples), of_samples(q_ptr, q, i, samples), MAP)
        z = z * scale
    z = logits_of(z, i, j, b_ptr, b, labels_ptr, numbers_ptr, first, samples, classes, OF)
    if OF == "exponential":
        put_terms(z, slope, i, j, strip, u_ptr, most, shift_ptr, top_ptr, total_ptr, out_ptr, out_stride, samples,
                  classes, CLIP)
    elif OF == "both ways":
        z = tl.where((i < samples)[:, None], z, float("-inf"))
        if out_ptr is None:
            put_terms(z, None, i, j, strip, None, most, shift_ptr, top_ptr, total_ptr, None, 0, samples, classes, False)
            put_terms(tl.trans(z), None, j, i, block, None, most, class_shift_ptr, class_top_ptr, class_total_ptr, None,
                      0, classes, samples, False)
        else:
            shares = shares_of(z, i, shift_ptr, factor_ptr, samples)
            shares += tl.trans(shares_of(tl.trans(z), j, class_shift_ptr, class_factor_ptr, classes))
            put(shares, i, j, u_ptr, most, out_ptr, out_stride, samples, classes)
    else:
        put_sums(z, slope, i, j, strip, u_ptr, most, factor_ptr, total_ptr, out_ptr, out_stride, samples, classes, OF)


@triton.jit
def multiplied(products, i, j, scale, a_ptr, u_ptr, samples, classes):
    """The products by their factors, s a u (x · w)."""
    if u_ptr is not None:
        products = products * (scale * tl.load(u_ptr + j, mask=j < classes, other=0.0))[None, :]
        if a_ptr is not None:
            products = products * tl.load(a_ptr + i, mask=i < samples, other=0.0)[:, None]
    elif a_ptr is not None:
        products = products * (scale * tl.load(a_ptr + i, mask=i < samples, other=0.0))[:, None]
    else:
        products = products * scale
    return products


@triton.jit
def logits_of(z, i, j, b_ptr, b, labels_ptr, numbers_ptr, first, samples, classes, OF: tl.constexpr):
    """With the bias; those of the label's number, or beyond the last, are such that nothing is left."""
    z = z + (b if b_ptr is None else tl.load(b_ptr + j, mask=j < classes, other=0.0)[None, :])
    labels = tl.load(labels_ptr + i, mask=i < samples, other=-1)
    numbers = first + j if numbers_ptr is None else tl.load(numbers_ptr + j, mask=j < classes, other=0)
    left_out = (labels[:, None] == numbers[None, :]) | (j >= classes)[None, :]
    return tl.where(left_out, 0.0 if OF == "half square" else float("-inf"), z)


@triton.jit
def of_samples(ptr, number, i, samples):
    """One number for each sample of the block, or for all."""
    return number if ptr is None else tl.load(ptr + i, mask=i < samples, other=0.0)[:, None]


@triton.jit
def mapped(cos, p, q, MAP: tl.constexpr):
    """Of cosines η, and η′: of a power 2 ((c + 1)/2)ᵖ − 1 + q; or c (p + c) where c > q, and c elsewhere."""
    # Not by minimum() and maximum(), which would make a number of NaN.
    cos = tl.where(cos > 1.0, 1.0, tl.where(cos < -1.0, -1.0, cos))
    if MAP == "power":
        half = tl.where(cos > -1.0, (cos + 1.0) / 2.0, cos * 0.0 + LEAST)
        power = tl.exp2((p - 1.0) * tl.log2(half))
        return 2.0 * power * half - 1.0 + q, p * power
    else:
        tl.static_assert(MAP == "above a threshold")
        return tl.where(cos > q, cos * (p + cos), cos), tl.where(cos > q, p + 2.0 * cos, 1.0)


@triton.jit
def put_terms(z, slope, i, j, strip, u_ptr, most, shift_ptr, top_ptr, total_ptr, out_ptr,
              out_stride, samples, classes, CLIP: tl.constexpr):
    """Terms e^(z − shift), times η′ and u to `out`, and their sum over the classes of the block.

    By the largest logit if no shift is given: that goes to `top`, and is NaN if a logit is.
    """
    if shift_ptr is None:
        shift = tl.max(z, axis=1)
        # Of nothing but −∞ no term is NaN.
        terms = tl.exp(z - tl.where(shift == float("-inf"), 0.0, shift)[:, None])
    else:
        shift = tl.load(shift_ptr + i, mask=i < samples, other=0.0)
        z = z - shift[:, None]
        if CLIP:  # not by minimum(), which would make a number of NaN
            z = tl.where(z > 0.0, 0.0, z)
        terms = tl.exp(z)
    if total_ptr is not None:
        total, at = tl.sum(terms, axis=1), strip.to(tl.int64) * samples + i
        tl.store(total_ptr + at, total, mask=i < samples)
        if top_ptr is not None:
            tl.store(top_ptr + at, tl.where(total == total, shift, total), mask=i < samples)
    if out_ptr is not None:
        if slope is not None:
            terms = terms * slope
        put(terms, i, j, u_ptr, most, out_ptr, out_stride, samples, classes)


@triton.jit
def shares_of(z, i, total_ptr, factor_ptr, samples):
    """A factor times e^(z − total), of every sample."""
    z = z - tl.load(total_ptr + i, mask=i < samples, other=0.0)[:, None]
    z = tl.where(z > 0.0, 0.0, z)
    return tl.exp(z) * tl.load(factor_ptr + i, mask=i < samples, other=0.0)[:, None]


@triton.jit
def put_sums(z, by_cos, i, j, strip, u_ptr, most, factor_ptr, total_ptr, out_ptr, out_stride, samples, classes,
             OF: tl.constexpr):
    """Slopes f′(z), times η′, u and the factor of the sample to `out`, and Σ f(z) over the block's classes."""
    if OF == "softplus":
        value, slope = softplus_of(z)
    else:
        tl.static_assert(OF == "half square")
        value, slope = 0.5 * z * z, z
    if total_ptr is not None:
        tl.store(total_ptr + strip.to(tl.int64) * samples + i, tl.sum(value, axis=1), mask=i < samples)
    if out_ptr is not None:
        if by_cos is not None:
            slope = slope * by_cos
        if factor_ptr is not None:
            slope = slope * tl.load(factor_ptr + i, mask=i < samples, other=0.0)[:, None]
        put(slope, i, j, u_ptr, most, out_ptr, out_stride, samples, classes)


@triton.jit
def softplus_of(z):
    """log(1 + eᶻ), and its slope."""
    small = tl.exp(-tl.abs(z))
    above = 1.0 + small
    # What was rounded off in that sum divides out.
    beyond = tl.where(above == 1.0, small, tl.log(above) * (small / (above - 1.0)))
    return tl.where(z > 0.0, z, 0.0) + beyond, tl.where(z > 0.0, 1.0, small) / above


@triton.jit
def put(terms, i, j, u_ptr, most, out_ptr, out_stride, samples, classes):
    """Terms times u, up to the largest factor, in their place."""
    if u_ptr is not None:
        u = tl.load(u_ptr + j, mask=j < classes, other=0.0)
        terms = terms * tl.where(u > most, most, u)[None, :]
    # A row of `out` is a class, and rows are more than 32 bits can count the elements of.
    at = j.to(tl.int64)[None, :] * out_stride + i[:, None]
    tl.store(out_ptr + at, terms.to(out_ptr.dtype.element_ty),
             mask=(i < samples)[:, None] & (j < classes)[None, :])
