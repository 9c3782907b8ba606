"""Tuplet margin loss."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ_ap = log(1 + Σ_n e^(s (cos θ_an − cos(θ_ap − β))))", paper="Yu & Tao 2019 (ICCV)")
def tuplet_margin(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    margin: define.SharedAngle = 0.1, scale: define.Scale = 64.0, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Tuplet margin loss: `nt_xent` whose positives count as if they were nearer, by an angle.

    ℓ_ap = log(1 + Σ_n exp(s (cos θ_an − cos(θ_ap − β)))), p over the samples of the same class, n over those of others.
    The slack β, 5.73° by default, keeps positives from being pulled into one point: of one nearer than β, cos(θ_ap − β)
    falls again, and it is pushed back. Not so at θ = 0, to rounding, where that slope is infinite and has no direction.

    Parameters
    ----------
    labels
        ... A weight is a factor of its ℓ_ap, also in the mean's divisor.
    margin
        β. ...
    reduction
        The mean of all pairs of an anchor with a positive, of anchors that have a negative; their sum; or the sum of
        each anchor's, (B,).

    References
    ----------
    Yu, Tao, "Deep Metric Learning with Tuplet Margin Loss", ICCV 2019.

    Examples
    --------
    θ = 60° to the positive and 90° to the negative, β = 60°, s = 1: log(1 + exp(0 − 1)).

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[0.5, 0.75**0.5, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 2.0]])
    >>> loss = anglos.tuplet_margin(embeddings, np.asarray([5, 5, 7]), margin=math.pi / 3, scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.PairRow(partial(_terms, margin=margin, scale=scale))


def _terms(backend: define.Backend, tile: define.PairTile, *, margin: Any, scale: Any) -> define.Terms:
    """ℓ_p = ς(u_p), u_p = L − s φ_p, φ = cos(θ − β), L the log-sum-exp of s cos θ_n, q = σ(u).

    ∂ℓ_p/∂cos θ_p = −q s φ′, φ′ = cos β − sin β cos θ / sin θ; ∂ℓ_p/∂cos θ_n = q s softmax_n;
    ∂ℓ_p/∂β = −q s sin(θ − β), ∂ℓ_p/∂s = q (Σ softmax_n cos θ_n − φ_p). Where sin θ is rounding noise, φ′ = cos β.
    """
    xp, cos = backend.xp, tile.values
    logits, (sin, divisor) = scale * cos, define.sines(backend, cos)
    cos_margin, sin_margin = define.cos_sin(xp, margin)
    nearer = cos * cos_margin + sin * sin_margin
    negatives = define.log_sum_exp(xp, logits, tile.negative)
    chosen = tile.positive & (negatives != -math.inf)
    excess = xp.where(chosen, negatives - scale * nearer, -math.inf)

    def parts() -> tuple[Any, Any]:
        """Q of every pair, and Σ_p q_p softmax_n."""
        missed = tile.weighted(define.sigmoid(excess))
        return missed, xp.sum(missed, axis=1, keepdims=True) * define.share(xp, logits, negatives, tile.negative)

    def slope() -> Any:
        missed, of_negatives = parts()
        noise = 2.0 * define.least_square(xp, cos.dtype)
        turned = xp.where((1.0 - cos) * (1.0 + cos) <= noise, 0.0, cos / divisor)
        return scale * (of_negatives - missed * (cos_margin - sin_margin * turned))

    def option_slopes() -> dict[str, Any]:
        missed, of_negatives = parts()
        farther = sin * cos_margin - cos * sin_margin
        return {"margin": -scale * xp.sum(missed * farther, axis=1),
                "scale": xp.sum(of_negatives * cos - missed * nearer, axis=1)}

    return define.Terms(define.sum_where(xp, chosen, tile.weighted(define.softplus(excess))),
                        define.count_pairs(xp, tile, chosen), slope, option_slopes)
