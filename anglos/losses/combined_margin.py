"""The combined margin of SphereFace, ArcFace and CosFace."""

from functools import partial
from typing import Any

from anglos import define


@define.prototypes(formula="φ = cos(m₁θ + m₂) − m₃", paper="Deng et al. 2019, arXiv:1801.07698, eq. 4")
def combined_margin(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    m1: define.AnyAngleFactor = 1.0, m2: define.Angle = 0.3, m3: define.CosineMargin = 0.2, scale: define.Scale = 64.0,
    past_pi: define.PastPi = "smooth", gradient: define.Gradient = "exact",
    label_smoothing: define.LabelSmoothing = 0.0, sample_weight: define.SampleWeight = None, ignore_index: int = -100,
    keep_bytes: define.KeepBytes = 2**28, gradient_products: define.GradientProducts = "full",
    reduction: define.Reduction = "mean",
) -> define.Row:
    """Combined margin: softmax cross entropy over s cos θ, the label's being s (cos(m₁θ + m₂) − m₃).

    (1, m, 0) is ArcFace, (1, 0, m) is CosFace, and (m, 0, 0) is SphereFace with normalised embeddings.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, D)
        One prototype per class, of any length likewise.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    m1 : factor of the angle above 0 and up to 10; a number, or an array () or (B,)
        An integer needs no arccos.
    m2 : angle in radians from 0 to π; a number, or an array () or (B,)
        Added to the angle.
    m3 : cosine from −2 to 2; a number, or an array () or (B,)
        Subtracted from the cosine.
    scale : positive number, or array ()
        s. An array is differentiated: a learnable scale.
    past_pi : {"smooth", "linear", "shifted", "reflect", "clamp", "easy"}
        As in `arcface`, where t = m₁θ + m₂ > π. "smooth" is (−1)ᵏ cos t − 2k for t from kπ to (k + 1)π.
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
    Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019, arXiv:1801.07698, eq. 4.

    Examples
    --------
    At 30° to its own prototype and 60° to the other: 2 (cos(2 · 30° + 30°) − 0) = 0 and 2 cos 60° = 1.

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[math.sqrt(3), 1.0]])
    >>> loss = anglos.combined_margin(embeddings, prototypes, np.asarray([0]), m1=2, m2=math.pi / 6, m3=0, scale=2)
    >>> round(float(loss), 6), round(math.log(1 + math.e), 6)
    (1.313262, 1.313262)
    """
    return define.Row(scale, partial(_target, m1=m1, m2=m2, m3=m3, past_pi=past_pi),
                      define.CrossEntropy(label_smoothing), straight_through=gradient == "straight_through")


def _target(backend: Any, cos: Any, length: Any, *, m1: Any, m2: Any, m3: Any, past_pi: str) -> define.Curve:
    """φ = cos t − m₃ with t = m₁θ + m₂; φ′ = m₁ sin t / sin θ; ∂φ/∂m₁ = −θ sin t, ∂φ/∂m₂ = −sin t, ∂φ/∂m₃ = −1."""
    curve = define.turned_cosine(backend, cos, factor=m1, shift=m2, past_pi=past_pi)
    return define.Curve(curve.value - m3, curve.slope, {"m1": curve.by_factor, "m2": curve.by_shift, "m3": -1.0})
