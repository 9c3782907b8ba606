"""SphereFace2."""

import math
from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.prototypes(formula="z_y = s·g(φ) + b, z_j = s·g(η) + b, g(v) = 2((v + 1)/2)ᵗ − 1",
                   paper="Wen et al. 2022, arXiv:2108.01513")
def sphereface2(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    variant: Literal["C", "A", "M"] = "C", margin: define.SphereFace2Margin = None, scale: define.Scale = 40.0,
    balance: define.Balance = 0.7, t: define.PositiveFactor = 3.0, bias: define.ScalarBias = None,
    gradient: Literal["paper", "exact", "straight_through"] = "paper", **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """SphereFace2: does the embedding belong to a class? Asked of every class by itself, with one bias for all.

    ℓ = λ/s ς(−z_y) + (1 − λ)/s Σ_{j≠y} ς(z_j), a sum over classes, with ς(v) = log(1 + eᵛ) and
    g(v) = 2 ((v + 1)/2)ᵗ − 1. Variant C has z_y = s (g(cos θ_y) − m) + b and z_j = s (g(cos θ_j) + m) + b; A has
    z_y = s g(cos(min(θ_y + m, π))) + b, M has z_y = s g(cos(min(m θ_y, π))) + b, both with z_j = s g(cos θ_j) + b.

    Parameters
    ----------
    variant
        Where the margin is: on the cosine, added to the angle, or a factor of it.
    margin : number from 0 to π, or array () or (B,), optional
        m: for C subtracted from g, for A an angle in radians, for M a factor. None: 0.4, 0.5, 1.7.
    scale
        s, the paper's r. An array is differentiated: a learnable scale.
    balance
        λ, the weight of the label's class. An array is differentiated. Where `bias` is None, neither 0 nor 1, at
        which no bias is best.
    t
        Of g: how much similarities are drawn apart. ...
    bias
        ... None: `sphereface2_bias(C, ...)`, at which the loss of right angles is least. It follows options that
        are arrays, and their gradients go through it; of margins (B,) it takes the default.
    gradient
        "paper" takes the slope of A and M in cos θ_y as g′(cos θ_y) (for C this is exact); "straight_through"
        takes every slope in a cosine as 1, as the authors' code does. Those in options are exact.

    References
    ----------
    Wen, Liu, Weller, Raj, Singh, "SphereFace2", ICLR 2022, arXiv:2108.01513.

    Examples
    --------
    Aligned with its own prototype, g = 1, and opposite to the other, g = −1; m = 0, s = 1, b = 0, λ = 1/2:
    ½ ς(−1) + ½ ς(−1).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [-1.0, 0.0]])
    >>> options = {"margin": 0.0, "scale": 1.0, "balance": 0.5, "bias": 0.0}
    >>> loss = anglos.sphereface2(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), **options)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    margin = _MARGINS[variant] if margin is None else margin
    by_bias: dict[str, Any] = {"bias": 1.0}
    if bias is None:
        shared = margin if define.is_number(margin) or getattr(margin, "ndim", 0) == 0 else _MARGINS[variant]
        options: dict[str, Any] = {"margin": shared, "scale": scale, "balance": balance, "t": t}
        if all(map(define.is_number, options.values())):
            bias, by_bias = sphereface2_bias(weights.shape[0], variant=variant, **options), {}
        else:
            bias, by_bias = _bias_of_arrays(weights.shape[0], variant, **options)
    binary, names = _weighted(balance, scale, by_bias)
    known = ("power", t, margin if variant == "C" else 0.0) if all(map(define.is_number, (t, margin))) else ()
    return define.Row(scale, partial(_target, variant=variant, margin=margin, t=t, exact=gradient == "exact"), binary,
                      bias, rest=partial(_rest, variant=variant, margin=margin, t=t), known=known, names=names,
                      straight_through=gradient == "straight_through")


_MARGINS = {"C": 0.4, "A": 0.5, "M": 1.7}


def sphereface2_bias(num_classes: int, *, variant: str = "C", margin: float = 0.4, scale: float = 40.0,
                     balance: float = 0.7, t: float = 3.0) -> float:
    """The bias of `sphereface2` at which the loss is least when all cosines are 0, as they are at the start.

    >>> round(sphereface2_bias(5), 4), round(sphereface2_bias(10572, variant="A", margin=0.5), 4)
    (14.3365, 21.5816)
    """
    label_cos = {"C": 0.0, "A": -math.sin(margin), "M": math.cos(min(margin * math.pi / 2, math.pi))}[variant]
    shift = margin if variant == "C" else 0.0
    label, other = (float(scale * (2 * ((cos + 1) / 2) ** t - 1 + change))
                    for cos, change in ((label_cos, -shift), (0.0, shift)))
    odds = balance / ((1.0 - balance) * max(num_classes - 1, 1))
    return float(_least_bias(math, lambda condition, a, b: a if condition else b, label, other, odds))


def _g(xp: Any, cos: Any, t: Any) -> tuple[Any, Any, dict[str, Any]]:
    """G = 2 ((v + 1)/2)ᵗ − 1, g′ = t ((v + 1)/2)^(t − 1), ∂g/∂t = (g + 1) log((v + 1)/2)."""
    half = xp.clip((cos + 1.0) / 2.0, define.smallest_normal(xp, cos.dtype), None)
    twice = 2.0 * half**t
    return twice - 1.0, t * half ** (t - 1.0), {} if define.is_number(t) else {"t": twice * xp.log(half)}


def _target(backend: define.Backend, cos: Any, length: Any, *, variant: str, margin: Any, t: Any, exact: bool
            ) -> define.Curve:
    """C: g(v) − m and g′(v). A, M: g(φ) with φ = cos t; g′(φ) φ′ if exact, else g′(v) in place of its slope."""
    xp = backend.xp
    if variant == "C":
        value, slope, by_t = _g(xp, cos, t)
        return define.Curve(value - margin, slope, {"margin": -1.0, **by_t})
    fixed = cos if exact else backend.stop_gradient(cos)
    turned = define.turned_cosine(backend, fixed, past_pi="clamp", **{"shift" if variant == "A" else "factor": margin})
    value, slope, by_t = _g(xp, turned.value, t)
    by_margin = {"margin": slope * (turned.by_shift if variant == "A" else turned.by_factor)}
    if exact:
        return define.Curve(value, slope * turned.slope, {**by_margin, **by_t})
    (unturned, slope, more), (same, _, less) = _g(xp, cos, t), _g(xp, fixed, t)
    by_t = {name: more[name] + (by_t[name] - less[name]) for name in by_t}  # as the value is, for second derivatives
    return define.Curve(unturned + (value - same), slope, {**by_margin, **by_t})


def _rest(backend: define.Backend, cos: Any, statistic: Any, *, variant: str, margin: Any, t: Any) -> define.Curve:
    """η = g(v), for C g(v) + m; η′ = g′(v)."""
    value, slope, by_t = _g(backend.xp, cos, t)
    if variant == "C":
        return define.Curve(value + margin, slope, {"margin": 1.0, **by_t})
    return define.Curve(value, slope, by_t)


def _least_bias(xp: Any, where: Any, label: Any, other: Any, odds: Any) -> Any:
    """The b at which z ς(−(label + b)) + ς(other + b) is least, z the odds: an equation in eᵇ, without cancellation.

    By log2 and powers, of which torch.compile makes no constants where all are numbers.
    """
    above = where(label > other, 0.5 * (label - other), 0.0)
    apart = abs(1.0 - odds) * math.e**-above
    log_sum = above + math.log(2.0) * xp.log2(
        apart + xp.sqrt(apart**2 + 4.0 * odds * math.e**(label - other - 2.0 * above)))
    return where(odds < 1.0, math.log(2.0) * xp.log2(2.0 * odds) - log_sum - other, log_sum - math.log(2.0) - label)


def _least_bias_slopes(backend: define.Backend, bias: Any, label: Any, other: Any) -> tuple[Any, Any, Any]:
    """∂b/∂label = −u/(u + v), ∂b/∂other = −v/(u + v), ∂b/∂log z = 1/(u + v): u = σ(label + b), v = σ(−(other + b))."""
    u, v = define.sigmoid(label + bias), define.sigmoid(-(other + bias))
    return -u / (u + v), -v / (u + v), 1.0 / (u + v)


def _bias_of_arrays(num_classes: int, variant: str, margin: Any, scale: Any, balance: Any, t: Any
                   ) -> tuple[Any, dict[str, Any]]:
    """`sphereface2_bias` where an option is an array, and its slopes in the options."""
    array = next(option for option in (margin, scale, balance, t) if not define.is_number(option))
    backend: Any = define.backend_of(array)
    zero = backend.asarray(0.0, array, array.dtype)
    label = _target(backend, zero, None, variant=variant, margin=margin, t=t, exact=True)
    other = _rest(backend, zero, None, variant=variant, margin=margin, t=t)
    odds = (balance + zero) / ((1.0 - balance) * max(num_classes - 1, 1))
    bias = _least_bias(backend.xp, backend.xp.where, scale * label.value, scale * other.value, odds)
    by_label, by_other, by_log_odds = _least_bias_slopes(backend, bias, scale * label.value, scale * other.value)
    slopes = {name: scale * (by_label * slope + by_other * other.option_slopes.get(name, 0.0))
              for name, slope in label.option_slopes.items() if name != "margin" or not define.is_number(margin)}
    return bias, {**slopes, "scale": by_label * label.value + by_other * other.value,
                  "balance": by_log_odds / (balance * (1.0 - balance))}


def _weighted(balance: Any, scale: Any, by_bias: dict[str, Any]) -> tuple[define.Binary, dict[str, Any]]:
    """λ₊ = λ/s and λ₋ = (1 − λ)/s, and the slopes of all fields of the row in every option."""
    positive, negative = balance / scale, (1.0 - balance) / scale
    names = {"scale": (("scale", 1.0), ("positive", -positive / scale), ("negative", -negative / scale)),
             "balance": (("positive", 1.0 / scale), ("negative", -1.0 / scale))}
    return define.Binary(positive, negative), {**names, **{
        name: (*names.get(name, ()), ("bias", slope)) for name, slope in by_bias.items()}}
