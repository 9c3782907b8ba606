"""SoftTriple."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="z = s·(S − m[y]), S = Σ_k softmax_k(γ cos θ_k) cos θ_k",
                   paper="Qian et al. 2019, arXiv:1909.05235")
def soft_triple(
    embeddings: define.Embeddings, weights: define.SubWeights, labels: define.Labels, /, *,
    scale: define.Scale = 20.0, gamma: define.PositiveFactor = 10.0, margin: define.CosineMargin = 0.01,
    **common: Unpack[define.ClassMarginCommon],
) -> define.Row:
    """SoftTriple: the cosine softmax with K centres per class, softly assigned.

    ℓ = −log( exp(s (S_y − m)) / (exp(s (S_y − m)) + Σ_{j≠y} exp(s S_j)) ), S_j = Σ_k softmax_k(γ cos θ_jk) cos θ_jk.
    The paper's term that draws the centres of a class together is not part of it.

    Parameters
    ----------
    weights
        K centres per class, of any length.
    scale
        s, the paper's λ. An array is differentiated: a learnable scale.
    gamma
        γ: how sharply the nearest centre is preferred. ...
    margin
        m, the paper's δ. ...
    keep_bytes
        If the B × C × K cosines take no more than this, the gradient reuses them; else they are computed again.

    References
    ----------
    Qian, Shang, Sun, Hu, Li, Jin, "SoftTriple Loss", ICCV 2019, arXiv:1909.05235.

    Examples
    --------
    With two equal centres per class S is their cosine: 1 and 0. m = 0.5, s = 2: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> centres = np.asarray([[[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [0.0, 1.0]]])
    >>> loss = anglos.soft_triple(np.asarray([[3.0, 0.0]]), centres, np.asarray([0]), margin=0.5, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(scale, partial(define.additive_cosine, margin=margin), merge=partial(_soft, gamma=gamma))


def _soft(backend: define.Backend, cosines: Any, *, gamma: Any) -> define.Curve:
    """S = Σ p_k s_k with p = softmax(γ s), ∂S/∂s_k = p_k (1 + γ (s_k − S)), ∂S/∂γ = Σ p_k (s_k − S)²."""
    xp = backend.xp
    p = xp.exp(gamma * (cosines - xp.max(cosines, axis=1, keepdims=True)))
    p = p / xp.sum(p, axis=1, keepdims=True)
    similarity = xp.sum(p * cosines, axis=1, keepdims=True)
    above = cosines - similarity
    by_gamma = {} if define.is_number(gamma) else {"gamma": xp.sum(p * above * above, axis=1)}
    return define.Curve(xp.squeeze(similarity, axis=1), p * (1.0 + gamma * above), by_gamma)
