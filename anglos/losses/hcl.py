"""Contrastive loss with hard negatives."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ_ip = log(1 + N_g e^(−x·p/τ)), N_g reweighted negatives",
              paper="Robinson et al. 2021, arXiv:2010.04592")
def hcl(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    temperature: define.Temperature = 0.5, beta: define.Factor = 1.0, tau_plus: define.Part = 0.1,
    **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Contrastive loss with hard negatives: NT-Xent whose negatives are weighted by their similarity, and debiased.

    ℓ_ip = log(1 + N_g e^(−s_p)), s = cos θ / τ, with N_g = max( N (R − τ⁺ e^(s_p)) / (1 − τ⁺), N e^(−1/τ) ) and
    R = Σ_n e^((1+β) s_n) / Σ_n e^(β s_n): the mean of e^(s_n) over the N negatives, weighted by e^(β s_n), less the
    share τ⁺ of them that are positives after all. The weights are differentiated too, as in the authors' code.

    Parameters
    ----------
    labels
        ... A weight is a factor of its ℓ_ip, also in the mean's divisor.
    beta
        β: how much harder negatives weigh. 0 is the debiased contrastive loss of Chuang et al. 2020. ...
    tau_plus
        τ⁺: the probability that a negative is of the same class after all. ...
    reduction
        The mean of all pairs of an anchor with a positive, of anchors that have a negative; their sum; or the sum of
        each anchor's, (B,).

    References
    ----------
    Robinson, Chuang, Sra, Jegelka, "Contrastive Learning with Hard Negative Samples", ICLR 2021, arXiv:2010.04592.

    Examples
    --------
    With β = τ⁺ = 0 it is NT-Xent: logits 1 for the pair and 0, 0 for the negatives.

    >>> import anglos, math, numpy as np
    >>> views = np.asarray([[1.0, 0.0], [0.0, 1.0], [2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.hcl(views, np.asarray([0, 1, 0, 1]), temperature=1.0, beta=0.0, tau_plus=0.0)
    >>> round(float(loss), 6), round(math.log(1 + 2 / math.e), 6)
    (0.551445, 0.551445)
    """
    scale = 1.0 / temperature
    return define.PairRow(partial(_terms, beta=beta, tau_plus=tau_plus, scale=scale), scale,
                          names=define.by_temperature(temperature))


def _terms(backend: define.Backend, tile: define.PairTile, *, beta: Any, tau_plus: Any, scale: Any) -> define.Terms:
    """ℓ_p = ς(h_p), h_p = log N + max( log((e^(r − s_p) − τ⁺) / (1 − τ⁺)), −1/τ − s_p ), r = log R.

    ∂h_p/∂r = −∂h_p/∂s_p = 1 / (1 − τ⁺ e^(s_p − r)) in the first case, ∂h_p/∂s_p = −1 in the second;
    ∂r/∂s_n = (1 + β) softmax((1 + β) s)_n − β softmax(β s)_n, ∂r/∂β = Σ_n s_n (softmax((1 + β) s)_n − softmax(β s)_n).
    ∂h_p/∂τ⁺ = (1 − e^(s_p − r)) / ((1 − τ⁺) (1 − τ⁺ e^(s_p − r))) in the first, ∂h_p/∂τ = 1/τ² in the second.
    """
    xp, z = backend.xp, tile.values
    count = define.count_pairs(xp, tile, tile.negative)[:, None]
    some = count > 0.0
    sharper, sharp = (define.log_sum_exp(xp, b * z, tile.negative) for b in (1.0 + beta, beta))
    log_mean = xp.where(some, sharper, 0.0) - xp.where(some, sharp, 0.0)
    chosen = tile.positive & some
    gap = xp.where(chosen, log_mean - z, 0.0)
    excess = xp.exp(xp.where(gap < -60.0, 60.0, -gap))  # e⁶⁰ τ⁺ is as good as infinite
    debiased = 1.0 - tau_plus * excess
    usable = ~(debiased <= 0.0)  # and not "> 0": a NaN must stay one
    safe = xp.where(usable, debiased, 1.0)
    first, second = gap + xp.log(safe / (1.0 - tau_plus)), -scale - z
    reweighted = usable & ~(first <= second)
    h = xp.log(xp.where(some, count, 1.0)) + xp.where(reweighted, first, second)

    def parts() -> tuple[Any, ...]:
        """∂ℓ/∂h_p, ∂ℓ/∂r by every positive, and the two softmaxes."""
        missed = tile.weighted(xp.where(chosen, define.sigmoid(h), 0.0))
        return (missed, xp.where(reweighted, missed / safe, 0.0),
                define.share(xp, (1.0 + beta) * z, sharper, tile.negative),
                define.share(xp, beta * z, sharp, tile.negative))

    def slope() -> Any:
        missed, rate, of_sharper, of_sharp = parts()
        by_negative = (1.0 + beta) * of_sharper - beta * of_sharp
        return xp.sum(rate, axis=1, keepdims=True) * by_negative - xp.where(reweighted, rate, missed)

    def option_slopes() -> dict[str, Any]:
        missed, rate, of_sharper, of_sharp = parts()
        return {"beta": xp.sum(rate, axis=1) * xp.sum(z * (of_sharper - of_sharp), axis=1),
                "tau_plus": xp.sum(rate * (1.0 - excess), axis=1) / (1.0 - tau_plus),
                "temperature": xp.sum(xp.where(reweighted, 0.0, missed), axis=1) * scale * scale}

    value = define.sum_where(xp, chosen, tile.weighted(define.softplus(h)))
    return define.Terms(value, define.count_pairs(xp, tile, chosen), slope, option_slopes)
