"""CoSENT, and AnglE's loss of the same form."""

import math
from functools import partial
from typing import Any, Literal

from anglos import define


@define.batchwise(formula="ℓ = log(1 + Σ_{s_i>s_j} e^(λ(c_j − c_i)))",
                  paper="Su 2022; AnglE: Li, Li 2023, arXiv:2309.12871")
def cosent(
    first: define.Anchors, second: define.Anchors, scores: define.Scores, /, *,
    scale: define.Scale = 20.0, similarity: Literal["cosine", "angle"] = "cosine",
) -> define.Direct:
    """CoSENT: the similarities of pairs in the order of their scores, in N log N.

    ℓ = log( 1 + Σ exp(λ(c_j − c_i)) ) over all two pairs of vectors with s_i > s_j, c their similarities: a pair with a
    higher score should be more alike. It is one number for the batch, which grows as the logarithm of how many there
    are. AnglE's loss is that of similarity="angle".

    Parameters
    ----------
    first
        One row per pair. Its length does not matter; a zero vector has similarity 0 and gradient 0.
    second
        What each is compared with.
    scores
        ... Pairs of equal scores are not compared, and a NaN makes the loss NaN.
    scale
        λ. An array is differentiated.
    similarity
        c: "cosine"; or "angle", |Re h + Im h| of h = Σ_k x_k ȳ_k / (|x| |y|), where the halves of a row are the real
        and the imaginary parts of complex numbers x_k. Of equal and of opposite vectors it is 1; it is √2, the most
        there is, where `first` is `second` turned by 45°, and another if they are exchanged.

    Notes
    -----
    No pair has a loss of its own: there is no `sample_weight`, `reduction` or `ignore_index`. Leave pairs out before.

    References
    ----------
    Su, "CoSENT", 2022, https://kexue.fm/archives/8847.
    Li, Li, "AoE: Angle-optimized Embeddings for Semantic Textual Similarity", ACL 2024, arXiv:2309.12871.

    Examples
    --------
    Cosines 0 and 1, of which the first should be the higher: log(1 + e^(1 − 0)).

    >>> import anglos, math, numpy as np
    >>> first, second = np.asarray([[1.0, 0.0], [2.0, 0.0]]), np.asarray([[0.0, 1.0], [1.0, 0.0]])
    >>> loss = anglos.cosent(first, second, np.asarray([0.9, 0.1]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + math.e), 6)
    (1.313262, 1.313262)
    """
    if similarity == "angle" and first.shape[1] % 2:
        raise ValueError(f"cosent: first was of shape {tuple(first.shape)}; wanted an even number of columns, the real "
                         'and the imaginary parts, for similarity="angle"')
    parts = partial(_parts, scale=scale, similarity=similarity)
    return define.of_parts(parts, _gradients, typeless=("scores",))


def _gradients(backend: define.Backend, g: Any, d_z: Any, c: Any, scale: Any, sides: Any, d_sides: Any
               ) -> dict[str, Any]:
    """∂ℓ/∂z_k = Σ_j e^(z_k − z_j − ℓ) of the higher − Σ_j e^(z_j − z_k − ℓ) of the lower, z = λc; ∂c/∂x̂ = ŷ."""
    d_units = ((g * scale * d_z)[:, None] * one for one in d_sides)
    first, second = (define.unit_rows_pullback(backend, unit, inverse, d_unit)
                     for (unit, inverse), d_unit in zip(sides, d_units, strict=True))
    return {"first": first, "second": second, "scale": g * backend.xp.sum(c * d_z)}


def _parts(backend: define.Backend, first: Any, second: Any, scores: Any, *options: Any, scale: Any, similarity: str
           ) -> Any:
    """ℓ and ∂ℓ/∂z; c and λ; x̂ and ŷ with 1/|x| and 1/|y|, and ∂c/∂x̂ and ∂c/∂ŷ."""
    xp, sides = backend.xp, [define.unit_rows(backend, x) for x in (first, second)]
    (x, _), (y, _) = sides
    c, low, high, d_sides = backend.dot(x, y), -1.0, 1.0, (y, x)
    if similarity == "angle":  # x̂·(ŷ + Jŷ), J the product with i
        y, x = y + _times_i(xp, y), x - _times_i(xp, x)
        c, low, high = backend.dot(sides[0][0], y), 0.0, math.sqrt(2.0)
        sign = xp.astype(c > 0.0, c.dtype) - xp.astype(c < 0.0, c.dtype)
        d_sides, c = tuple([sign[:, None] * one for one in (y, x)]), xp.abs(c)
    keys = scores if xp.isdtype(scores.dtype, "real floating") else backend.as_index(scores)
    z = scale * xp.where(keys == keys, c, math.nan)
    lower = define.log_sum_of_lower(backend, keys, z, scale * high, scale * (high - low))
    higher = define.log_sum_of_lower(backend, -keys, -z, -scale * low, scale * (high - low))
    excess = lower - z
    most = backend.stop_gradient(xp.max(xp.concat([backend.arange(1, excess), excess])))
    value = most + xp.log1p(xp.expm1(-most) + xp.sum(xp.exp(excess - most)))
    return value, xp.exp(higher + z - value) - xp.exp(excess - value), c, scale, sides, d_sides


def _times_i(xp: Any, x: Any) -> Any:
    half = x.shape[1] // 2
    return xp.concat([-x[:, half:], x[:, :half]], axis=1)
