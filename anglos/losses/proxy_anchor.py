"""Proxy-Anchor."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="Σ_c log(1+Σ_{x∈c} e^(−α(s−δ)))/|P⁺| + Σ_c log(1+Σ_{x∉c} e^(α(s+δ)))/C",
              paper="Kim et al. 2020, arXiv:2003.13911")
def proxy_anchor(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    scale: define.Scale = 32.0, margin: define.SharedCosineMargin = 0.1, **common: Unpack[define.ProxyCommon],
) -> define.PairRow:
    """Proxy-Anchor: every class prototype is an anchor, the embeddings of the batch its positives and negatives.

    ℓ = (1/|P⁺|) Σ_{c∈P⁺} log(1 + Σ_{x∈c} exp(−α (cos(x, w_c) − δ)))
    + (1/C) Σ_c log(1 + Σ_{x∉c} exp(α (cos(x, w_c) + δ))), P⁺ the classes with an embedding in the batch.

    Parameters
    ----------
    labels
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label out
        of range makes the loss NaN.
    scale
        α. An array is differentiated.
    margin
        δ. ...
    ignore_index
        Samples with this label take no part.
    reduction
        The loss as above; C times that; or the C terms of the prototypes, of which the loss is the mean.

    Returns
    -------
    array () or (C,)
        Of the floating-point type of the inputs, float32 at least.

    References
    ----------
    Kim, Kim, Cho, Kwak, "Proxy Anchor Loss for Deep Metric Learning", CVPR 2020, arXiv:2003.13911.

    Examples
    --------
    One embedding, of class 0; α = 1, δ = 0. Class 0 pays log(1 + e⁻¹) for it, class 1 half of log(1 + e⁰).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.proxy_anchor(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), scale=1.0, margin=0.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e) + math.log(2) / 2, 6)
    (0.659835, 0.659835)
    """
    return define.PairRow(partial(_terms, scale=scale, margin=margin))


def _terms(backend: define.Backend, tile: define.PairTile, *, scale: Any, margin: Any) -> define.Terms:
    """ℓ = (C/|P⁺|) ς(L_p) + ς(L_n); ∂ℓ/∂z_p = (C/|P⁺|) σ(L_p) softmax_p, ∂ℓ/∂z_n = σ(L_n) softmax_n.

    z_p = α (δ − s_p), z_n = α (s_n + δ): ∂ℓ/∂s_p = −α ∂ℓ/∂z_p, ∂ℓ/∂s_n = α ∂ℓ/∂z_n, ∂z/∂δ = α, ∂z/∂α = z/α.
    """
    xp, s = backend.xp, tile.values
    factor = 1.0 / define.divisor_of(xp, tile.part)
    pulls, pushes = scale * (margin - s), scale * (s + margin)
    pull, push = define.log_sum_exp(xp, pulls, tile.positive), define.log_sum_exp(xp, pushes, tile.negative)

    def by_logit() -> tuple[Any, Any]:
        return (factor * define.sigmoid(pull) * define.share(xp, pulls, pull, tile.positive),
                define.sigmoid(push) * define.share(xp, pushes, push, tile.negative))

    def slope() -> Any:
        by_pull, by_push = by_logit()
        return scale * (by_push - by_pull)

    def option_slopes() -> dict[str, Any]:
        by_pull, by_push = by_logit()
        return {"margin": scale * xp.sum(by_pull + by_push, axis=1),
                "scale": xp.sum(by_pull * pulls + by_push * pushes, axis=1) / scale}

    value = factor * define.softplus(pull) + define.softplus(push)
    return define.Terms(value[:, 0], xp.ones_like(s[:, 0]), slope, option_slopes)
