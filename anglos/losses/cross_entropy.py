"""Softmax cross entropy on logits."""

from functools import partial
from typing import Any

from anglos.call.arguments import ClassWeight, LabelSmoothing, LabelsOrProbabilities, Logits, Reduction, SampleWeight
from anglos.call.loss import loss
from anglos.engines import rowwise as _direct
from anglos.engines.reductions import CrossEntropy, Tile, marked_tile
from anglos.engines.rowwise import Direct
from anglos.engines.targets import are_targets, mass_of, target_slope


@loss(_direct, formula="ℓ = −log softmax(z)_y", paper="Bridle 1990, doi:10.1007/978-3-642-76153-9_28")
def cross_entropy(
    logits: Logits, labels: LabelsOrProbabilities, /, *,
    class_weight: ClassWeight = None, label_smoothing: LabelSmoothing = 0.0, sample_weight: SampleWeight = None,
    ignore_index: int = -100, reduction: Reduction = "mean",
) -> Direct:
    """Softmax cross entropy of logits.

    ℓ = −log softmax(z)_y, computed as log(1 + Σ_{j≠y} exp(z_j − z_y)): a loss of 1e-12 keeps all its digits.

    Parameters
    ----------
    logits : array (B, C)
        One row per sample; −∞ excludes a class.
    labels : integer array (B,), or array (B, C)
        0 to C − 1, or `ignore_index`. Where values cannot be read for free (under a trace, on a GPU), a label
        out of range makes its row NaN. Of real floating dtype, (B, C): probabilities t of the classes, numbers of at
        least 0 that need not add up to 1, for ℓ = −Σ_j t_j log softmax(z)_j. They are differentiated if asked for.
    class_weight : array (C,), optional
        ω, numbers of at least 0 by which the terms of every class are multiplied, smoothed ones too, as PyTorch's
        `weight`: the mean of labels is divided by the sum of ω_y, that of probabilities by B. A constant.
    label_smoothing : number from 0 to 1, or array ()
        Probability mass spread evenly over all classes, as in PyTorch. An array is differentiated.
    sample_weight : array (B,), optional
        Factor of every row's loss; the mean is divided by their sum.
    ignore_index : int
        Rows with this label count for nothing and leave the mean's divisor. Of no meaning to probabilities.
    reduction : {"mean", "sum", "none"}
        A number, or the B losses one by one.

    Returns
    -------
    array () or (B,)
        Of the type of the logits, float32 at least.

    Raises
    ------
    TypeError, ValueError
        Before any arithmetic, with the argument's name, what it was and what is wanted.

    References
    ----------
    Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990.

    Examples
    --------
    >>> import anglos, math, numpy as np
    >>> loss = anglos.cross_entropy(np.asarray([[1.0, 0.0]]), np.asarray([0]))
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    if are_targets(labels, class_weight):
        return Direct(partial(_target_value, label_smoothing, class_weight),
                      partial(_target_gradients, label_smoothing, class_weight))
    softmax = CrossEntropy(label_smoothing)
    return Direct(partial(softmax_value, softmax), partial(softmax_gradients, softmax))


def softmax_value(softmax: CrossEntropy, backend: Any, logits: Any, labels: Any, *options: Any) -> Any:
    """The loss of every row."""
    (loss, _), _ = _parts(softmax, backend, logits, labels)
    return loss


def softmax_gradients(softmax: CrossEntropy, backend: Any, g: Any, logits: Any, labels: Any, *options: Any
                      ) -> dict[str, Any]:
    """∂(Σ g_i ℓ_i)."""
    (_, residuals), tile = _parts(softmax, backend, logits, labels)
    classes = logits.shape[1]
    slopes = tile.with_label(softmax.rest_slope(backend, residuals, tile, classes),
                           softmax.label_slope(backend, residuals, classes))
    by_field = softmax.field_slopes(backend, residuals) if softmax.smooths else {}
    return {"logits": (g * slopes).T, **{name: g * slope for name, slope in by_field.items()}}


def _parts(softmax: CrossEntropy, backend: Any, logits: Any, labels: Any) -> tuple[Any, Tile]:
    """The loss with what its slopes need, and all classes as one tile."""
    xp, own = backend.xp, backend.is_label(labels, 0, logits.T)
    tile, label_logit = marked_tile(xp, logits.T, own), xp.sum(xp.where(own, logits.T, 0.0), axis=0)
    return softmax.value(backend, softmax.gather(backend, tile, label_logit), label_logit, logits.shape[1]), tile


def _target_value(smoothing: Any, class_weight: Any, backend: Any, logits: Any, labels: Any, *options: Any) -> Any:
    """Σ m_j (lse z − z_y) + Σ_{j≠y} m_j (z_y − z_j); 0 where m_j is, of excluded classes too."""
    xp, (label, is_label, mass) = backend.xp, mass_of(backend, labels, class_weight, smoothing, logits)
    label_logit = xp.take_along_axis(logits, label[:, None], axis=1)
    above = xp.where(is_label | (mass == 0.0), 0.0, mass * (label_logit - logits))
    return xp.sum(mass, axis=1) * softmax_value(CrossEntropy(), backend, logits, label) + xp.sum(above, axis=1)


def _target_gradients(smoothing: Any, class_weight: Any, backend: Any, g: Any, logits: Any, labels: Any, *options: Any
                      ) -> dict[str, Any]:
    """∂(Σ g_i ℓ_i)."""
    xp, (label, is_label, mass) = backend.xp, mass_of(backend, labels, class_weight, smoothing, logits)
    others = xp.where(is_label, 0.0, mass)
    of_label = softmax_gradients(CrossEntropy(), backend, g * xp.sum(mass, axis=1), logits, label)["logits"]
    above = xp.where(is_label, xp.sum(others, axis=1)[:, None], -others)
    gradients = {"logits": of_label + g[:, None] * above}
    if labels.ndim == 2:
        surprise = softmax_value(CrossEntropy(), backend, logits, label)
        gradients["labels"] = g[:, None] * target_slope(backend, label, class_weight, smoothing, logits, surprise)
    if hasattr(smoothing, "shape"):
        all_smooth, none = (_target_value(one, class_weight, backend, logits, labels) for one in (1.0, 0.0))
        gradients["label_smoothing"] = g * (all_smooth - none)
    return gradients
