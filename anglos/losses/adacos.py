"""AdaCos."""

import math
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="z = s cos θ, s from the batch, a constant", paper="Zhang et al. 2019, arXiv:1905.00292")
def adacos(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    scale: define.ScaleState = None, **common: Unpack[define.MarginCommon],
) -> define.Row:
    """AdaCos: the cosine softmax without a margin, whose scale follows the training.

    ℓ = −log softmax(s cos θ)_y. Before each step, `scale = anglos.adacos_update(scale, embeddings, weights, labels)`.

    Parameters
    ----------
    scale
        ... None: the paper's fixed scale, from which the adaptive one starts too: √2 log(C − 1), or √2 log 2 for
        fewer than three classes.

    References
    ----------
    Zhang, Zhao, Qiao, Wang, Li, "AdaCos: Adaptively Scaling Cosine Logits", CVPR 2019, arXiv:1905.00292.

    Examples
    --------
    Aligned with its own prototype and at 90° to the other: the logits are 1 and 0.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.adacos(np.asarray([[3.0, 0.0]]), prototypes, np.asarray([0]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    return define.Row(_first_scale(weights.shape[0]) if scale is None else scale)


def _first_scale(classes: int) -> float:
    return math.sqrt(2.0) * math.log(max(classes - 1, 2))


@define.update(adacos)
def adacos_update(batch: define.Batch, scale: Any, embeddings: Any, weights: Any, labels: Any) -> Any:
    """The scale of the next step: log(mean_i Σ_{j≠y} exp(s cos θ_ij)) / cos(min(π/4, median_i θ_iy)).

    The median of an even number is the lower one; −100 is no label. A `scale` of None is the paper's fixed one. The
    scale stays as it is if the batch has no labels, or if it would fall to 0 or below, as with one class or two.

    >>> import math, numpy as np
    >>> x, prototypes = np.asarray([[1.0, 0.0]]), np.asarray([[1.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    >>> round(float(adacos_update(9.0, x, prototypes, np.asarray([0]))), 6)  # log(e⁰ + e⁰) / cos 45°
    0.980258
    >>> round(math.sqrt(2) * math.log(2), 6)
    0.980258
    """
    backend, xp = batch.backend, batch.backend.xp
    scale = _first_scale(backend.classes(weights)) if scale is None else scale
    if batch.sizes["B"] == 0:
        return scale
    row = define.Row(scale, reduction=define.ExcludedPositive())
    step = define.prototypes_engine.prepare(backend, row, {"embeddings": embeddings, "weights": weights,
                                                            "labels": labels})
    _, saved = define.prototypes_engine.forward(step)
    cos, rest = backend.clip(saved.directions.cosines, -1.0, 1.0), saved.of_reduction.rest
    cos = cos + 0.0 * batch.weight(cos)  # NaN where a label is out of range
    counted = batch.counted(cos)
    count = xp.sum(xp.astype(counted, backend.index_type))
    rest = xp.where(counted, rest, 0.0)
    largest = xp.max(rest)
    total = xp.sum(xp.where(counted, xp.exp(rest - largest), 0.0))
    mean = total / xp.astype(xp.where(count > 0, count, 1), cos.dtype)
    middle = xp.reshape(xp.where(count > 0, (count - 1) // 2, 0), (1,))
    median = xp.take(xp.sort(xp.where(counted, cos, -2.0), descending=True), middle)[0]
    least = xp.where(median < math.sqrt(0.5), math.sqrt(0.5), median)
    new = (xp.log(xp.where(mean == 0.0, 1.0, mean)) + largest) / least + 0.0 * xp.sum(xp.where(counted, cos, 0.0))
    kept = (count == 0) | (new <= 0.0)
    return backend.stop_gradient(xp.where(kept, scale * xp.ones_like(new), new))
