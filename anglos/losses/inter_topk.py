"""ArcFace with an inter-top-k penalty."""

from functools import partial
from typing import Any

from anglos import define


@define.prototypes(formula="φ = cos(θ + m), η = cos(θ − m′) for the k nearest",
                   paper="Zhao et al. 2021, arXiv:2110.05042")
def inter_topk(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    k: define.Count = 5, penalty: define.Angle = 0.06, margin: define.Angle = 0.2, scale: define.Scale = 32.0,
    past_pi: define.PastPi = "smooth",
    label_smoothing: define.LabelSmoothing = 0.0, sample_weight: define.SampleWeight = None, ignore_index: int = -100,
    keep_bytes: define.KeepBytes = 2**28, gradient_products: define.GradientProducts = "full",
    reduction: define.Reduction = "mean",
) -> define.Row:
    """Inter-top-k penalty: ArcFace in which the k nearest other classes are brought nearer by an angle m′.

    η = cos(max(θ_j − m′, 0)) for the k other classes of largest cosine, else cos θ_j. Which they are is a constant
    to the gradient; of classes that are equally near, to rounding, any may be among the k.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, D)
        One prototype per class, of any length likewise.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    k : integer of at least 1
        How many classes; more than C − 1 are all. No array: it decides the shape of arrays.
    penalty : angle in radians from 0 to π; a number, or an array () or (B,)
        m′.
    margin : angle in radians from 0 to π; a number, or an array () or (B,)
        m.
    scale : positive number, or array ()
        s. An array is differentiated: a learnable scale.
    past_pi : {"smooth", "linear", "shifted", "reflect", "clamp", "easy"}
        φ where θ + m > π, as in `arcface`.
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
    Zhao et al., "Multi-query multi-head attention pooling and Inter-topK penalty for speaker verification", 2021,
    arXiv:2110.05042.

    Examples
    --------
    At 60° to its own prototype, m = 30°, and 90° to the other, m′ = 30°, s = 2: 2 cos 90° = 0 and 2 cos 60° = 1.

    >>> import anglos, math, numpy as np
    >>> prototypes, embeddings = np.asarray([[0.5, math.sqrt(0.75)], [0.0, 1.0]]), np.asarray([[1.0, 0.0]])
    >>> angle = math.pi / 6
    >>> loss = anglos.inter_topk(embeddings, prototypes, np.asarray([0]), k=1, penalty=angle, margin=angle, scale=2.0)
    >>> round(float(loss), 6), round(math.log(1 + math.e), 6)
    (1.313262, 1.313262)
    """
    return define.Row(scale, partial(define.additive_angular, margin=margin, past_pi=past_pi),
                      define.CrossEntropy(label_smoothing), rest=partial(_rest, penalty=penalty), nearest=k)


def _rest(backend: Any, cos: Any, near: Any, *, penalty: Any) -> define.Curve:
    """η = cos(θ − m′), η′ = sin(θ − m′) / sin θ, ∂η/∂m′ = sin(θ − m′) for the nearest, and 1, 0, 0 where θ < m′."""
    xp, (sin, divisor) = backend.xp, define.sines(backend, cos)
    cos_penalty, sin_penalty = define.cos_sin(xp, penalty)
    beyond = cos > cos_penalty
    turned = xp.where(beyond, 1.0, cos * cos_penalty + sin * sin_penalty)
    slope = xp.where(beyond, 0.0, cos_penalty - cos * sin_penalty / divisor)
    by_penalty = xp.where(beyond, 0.0, sin * cos_penalty - cos * sin_penalty)
    return define.Curve(xp.where(near, turned, cos), xp.where(near, slope, 1.0),
                        {"penalty": xp.where(near, by_penalty, 0.0)})
