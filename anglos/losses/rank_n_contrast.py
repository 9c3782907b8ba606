"""Rank-N-Contrast, for regression."""

import math
from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.pairs(formula="ℓ = mean_j (lse_{k: d_ik ≥ d_ij} z_ik − z_ij), d_ij = |t_i − t_j|",
              paper="Zha et al. 2023, arXiv:2210.01189")
def rank_n_contrast(
    embeddings: define.Embeddings, targets: define.Targets, /, *,
    temperature: define.Temperature = 2.0, similarity: Literal["negative_euclidean", "cosine"] = "negative_euclidean",
    label_distance: Literal["l1", "l2"] = "l1", normalize: define.NormalizedDistance = False,
    **common: Unpack[define.Common],
) -> define.PairRow:
    """Rank-N-Contrast: the similarities of a sample with all others in the order of the distances of their targets.

    ℓ_i = mean_{j≠i} ( log Σ_k exp(z_ik) − z_ij ), k over the samples other than i with d_ik ≥ d_ij. z is a similarity
    divided by τ and d the distance of two targets: each sample j is a positive beside all whose targets are as far
    away or farther. It is found by a sort of every row, in N log N for each. Two views of the samples are one batch,
    with their targets repeated. A batch of one sample has the loss 0.

    Parameters
    ----------
    embeddings
        One row per sample. With a cosine their lengths do not matter, and a zero vector has cosine 0; of two equal
        embeddings the distance has gradient 0.
    targets
        One number per sample, of any integer or real type, or several, (B, T). Constants. Distances that are equal are
        ties; a NaN makes the loss NaN.
    temperature
        τ. An array is differentiated: a learnable temperature. The authors take 2 for distances.
    similarity
        s: "negative_euclidean", −|x − r|, or "cosine".
    label_distance
        d, of which only the order counts: "l1" is Σ_t |a_t − b_t|, "l2" √Σ_t (a_t − b_t)².
    sample_weight
        ... It is a weight of row i, not of a term in it.

    References
    ----------
    Zha, Cao, Son, Yang, Katabi, "Rank-N-Contrast: Learning Continuous Representations for Regression", NeurIPS 2023,
    arXiv:2210.01189.

    Examples
    --------
    Targets 0, 1, 3 at 0, 1 and 2 on a line, τ = 1. From the first z = −1 and −2: the nearer has both in its sum,
    log(1 + 1/e), and the farther itself alone, 0. From the last it is the same; from the one between z = −1 and −1,
    log 2 and 0.

    >>> import anglos, math, numpy as np
    >>> loss = anglos.rank_n_contrast(np.asarray([[0.0], [1.0], [2.0]]), np.asarray([0, 1, 3]), temperature=1.0)
    >>> round(float(loss), 6), round((2 * math.log(1 + 1 / math.e) + math.log(2)) / 6, 6)
    (0.219945, 0.219945)
    """
    cosine = similarity == "cosine"
    terms = partial(_terms, temperature=temperature, sign=1.0 if cosine else -1.0)
    return define.PairRow(terms, normalize=normalize or cosine, distance=None if cosine else "euclidean",
                          target_distance=label_distance)


def _terms(backend: define.Backend, tile: define.PairTile, *, temperature: Any, sign: float) -> define.Terms:
    """ℓ = Σ_j (L_j − z_j)/N′, L_j the log-sum-exp of z_k with d_k ≥ d_j, N′ how many others there are.

    ∂ℓ/∂z_k = (e^(z_k + M_k) − 1)/N′, M_k the log-sum-exp of −L_j with d_j ≤ d_k; ∂ℓ/∂τ = −Σ_k z_k ∂ℓ/∂z_k / τ.
    """
    xp, far = backend.xp, -tile.weight  # type: ignore[operator]
    known = far == far
    values, far = xp.where(known, tile.values, math.nan), xp.where(known, far, xp.zeros_like(far))
    order = xp.argsort(far, axis=1)  # and all in this order, in which to search is fast
    far, z, some = (xp.take_along_axis(one, order, axis=1) for one in (far, sign * values / temperature, tile.positive))
    number = xp.sum(xp.astype(some, z.dtype), axis=1, keepdims=True)
    many = define.divisor_of(xp, number)
    share = xp.where(some, 1.0 / many, 0.0)
    nothing = -0.25 * float(xp.finfo(z.dtype).max)
    z = z - backend.stop_gradient(xp.max(xp.where(some, z, nothing), axis=1, keepdims=True))
    sums = define.running_log_sum(backend, xp.where(some, z, nothing))
    total = xp.take_along_axis(sums, backend.rank(far, far) - 1, axis=1)

    def slope_of_logits() -> Any:
        sums = define.running_log_sum(backend, xp.where(some, -total, nothing), back=True)
        nearer = xp.take_along_axis(sums, backend.rank(far, far, strict=True), axis=1)
        # Not above the logarithm of how many terms there are, each of which is at most 1, however z is rounded.
        log_sum = backend.minimum(xp.where(some, z + nearer, 0.0), xp.log(many))
        return share * (xp.exp(log_sum) - 1.0)

    def option_slopes() -> dict[str, Any]:
        return {"temperature": -xp.sum(xp.where(some, slope_of_logits() * z, 0.0), axis=1) / temperature}

    return define.Terms(define.sum_where(xp, some, share * (total - z)), xp.astype(number[:, 0] > 0.0, z.dtype),
                        lambda: backend.scatter(slope_of_logits() * (sign / temperature), order, values), option_slopes)
