"""Contrastive loss of signal-to-noise distances."""

from functools import partial
from typing import Any

from anglos import define


@define.batchwise(formula="ℓ = mean [d_p − m_p]₊ + mean [m − d_n]₊, d = var(x − r)/var(x)",
                  paper="Yuan et al. 2019, arXiv:1904.02616")
def snr_contrastive(
    embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
    margin: define.PairMargin = 1.0, positive_margin: define.PairMargin = 0.0,
    normalize: define.NormalizedDistance = True, ignore_index: define.IgnoredGroup = -100,
) -> define.Direct:
    """Contrastive loss of signal-to-noise distances: how much of a sample another one differs by.

    ℓ = mean [d_ij − m_p]₊ over pairs of one class, plus mean [m − d_ij]₊ over pairs of two, each over the pairs whose
    term is above 0. d_ij = var(x_i − x_j) / var(x_i), of the components of a vector: noise over signal. It is not
    symmetric, and vectors that differ by a constant are equal to it.

    Parameters
    ----------
    embeddings
        One row per sample. From a vector whose components are all equal the distance is 0, with gradient 0.
    labels
        ... Pairs are compared in tiles.
    margin
        ...
    positive_margin
        m_p, as `margin`.
    normalize
        Whether vectors are divided by their lengths first.

    Notes
    -----
    No sample has a loss of its own: there is no `sample_weight` and no `reduction`. Without a term above 0 the mean
    is 0.

    References
    ----------
    Yuan, Deng, Tang, Tang, Chen, "Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning", CVPR 2019,
    arXiv:1904.02616.

    Examples
    --------
    The components less their means are (1, −1), (½, −½) and (−1, 1): d is ¼ from the first to the second and 1 back, 4
    and 9 to the third, 4 and 9/4 from there. The mean of ¼ and 1 is the whole loss: no negative is nearer than m = 1.

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[2.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    >>> float(anglos.snr_contrastive(embeddings, np.asarray([5, 5, 7]), normalize=False))
    0.625
    """
    return define.of_parts(partial(_parts, ignore_index=ignore_index, margin=margin, positive_margin=positive_margin,
                                   normalize=normalize), _gradients)


def _gradients(backend: define.Backend, g: Any, pairs: Any, points: Any, terms: Any, shares: Any, means: Any,
               signal: Any) -> dict[str, Any]:
    """With v = |x|² of x less its mean, and a_ij = ∂ℓ/∂d_ij / v_i: ∂ℓ/∂x_i = 2 Σ_j a_ij ((1 − d_ij) x_i − x_j),

    ∂ℓ/∂x_j = 2 Σ_i a_ij (x_j − x_i). ∂ℓ/∂d is 1 over the number of terms above 0, or −1 over it; ∂ℓ/∂m = 1 = −∂ℓ/∂m_p.
    """
    xp, (rows, inverse) = backend.xp, points

    def tile(products: Any, positive: Any, negative: Any, rows: Any, *signal: Any) -> Any:
        _, active, d = terms(products, positive, negative, *signal)
        by_d = xp.where(d > 0.0, active * signal[1][:, None] * xp.where(positive, shares[0], -shares[1]), 0.0)
        by_row = xp.sum(by_d * (1.0 - d), axis=1)[:, None] * rows - backend.product(by_d, pairs.rows)
        return {"columns": xp.sum(by_d, axis=0), "pulls": backend.product(by_d.T, rows)}, (by_row,)

    sums, (by_row,) = pairs.sums(tile, pairs.rows, *signal)
    d_rows = 2.0 * g * (by_row + sums["columns"][:, None] * pairs.rows - sums["pulls"])
    d_rows = d_rows - xp.mean(d_rows, axis=1, keepdims=True)
    d_rows = d_rows if inverse is None else define.unit_rows_pullback(backend, rows, inverse, d_rows)
    return {"embeddings": d_rows, "positive_margin": -g * means[0], "margin": g * means[1]}


def _parts(backend: define.Backend, embeddings: Any, labels: Any, *options: Any, ignore_index: int, margin: Any,
           positive_margin: Any, normalize: bool) -> Any:
    """ℓ; the pairs; x and 1/|x|; a tile's terms, which are above 0, and d; their shares, and sums; v and 1/v."""
    xp, least = backend.xp, define.least_square(backend.xp, embeddings.dtype)
    rows, inverse = define.unit_rows(backend, embeddings) if normalize else (embeddings, None)
    signal = backend.dot(centred := rows - xp.mean(rows, axis=1, keepdims=True), centred)
    some = signal > least * least * backend.dot(rows, rows)  # below is rounding
    signals = signal, xp.where(some, 1.0 / xp.where(some, signal, 1.0), 0.0)
    pairs = define.AllPairs(backend, centred, None, labels, ignore_index)

    def terms(products: Any, positive: Any, negative: Any, own: Any, per_signal: Any) -> Any:
        both, known = own[:, None] + signal[None, :], per_signal[:, None] > 0.0
        noise = both - 2.0 * products  # and a quotient, which of equal numbers is 1
        d = xp.where(known & ~(noise <= least * both), noise, 0.0) / xp.where(known, own[:, None], 1.0)
        error = xp.where(positive, d - positive_margin, xp.where(negative, margin - d, 0.0))
        return *define.hinge(backend, error, False), d

    sums, counts, _ = pairs.totals(terms, *signals)
    shares = [1.0 / define.divisor_of(xp, count) for count in counts]
    some_terms = [share * count for share, count in zip(shares, counts, strict=True)]
    return shares[0] * sums[0] + shares[1] * sums[1], pairs, (rows, inverse), terms, shares, some_terms, signals
