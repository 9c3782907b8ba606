"""SphereFace (A-Softmax)."""

from functools import partial
from typing import Unpack

from anglos import define


@define.prototypes(formula="φ = (λ cos θ + ψ_m(θ)) / (1 + λ)", paper="Liu et al. 2017, arXiv:1704.08063")
def sphereface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.AngleFactor = 4.0, scale: define.OptionalScale = None, annealing: define.Annealing = 0.0,
    gradient: define.Gradient = "exact", **common: Unpack[define.MarginCommon],
) -> define.Row:
    """SphereFace: softmax cross entropy over |x| cos θ, with the label's angle multiplied by m.

    ℓ = −log( exp(|x| φ(θ_y)) / (exp(|x| φ(θ_y)) + Σ_{j≠y} exp(|x| cos θ_j)) ), φ = (λ cos θ + ψ) / (1 + λ) and
    ψ = (−1)ᵏ cos(mθ) − 2k for θ from kπ/m to (k + 1)π/m: cos(mθ) made to fall over all of [0, π].

    Parameters
    ----------
    embeddings
        One row per sample. Its length |x| scales its logits, unless `scale` is given.
    weights
        One prototype per class. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    margin
        m; 1 is the modified softmax, and an integer needs no arccos. ...
    scale
        s in place of |x|: the embeddings are normalised (opensphere: m = 1.5, s = 30).
    annealing
        λ. The paper falls from 1000 to 5: with λ = 0 from the start, m = 4 hardly trains. ...

    References
    ----------
    Liu, Wen, Yu, Li, Raj, Song, "SphereFace", CVPR 2017, arXiv:1704.08063.

    Examples
    --------
    At 60° to its own prototype and 30° to the other, |x| = 1, m = 2: ψ = cos 120° = −1/2, against cos 30° = √(3/4).

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[0.5, math.sqrt(0.75)]])
    >>> loss = anglos.sphereface(embeddings, prototypes, np.asarray([0]), margin=2)
    >>> round(float(loss), 6), round(math.log(1 + math.exp(math.sqrt(0.75) + 0.5)), 6)
    (1.593256, 1.593256)
    """
    return define.Row(1.0 if scale is None else scale,
                      partial(define.multiplicative_angular, margin=margin, annealing=annealing),
                      normalize_embeddings=scale is not None, straight_through=gradient == "straight_through")
