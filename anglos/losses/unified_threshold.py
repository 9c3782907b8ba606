"""The sample-to-sample loss of UniTSFace."""

import math
from functools import partial
from typing import Any, Unpack

from anglos import define


@define.pairs(formula="ℓ = Σ_p ς(b − s (cos θ_p − m)) + Σ_n ς(s cos θ_n − b)", paper="Li et al. 2023, arXiv:2311.02523")
def unified_threshold(
    embeddings: define.Embeddings, labels: define.Groups, /, *,
    margin: define.SharedCosineMargin = 0.1, scale: define.Scale = 64.0, bias: define.Number = 32.0,
    **common: Unpack[define.PairCommon],
) -> define.PairRow:
    """Unified threshold (USS): does a cosine exceed a threshold? Asked of every pair, with one threshold for all.

    ℓ_i = Σ_p ς(−(s (cos θ_p − m) − b)) + Σ_n ς(s cos θ_n − b), ς(v) = log(1 + eᵛ): the sum over the pairs of an anchor,
    p over the samples of the same class, n over those of others. The threshold is b/s, for use too. With references
    whose labels are those of the batch, one each, it compares two sets, as `siglip` does: queries are `embeddings`,
    keys `reference_embeddings`, and both are labelled 0 to B − 1. `uniface` is the same against class prototypes. The
    paper compares the batch with a memory of the last embedding of every class: references that are constants.

    Parameters
    ----------
    labels
        ... A weight is a factor of its term.
    margin
        m, of positives. ...
    bias
        b. The authors start from `unified_threshold_bias` of the first batch and learn it; they report 31.3 in the end,
        with s = 64. ...

    Notes
    -----
    The authors' code clips the logits to ±s, which stops the gradient of the worst positives; here nothing is clipped.

    References
    ----------
    Li, Jia, Zhou, Shen, Duan, "UniTSFace: Unified Threshold Integrated Sample-to-Sample Loss for Face Recognition",
    NeurIPS 2023, arXiv:2311.02523.

    Examples
    --------
    m = 0.5, s = 2, b = 0; for the first two anchors, cos θ = 1 and 0 give ς(−1) + ς(0), for the third 0 and 0 ς(0)
    twice.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.unified_threshold(embeddings, np.asarray([5, 5, 7]), margin=0.5, scale=2.0, bias=0.0)
    >>> round(float(loss), 6), round((2 * math.log(1 + 1 / math.e) + 4 * math.log(2)) / 3, 6)
    (1.133037, 1.133037)
    """
    return define.PairRow(partial(_terms, margin=margin, scale=scale), scale, -bias,
                          names={"scale": (("scale", 1.0),), "bias": (("bias", -1.0),)})


def _terms(backend: define.Backend, tile: define.PairTile, *, margin: Any, scale: Any) -> define.Terms:
    """ℓ = Σ_p ς(s m − z_p) + Σ_n ς(z_n), z = s cos θ − b; ∂ℓ/∂z_p = −q_p = −σ(s m − z_p), ∂ℓ/∂z_n = σ(z_n).

    ∂ℓ/∂m = s Σ_p q_p; beside what follows through z, ∂ℓ/∂s = m Σ_p q_p.
    """
    xp, z = backend.xp, tile.values
    signed = xp.where(tile.positive | tile.negative, xp.where(tile.positive, scale * margin - z, z), -math.inf)

    def slope() -> Any:
        missed = tile.weighted(define.sigmoid(signed))
        return xp.where(tile.positive, -missed, missed)

    def option_slopes() -> dict[str, Any]:
        missed = define.sum_where(xp, tile.positive, tile.weighted(define.sigmoid(signed)))
        return {"margin": scale * missed, "scale": margin * missed}

    value = xp.sum(tile.weighted(define.softplus(signed)), axis=1)
    return define.Terms(value, xp.ones_like(value), slope, option_slopes)


def unified_threshold_bias(embeddings: Any, labels: Any, /, *, scale: Any = 64.0, **common: Unpack[define.PairCommon]
                           ) -> Any:
    """The bias that the authors start from: the mean of log Σ_n exp(s cos θ_n) over samples that have a negative.

    A constant to the gradient, 0 where there is no negative. Arguments are those of the loss.

    >>> import math, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    >>> bias = unified_threshold_bias(embeddings, np.asarray([5, 5, 7]))  # log e⁰, twice, and log(e⁰ + e⁰)
    >>> round(float(bias), 6), round(math.log(2) / 3, 6)
    (0.231049, 0.231049)
    """
    found, backend = _BIAS(embeddings, labels, scale=scale, **common), define.backend_of(embeddings)
    return found if backend is None else backend.stop_gradient(found)


def _of_negatives(embeddings: define.Embeddings, labels: define.Groups, /, *, scale: define.Scale = 64.0,
                  **common: Unpack[define.PairCommon]) -> define.PairRow:
    return define.PairRow(define.log_sum_of_negatives, scale, names={"scale": (("scale", 1.0),)})


_of_negatives.__name__ = unified_threshold_bias.__name__  # by which its refusals speak
_BIAS = define.pairs(_of_negatives)
