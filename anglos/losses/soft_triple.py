"""SoftTriple."""

from functools import partial
from typing import Any

from anglos import define


@define.prototypes(formula="z = s·(S − m[y]), S = Σ_k softmax_k(γ cos θ_k) cos θ_k",
                   paper="Qian et al. 2019, arXiv:1909.05235")
def soft_triple(
    embeddings: define.Embeddings, weights: define.SubWeights, labels: define.Labels, /, *,
    scale: define.Scale = 20.0, gamma: define.PositiveFactor = 10.0, margin: define.CosineMargin = 0.01,
    label_smoothing: define.LabelSmoothing = 0.0, sample_weight: define.SampleWeight = None, ignore_index: int = -100,
    keep_bytes: define.KeepBytes = 2**28, gradient_products: define.GradientProducts = "full",
    reduction: define.Reduction = "mean",
) -> define.Row:
    """SoftTriple: the cosine softmax with K centres per class, softly assigned.

    S_j = Σ_k softmax_k(γ cos θ_jk) cos θ_jk; ℓ = −log( exp(s (S_y − m)) / (exp(s (S_y − m)) + Σ_{j≠y} exp(s S_j))
    ). The paper's
    term that draws the centres of a class together is not part of it.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, K, D)
        K centres per class, of any length.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    scale : positive number, or array ()
        s, the paper's λ. An array is differentiated: a learnable scale.
    gamma : positive number, or array ()
        γ: how sharply the nearest centre is preferred. An array is differentiated.
    margin : cosine from −2 to 2; a number, or an array () or (B,)
        m, the paper's δ.
    label_smoothing : number from 0 to 1, or array ()
        Probability mass spread evenly over all classes, as in PyTorch. An array is differentiated.
    sample_weight : array (B,), optional
        Factor of every row's loss; the mean is divided by their sum.
    ignore_index : int
        Rows with this label count for nothing and leave the mean's divisor.
    keep_bytes : integer from 0
        If the B × C × K cosines take no more than this, the gradient reuses them; else they are computed again.
    gradient_products : {"full", "bfloat16"}
        "bfloat16" rounds what the gradient multiplies, by up to 2⁻⁹: faster where a processor has it. The loss stays.
    reduction : {"mean", "sum", "none"}
        A number, or the B losses one by one.

    Returns
    -------
    array () or (B,)
        Of the type of the arithmetic: that of the inputs, float32 at least.

    Raises
    ------
    TypeError, ValueError
        Before any arithmetic, with the argument's name, what it was and what is wanted.

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
    return define.Row(scale, partial(define.additive_cosine, margin=margin), define.CrossEntropy(label_smoothing),
                      merge=partial(_soft, gamma=gamma))


def _soft(backend: Any, cosines: Any, *, gamma: Any) -> define.Curve:
    """S = Σ p_k s_k with p = softmax(γ s), ∂S/∂s_k = p_k (1 + γ (s_k − S)), ∂S/∂γ = Σ p_k (s_k − S)²."""
    xp = backend.xp
    p = xp.exp(gamma * (cosines - xp.max(cosines, axis=1, keepdims=True)))
    p = p / xp.sum(p, axis=1, keepdims=True)
    similarity = xp.sum(p * cosines, axis=1, keepdims=True)
    above = cosines - similarity
    by_gamma = {} if define.is_number(gamma) else {"gamma": xp.sum(p * above * above, axis=1)}
    return define.Curve(xp.squeeze(similarity, axis=1), p * (1.0 + gamma * above), by_gamma)
