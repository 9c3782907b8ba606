"""Margin loss."""

from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.pairs(formula="ℓ = [D_p − β + α]₊ of positives, [β − D_n + α]₊ of negatives",
              paper="Wu et al. 2017, arXiv:1706.07567")
def margin_loss(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    beta: define.Boundary = 1.2, margin: define.PairMargin = 0.2, over: Literal["pairs", "triplets"] = "pairs",
    nu: define.Factor = 0.0, **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Margin loss: a boundary β between the distances of positives and of negatives, with a margin on both sides.

    [D_p − β + α]₊ for a pair of one class, [β − D_n + α]₊ for a pair of two, D = |x̂ − r̂|. β is learnt, one for all or
    one for each class, which is that of the anchor. The paper draws negatives by their distances; here all count, but
    for `excluded_pairs`.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector has cosine 0 with all others.
    labels
        ... A weight is a factor of its term, also in the mean's divisor.
    margin
        α, in units of the distance. An array is differentiated.
    over
        "triplets": a positive counts once for every negative of its anchor, a negative once for every positive. So
        does pytorch-metric-learning.
    nu
        ν: where a pair is active, ν times the mean of the anchors' β is added, without which a learnt β may run off
        with the embeddings. With the reductions "sum" and "none" it is times as many active pairs as an anchor has on
        average, whatever the weights of samples are. ...
    reduction
        The mean of the pairs whose term is above 0; their sum; or the sum of each anchor's, (B,).

    Raises
    ------
    ValueError
        If β is given for every class, and labels are not of shape (B,).

    References
    ----------
    Wu, Manmatha, Smola, Krähenbühl, "Sampling Matters in Deep Embedding Learning", ICCV 2017, arXiv:1706.07567.

    Examples
    --------
    β = 1, α = 0.25; D = 0 and √2: both pairs are beyond the boundary. At D = 1 to the negative the term is 0.25.

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.5, 0.75**0.5]])
    >>> loss = anglos.margin_loss(embeddings, np.asarray([5, 5, 7]), beta=1.0, margin=0.25)
    >>> round(float(loss), 6)
    0.25
    """
    given: Any = beta
    if not define.is_number(given) and len(given.shape) == 1 and len(labels.shape) > 1:
        raise ValueError(f"margin_loss: labels was of shape {tuple(labels.shape)}; wanted (B,), as beta is per class")
    own = partial(_per_anchor, beta=beta, nu=nu) if not define.is_number(nu) or nu else None
    return define.PairRow(partial(_terms, beta=beta, margin=margin, over=over), distance="euclidean", per_anchor=own)


def _terms(backend: define.Backend, tile: define.PairTile, *, beta: Any, margin: Any, over: str) -> define.Terms:
    """ℓ = Σ w [h]₊, h = ±(D − β) + α, w the number of triplets, or 1.

    Where h > 0, ∂ℓ/∂D = ±w; ∂ℓ/∂β = −Σ ∂ℓ/∂D, ∂ℓ/∂α = Σ w.
    """
    xp, distance = backend.xp, tile.values
    of_anchor, by_class = _of_anchor(backend, tile.labels, beta)
    beyond = distance - (of_anchor if by_class is None else of_anchor[:, None])
    error = xp.where(tile.positive, beyond, -beyond) + margin
    error = xp.where(tile.positive | tile.negative, define.positive_part(xp, error), 0.0)
    times = tile.weighted(xp.ones_like(error))
    if over == "triplets":
        positives, negatives = (define.count_pairs(xp, tile, mask)[:, None] for mask in (tile.positive, tile.negative))
        times = times * xp.where(tile.positive, negatives, positives)
    active = xp.where(error > 0.0, times, 0.0)
    signed = xp.where(tile.positive, active, -active)
    by_beta = -xp.sum(signed, axis=1)
    return define.Terms(xp.sum(times * error, axis=1), xp.sum(active, axis=1), lambda: signed, lambda: {
        "margin": xp.sum(active, axis=1), "beta": by_beta if by_class is None else lambda g: by_class(g * by_beta)})


def _per_anchor(backend: define.Backend, labels: Any, *, beta: Any, nu: Any) -> Any:
    """ν β of every anchor; ∂/∂ν = β, ∂/∂β = ν."""
    of_anchor, by_class = _of_anchor(backend, labels, beta)
    return nu * of_anchor, lambda g: {"nu": backend.xp.sum(g * of_anchor),
                                      "beta": nu * (backend.xp.sum(g) if by_class is None else by_class(g))}


def _of_anchor(backend: define.Backend, labels: Any, beta: Any) -> Any:
    """β of every anchor, (B,), and from numbers of anchors to their sums by class; β itself and None if it is one."""
    if define.is_number(beta) or beta.ndim == 0:
        return beta, None
    classes = beta.shape[0]
    known = backend.xp.clip(labels, 0, classes - 1)  # what is ignored does not count
    return backend.of_label(beta, known), lambda g: backend.sum_by_label(g[:, None], known, classes)[:, 0]
