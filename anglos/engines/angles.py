"""cos(m₁θ + m₂) as a function of cos θ, and how it goes on where it would rise again."""

import math
from functools import partial
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, is_number, is_one, least_sine, sines


class Turned(NamedTuple):
    """A value, its slope in cos θ, and its slopes in m₂ and m₁: 0 if that is a number, which has no gradient.

    Attributes
    ----------
    value
        Of cos t.
    slope
        In cos θ.
    by_shift
        The slope in m₂; 0 if that is a number.
    by_factor
        The slope in m₁; 0 if that is a number.
    """

    value: Any
    slope: Any
    by_shift: Any
    by_factor: Any


def turned_cosine(backend: Backend, cos: Array, *, factor: Any = 1.0, shift: Any = 0.0, past_pi: str = "smooth"
                  ) -> Turned:
    """Cos t for t = factor·θ + shift while t ≤ π, and beyond it what `past_pi` names."""
    single = is_one(factor)
    if backend.at_once and single and is_number(shift) and (
            at_once := backend.turned_cosine(cos, partial(_by_numbers, backend.xp, cos.dtype, shift, past_pi))):
        return Turned(*at_once, 0.0, 0.0)
    xp, (sin, divisor) = backend.xp, sines(backend, cos)
    multiple_cos, multiple_sin, multiple_ratio, theta = cos, sin, 1.0, None
    if not single:
        multiple_cos, multiple_sin, multiple_ratio, theta = _multiple_angle(xp, cos, sin, divisor, factor)
    cos_shift, sin_shift = cos_sin(xp, shift)
    cos_t = multiple_cos * cos_shift - multiple_sin * sin_shift
    ratio_t = multiple_ratio * cos_shift + multiple_cos * sin_shift / divisor  # sin t / sin θ
    by_shift: Any = 0.0
    if not (is_number(shift) and is_number(factor)):
        by_shift = -(multiple_sin * cos_shift + multiple_cos * sin_shift)  # −sin t
    turn = Turned(cos_t, ratio_t if single else factor * ratio_t, by_shift, 0.0 if theta is None else theta * by_shift)

    # The number of times that t has passed a multiple of π: at most once, where t is no multiple of θ.
    passes: Any = 1.0
    if theta is None:
        if past_pi != "easy" and backend.surely_above(cos, cos_sin(xp, (math.pi - shift) / factor)[0]):
            return turn
        passed = [cos < cos_sin(xp, (q * math.pi - shift) / factor)[0] for q in range(1, int(factor) + 1)]
        if len(passed) > 1:
            counts = [xp.astype(one, cos.dtype) for one in passed]
            passes = sum(counts[1:], start=counts[0])
        here = passed[0]
    else:
        passes = xp.floor((factor * theta + shift) / math.pi)
        here = passes > 0.0
    here = cos <= 0.0 if past_pi == "easy" else here
    there = PAST_PI[past_pi](xp, cos, passes, turn, factor, shift)
    return Turned(*(within if is_number(within) else xp.where(here, beyond, within)
                    for beyond, within in zip(there, turn, strict=True)))


def _smooth(xp: Any, cos: Array, passes: Any, turn: Turned, factor: Any, shift: Any) -> Turned:
    """(−1)ᵏ cos t − 2k after k passes: falls all the way, with a continuous slope."""
    sign = -1.0 if is_number(passes) else 1.0 - 2.0 * xp.remainder(passes, 2.0)
    return Turned(sign * turn.value - 2.0 * passes, *(sign * slope for slope in turn[1:]))


def _shifted(xp: Any, cos: Array, passes: Any, turn: Turned, factor: Any, shift: Any) -> Turned:
    """Cos θ − cos θ₀ − 1 from θ₀ = (π − m₂)/m₁ on: continuous, slope 1."""
    start = (math.pi - shift) / factor
    cos_start, sin_start = cos_sin(xp, start)
    return Turned(cos - cos_start - 1.0, 1.0, -sin_start / factor, -sin_start * start / factor)


def _linear(xp: Any, cos: Array, passes: Any, turn: Turned, factor: Any, shift: Any) -> Turned:
    """Cos θ − m₂ sin m₂: slope 1, and a jump down of cos m₂ + m₂ sin m₂ − 1 where it starts (for m₁ = 1)."""
    cos_shift, sin_shift = cos_sin(xp, shift)
    return Turned(cos - shift * sin_shift, 1.0, -sin_shift - shift * cos_shift, 0.0)


def _clamp(xp: Any, cos: Array, passes: Any, turn: Turned, factor: Any, shift: Any) -> Turned:
    """−1: continuous, but a target there gets no gradient."""
    return Turned(-1.0, 0.0, 0.0, 0.0)


def _reflect(xp: Any, cos: Array, passes: Any, turn: Turned, factor: Any, shift: Any) -> Turned:
    """Cos t as it is: rises again, and its gradient pushes the wrong way."""
    return turn


def _easy(xp: Any, cos: Array, passes: Any, turn: Turned, factor: Any, shift: Any) -> Turned:
    """Cos θ, without a margin, from 90° on: jumps up there."""
    return Turned(cos, 1.0, 0.0, 0.0)


PAST_PI = {
    "smooth": _smooth,
    "shifted": _shifted,
    "linear": _linear,
    "clamp": _clamp,
    "reflect": _reflect,
    "easy": _easy,
}


def _by_numbers(xp: Any, dtype: Any, shift: float, past_pi: str) -> tuple[Any, ...]:
    """All that a number of a shift settles: as `Backend.turned_cosine` asks for it.

    What is beyond π is a line in cos θ and in cos t.
    """
    def beyond(cos: float, turned: float) -> float:
        value: float = PAST_PI[past_pi](xp, cos, 1.0, Turned(turned, 0.0, 0.0, 0.0), 1.0, shift).value
        return value

    constant, is_easy = beyond(0.0, 0.0), past_pi == "easy"
    start = 0.0 if is_easy else math.cos(math.pi - shift)
    return (*cos_sin(xp, shift), least_sine(xp, dtype), start, is_easy,
            constant, beyond(1.0, 0.0) - constant, beyond(0.0, 1.0) - constant)


def _multiple_angle(xp: Any, cos: Array, sin: Array, divisor: Array, factor: Any
                    ) -> tuple[Array, Array, Any, Array | None]:
    """Cos mθ, sin mθ, sin mθ / sin θ, and θ where it was needed.

    An integer m needs no θ: cos mθ and sin mθ / sin θ are the Chebyshev polynomials T_m and U_{m−1} of cos θ.
    """
    if is_number(factor) and int(factor) == factor:  # of one that is a variable torch.compile misjudges factor % 1.0
        multiple_cos, ratio, sin_squared = cos, 1.0, (1.0 - cos) * (1.0 + cos)
        for _ in range(int(factor) - 1):  # the addition theorems for kθ + θ
            multiple_cos, ratio = cos * multiple_cos - sin_squared * ratio, cos * ratio + multiple_cos
        return multiple_cos, sin * ratio, ratio, None
    theta = xp.atan2(sin, cos)
    multiple_sin = xp.sin(factor * theta)
    return xp.cos(factor * theta), multiple_sin, multiple_sin / divisor, theta


def cos_sin(xp: Any, angle: Any) -> tuple[Any, Any]:
    """Cos and sin of a number or an array."""
    if is_number(angle):
        return math.cos(angle), math.sin(angle)
    return xp.cos(angle), xp.sin(angle)
