"""SphereFace2's curves, and the bias at which its loss of right angles is least."""

import math
from typing import Any

from anglos.arrays.dispatch import backend_of
from anglos.engines.angles import turned_cosine
from anglos.engines.numerics import Array, is_number, sigmoid, smallest_normal
from anglos.engines.prototypes.row import Curve
from anglos.engines.reductions import Binary


def _g(xp: Any, cos: Any, t: Any) -> tuple[Any, Any, dict[str, Any]]:
    """G = 2 ((v + 1)/2)ᵗ − 1, g′ = t ((v + 1)/2)^(t − 1), ∂g/∂t = (g + 1) log((v + 1)/2)."""
    half = xp.clip((cos + 1.0) / 2.0, smallest_normal(xp, cos.dtype), None)
    twice = 2.0 * half**t
    return twice - 1.0, t * half ** (t - 1.0), {} if is_number(t) else {"t": twice * xp.log(half)}


def target(backend: Any, cos: Any, length: Any, *, variant: str, margin: Any, t: Any, exact: bool) -> Curve:
    """C: g(v) − m and g′(v). A, M: g(φ) with φ = cos t; g′(φ) φ′ if exact, else g′(v) in the place of its slope."""
    xp = backend.xp
    if variant == "C":
        value, slope, by_t = _g(xp, cos, t)
        return Curve(value - margin, slope, {"margin": -1.0, **by_t})
    fixed = cos if exact else backend.stop_gradient(cos)
    angle = {"shift": margin} if variant == "A" else {"factor": margin}
    turned = turned_cosine(backend, fixed, past_pi="clamp", **angle)
    value, slope, by_t = _g(xp, turned.value, t)
    by_margin = {"margin": slope * (turned.by_shift if variant == "A" else turned.by_factor)}
    if exact:
        return Curve(value, slope * turned.slope, {**by_margin, **by_t})
    (unturned, slope, more), (same, _, less) = _g(xp, cos, t), _g(xp, fixed, t)
    by_t = {name: more[name] + (by_t[name] - less[name]) for name in by_t}  # as the value is, for second derivatives
    return Curve(unturned + (value - same), slope, {**by_margin, **by_t})


def rest(backend: Any, cos: Any, statistic: Any, *, variant: str, margin: Any, t: Any) -> Curve:
    """η = g(v), for C g(v) + m; η′ = g′(v)."""
    value, slope, by_t = _g(backend.xp, cos, t)
    return Curve(value + margin, slope, {"margin": 1.0, **by_t}) if variant == "C" else Curve(value, slope, by_t)


def least_bias(xp: Any, where: Any, own: Any, other: Any, odds: Any) -> Any:
    """The b at which z ς(−(own + b)) + ς(other + b) is least, z the odds: an equation in eᵇ, without cancellation."""
    above = where(own > other, 0.5 * (own - other), 0.0)
    apart = abs(1.0 - odds) * xp.exp(-above)
    log_sum = above + xp.log(apart + xp.sqrt(apart**2 + 4.0 * odds * xp.exp(own - other - 2.0 * above)))
    return where(odds < 1.0, xp.log(2.0 * odds) - log_sum - other, log_sum - math.log(2.0) - own)


def least_bias_slopes(backend: Any, bias: Array, own: Array, other: Array) -> tuple[Array, Array, Array]:
    """∂b/∂own = −u/(u + v), ∂b/∂other = −v/(u + v), ∂b/∂log z = 1/(u + v), u = σ(own + b) and v = σ(−(other + b))."""
    u, v = sigmoid(backend, own + bias), sigmoid(backend, -(other + bias))
    return -u / (u + v), -v / (u + v), 1.0 / (u + v)


def bias_of_arrays(num_classes: int, variant: str, margin: Any, scale: Any, balance: Any, t: Any
                   ) -> tuple[Any, dict[str, Any]]:
    """`sphereface2_bias` where an option is an array, and its slopes in the options."""
    array = next(option for option in (margin, scale, balance, t) if not is_number(option))
    backend: Any = backend_of(array)
    zero = backend.asarray(0.0, array, array.dtype)
    own = target(backend, zero, None, variant=variant, margin=margin, t=t, exact=True)
    other = rest(backend, zero, None, variant=variant, margin=margin, t=t)
    odds = (balance + zero) / ((1.0 - balance) * max(num_classes - 1, 1))
    bias = least_bias(backend.xp, backend.xp.where, scale * own.value, scale * other.value, odds)
    by_label, by_other, by_log_odds = least_bias_slopes(backend, bias, scale * own.value, scale * other.value)
    slopes = {name: scale * (by_label * slope + by_other * other.option_slopes.get(name, 0.0))
              for name, slope in own.option_slopes.items()}
    return bias, {**slopes, "scale": by_label * own.value + by_other * other.value,
                  "balance": by_log_odds / (balance * (1.0 - balance))}


def weighted(balance: Any, scale: Any, by_bias: dict[str, Any]) -> tuple[Binary, dict[str, Any]]:
    """λ₊ = λ/s and λ₋ = (1 − λ)/s, and the slopes of all fields of the row in every option."""
    positive, negative = balance / scale, (1.0 - balance) / scale
    names = {"scale": (("scale", 1.0), ("positive", -positive / scale), ("negative", -negative / scale)),
             "balance": (("positive", 1.0 / scale), ("negative", -1.0 / scale))}
    return Binary(positive, negative), {**names, **{
        name: (*names.get(name, ()), ("bias", slope)) for name, slope in by_bias.items()}}
