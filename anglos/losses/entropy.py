"""Entropy."""

import math
from typing import Any, Unpack

from anglos import define


@define.rowwise(formula="ℓ = −Σ_j p_j log p_j", paper="Shannon 1948, doi:10.1002/j.1538-7305.1948.tb01338.x")
def entropy(
    logits: define.Logits, /, *,
    from_logits: bool = True, **common: Unpack[define.Common],
) -> define.Direct:
    """Entropy of the distribution softmax(z), in nats: 0 if it is certain, log C if it is uniform.

    H = −Σ_j p_j log p_j. Divide by log 2 for bits. Adding it to a loss favours confident predictions.

    Parameters
    ----------
    logits
        ... With `from_logits=False`, the probabilities themselves.
    from_logits
        Whether rows are logits, or probabilities: numbers of at least 0, which are not checked to sum to 1.
    sample_weight
        Factor of every row's entropy; the mean is divided by the sum of the factors.
    reduction
        A number, or the B entropies one by one.

    Notes
    -----
    0 log 0 is 0. The slope −(log p + 1) at p = 0 is that at the smallest normal number: large, and finite.

    References
    ----------
    Shannon, "A Mathematical Theory of Communication", 1948, section 6.

    Examples
    --------
    >>> import anglos, math, numpy as np
    >>> round(float(anglos.entropy(np.asarray([[2.0, 2.0, 2.0, 2.0]]))) / math.log(2), 6)
    2.0
    """
    if from_logits:
        return define.Direct(_of_logits, _of_logits_pullback)
    return define.Direct(_of_probabilities, _of_probabilities_pullback)


def _of_logits(backend: define.Backend, logits: Any) -> Any:
    """H = log S − Σ d e^d / S, where d = z − max z and S = Σ e^d: two terms of one sign."""
    xp, (d, e, log_total) = backend.xp, _exponentials(backend, logits)
    return log_total - xp.sum(d * e, axis=-1) * xp.exp(-log_total)


def _of_logits_pullback(backend: define.Backend, g: Any, logits: Any) -> dict[str, Any]:
    """∂H/∂z_j = −p_j (log p_j + H)."""
    xp, (d, e, log_total) = backend.xp, _exponentials(backend, logits)
    log_p, p = d - log_total[:, None], e * xp.exp(-log_total)[:, None]
    return {"logits": -g[:, None] * p * (log_p + _of_logits(backend, logits)[:, None])}


def _exponentials(backend: define.Backend, logits: Any) -> tuple[Any, Any, Any]:
    """d, e^d and log S = log(1 + Σ of the others): without the largest term, 1, which would round a small S off."""
    xp = backend.xp
    largest = xp.argmax(logits, axis=-1)
    d = logits - xp.max(logits, axis=-1, keepdims=True)
    e = xp.exp(d)
    d = xp.where(d == -math.inf, 0.0, d)  # where e is 0: an excluded class
    others = backend.arange(logits.shape[1], largest)[None, :] != largest[:, None]
    return d, e, xp.log1p(xp.sum(xp.where(others, e, 0.0), axis=-1))


def _of_probabilities(backend: define.Backend, p: Any) -> Any:
    """H = −Σ p log p."""
    return -backend.xp.sum(p * _floored_log(backend.xp, p), axis=-1)


def _of_probabilities_pullback(backend: define.Backend, g: Any, p: Any) -> dict[str, Any]:
    """∂H/∂p_j = −(log p_j + 1)."""
    return {"logits": -g[:, None] * (_floored_log(backend.xp, p) + 1.0)}


def _floored_log(xp: Any, p: Any) -> Any:
    return xp.log(xp.where(p == 0.0, define.smallest_normal(xp, p.dtype), p))
