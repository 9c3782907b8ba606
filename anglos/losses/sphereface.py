"""SphereFace (A-Softmax)."""

from functools import partial

from anglos import define


@define.prototypes(formula="φ = (λ cos θ + ψ_m(θ)) / (1 + λ)", paper="Liu et al. 2017, arXiv:1704.08063")
def sphereface(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.AngleFactor = 4.0, scale: define.OptionalScale = None, annealing: define.Annealing = 0.0,
    gradient: define.Gradient = "exact",
    label_smoothing: define.LabelSmoothing = 0.0, sample_weight: define.SampleWeight = None, ignore_index: int = -100,
    keep_bytes: define.KeepBytes = 2**28, gradient_products: define.GradientProducts = "full",
    reduction: define.Reduction = "mean",
) -> define.Row:
    """SphereFace: softmax cross entropy over |x| cos θ, with the label's angle multiplied by m.

    ℓ = −log( exp(|x| φ(θ_y)) / (exp(|x| φ(θ_y)) + Σ_{j≠y} exp(|x| cos θ_j)) ), φ = (λ cos θ + ψ) / (1 + λ) and
    ψ = (−1)ᵏ cos(mθ) − 2k for θ from kπ/m to (k + 1)π/m: cos(mθ) made to fall over all of [0, π].

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length |x| scales its logits, unless `scale` is given.
    weights : array (C, D)
        One prototype per class, normalised inside; a zero vector has cosine 0 and gradient 0.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    margin : factor of the angle from 1 to 10; a number, or an array () or (B,)
        m. 1 is the modified softmax; an integer needs no arccos.
    scale : positive number, or array (), optional
        s in the place of |x|: the embeddings are normalised (opensphere: m = 1.5, s = 30).
    annealing : number of at least 0, or array ()
        λ. The paper falls from 1000 to 5: with λ = 0 from the start, m = 4 hardly trains.
    gradient : {"exact", "straight_through"}
        "straight_through" replaces φ′ by 1 (insightface since 2022-12, opensphere): not the value's gradient.
    label_smoothing : number from 0 to 1, or array ()
        Probability mass spread evenly over all classes, as in PyTorch. An array is differentiated.
    sample_weight : array (B,), optional
        Factor of every row's loss; the mean is divided by their sum.
    ignore_index : int
        Rows with this label count for nothing and leave the mean's divisor.
    keep_bytes : integer from 0
        If the B × C logits take no more than this, the gradient reuses them; else it computes them again, in tiles.
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
    Liu, Wen, Yu, Li, Raj, Song, "SphereFace", CVPR 2017, arXiv:1704.08063.

    Examples
    --------
    At 60° to its own prototype and 30° to the other, |x| = 1, m = 2:
    ψ = cos 120° = −1/2, against cos 30° = √(3/4).

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[0.5, math.sqrt(0.75)]])
    >>> loss = anglos.sphereface(embeddings, prototypes, np.asarray([0]), margin=2)
    >>> round(float(loss), 6), round(math.log(1 + math.exp(math.sqrt(0.75) + 0.5)), 6)
    (1.593256, 1.593256)
    """
    return define.Row(1.0 if scale is None else scale,
                      partial(define.multiplicative_angular, margin=margin, annealing=annealing),
                      define.CrossEntropy(label_smoothing), normalize_embeddings=scale is not None,
                      straight_through=gradient == "straight_through")
