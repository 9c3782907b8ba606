"""SphereFace2."""

import math
from functools import partial
from typing import Any, Literal

from anglos.call.arguments import (
    Balance,
    Embeddings,
    GradientProducts,
    KeepBytes,
    Labels,
    PositiveFactor,
    Reduction,
    SampleWeight,
    ScalarBias,
    Scale,
    SphereFace2Margin,
    Weights,
)
from anglos.call.loss import loss
from anglos.engines.numerics import is_number
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes.row import Row
from anglos.engines.prototypes.sphereface2 import bias_of_arrays, least_bias, rest, target, weighted


@loss(_prototypes, formula="z_y = s·g(φ) + b, z_j = s·g(η) + b, g(v) = 2((v + 1)/2)ᵗ − 1",
      paper="Wen et al. 2022, arXiv:2108.01513")
def sphereface2(
    embeddings: Embeddings, weights: Weights, labels: Labels, /, *,
    variant: Literal["C", "A", "M"] = "C", margin: SphereFace2Margin = None, scale: Scale = 40.0,
    balance: Balance = 0.7, t: PositiveFactor = 3.0, bias: ScalarBias = None,
    gradient: Literal["paper", "exact", "straight_through"] = "paper",
    sample_weight: SampleWeight = None, ignore_index: int = -100,
    keep_bytes: KeepBytes = 2**28, gradient_products: GradientProducts = "full", reduction: Reduction = "mean",
) -> Row:
    """SphereFace2: of every class by itself, whether the embedding belongs to it, with one bias for all.

    ℓ = λ/s ς(−z_y) + (1 − λ)/s Σ_{j≠y} ς(z_j), with ς(v) = log(1 + eᵛ), the sum over classes, and g(v) = 2 ((v +
    1)/2)ᵗ − 1:
    C: z_y = s (g(cos θ_y) − m) + b, z_j = s (g(cos θ_j) + m) + b.  A: z_y = s g(cos(min(θ_y + m, π))) + b and
    M: z_y = s g(cos(min(m θ_y, π))) + b, both with z_j = s g(cos θ_j) + b.

    Parameters
    ----------
    embeddings : array (B, D)
        One row per sample. Its length does not matter; a zero vector has cosine 0 and gradient 0.
    weights : array (C, D)
        One prototype per class, of any length likewise.
    labels : integer array (B,)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN.
    variant : {"C", "A", "M"}
        Where the margin is: on the cosine, added to the angle, or a factor of it.
    margin : number from 0 to π, or array () or (B,), optional
        m: for C subtracted from g, for A an angle in radians, for M a factor. None: 0.4, 0.5, 1.7.
    scale : positive number, or array ()
        s, the paper's r. An array is differentiated: a learnable scale.
    balance : number from 0 to 1, or array ()
        λ, the weight of the label's class. An array is differentiated. Where `bias` is None, neither 0 nor 1, at
        which no bias is best.
    t : positive number, or array ()
        Of g: how much similarities are drawn apart. An array is differentiated.
    bias : number, or array (), optional
        b. An array is differentiated. None: `sphereface2_bias(C, ...)`, at which the loss of right angles is least. It
        follows options that are arrays, and their gradients go through it; of margins (B,) it takes the default.
    gradient : {"paper", "exact", "straight_through"}
        "paper" takes the slope of A and M in cos θ_y as g′(cos θ_y) (for C this is exact); "straight_through" takes
        every slope in a cosine as 1, as the authors' code does. Those in options are exact.
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
    Wen, Liu, Weller, Raj, Singh, "SphereFace2", ICLR 2022, arXiv:2108.01513.

    Examples
    --------
    Aligned with its own prototype, g = 1, and opposite to the other, g = −1; m = 0, s = 1, b = 0, λ = 1/2:
    ½ ς(−1) + ½ ς(−1).

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [-1.0, 0.0]])
    >>> options = {"margin": 0.0, "scale": 1.0, "balance": 0.5, "bias": 0.0}
    >>> loss = anglos.sphereface2(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), **options)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    margin = _MARGINS[variant] if margin is None else margin
    by_bias: dict[str, Any] = {"bias": 1.0}
    if bias is None:
        shared = _MARGINS[variant] if getattr(margin, "ndim", 0) == 1 else margin
        options: dict[str, Any] = {"margin": shared, "scale": scale, "balance": balance, "t": t}
        if all(map(is_number, options.values())):
            bias, by_bias = sphereface2_bias(weights.shape[0], variant=variant, **options), {}
        else:
            bias, by_bias = bias_of_arrays(weights.shape[0], variant, **options)
    binary, names = weighted(balance, scale, by_bias)
    return Row(scale, partial(target, variant=variant, margin=margin, t=t, exact=gradient == "exact"), binary, bias,
               rest=partial(rest, variant=variant, margin=margin, t=t), names=names,
               straight_through=gradient == "straight_through")


_MARGINS = {"C": 0.4, "A": 0.5, "M": 1.7}


def sphereface2_bias(num_classes: int, *, variant: str = "C", margin: float = 0.4, scale: float = 40.0,
                     balance: float = 0.7, t: float = 3.0) -> float:
    """The bias of `sphereface2` at which the loss is least when all cosines are 0, as they are at the start.

    >>> round(sphereface2_bias(5), 4), round(sphereface2_bias(10572, variant="A", margin=0.5), 4)
    (14.3365, 21.5816)
    """
    own_cos = {"C": 0.0, "A": -math.sin(margin), "M": math.cos(min(margin * math.pi / 2, math.pi))}[variant]
    shift = margin if variant == "C" else 0.0
    own, other = (float(scale * (2 * ((cos + 1) / 2) ** t - 1 + sign * shift)) for cos, sign in ((own_cos, -1),
    (0.0, 1)))
    number: float = least_bias(math, lambda condition, a, b: a if condition else b, own, other,
                               balance / ((1.0 - balance) * max(num_classes - 1, 1)))
    return number
