"""Angular Triplet Loss: SphereFace against a memory of samples, for the samples that are semi-hard."""

from functools import partial
from typing import Any, Unpack

from anglos import define


@define.prototypes(formula="φ as sphereface; gradient for semi-hard samples only",
                   paper="KaleidoZhouYN, Angular-Triplet-Loss (code)")
def angular_triplet(
    embeddings: define.Embeddings, prototypes: define.Prototypes, labels: define.Labels, /, *,
    margin: define.AngleFactor = 1.0, annealing: define.Annealing = 0.0, semi_hard: bool = True,
    **common: Unpack[define.PrototypeCommon],
) -> define.Row:
    """SphereFace whose prototypes are remembered samples, with a gradient for semi-hard samples only.

    The value is that of `sphereface`: softmax cross entropy over |x| cos θ, the label's |x| (λ cos θ + ψ) / (1 + λ).
    A sample has a gradient if the largest of its logits is not the label's; for m > 1 only if it would be the label's
    without the margin. The mean counts all samples. Prototypes have no gradient; after each step samples replace some:
    `prototypes = anglos.angular_triplet_update(prototypes, embeddings, labels, replace)`. There are no triplets in it;
    for those, of angles, see `triplet(distance="angle")`.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector has a loss of log C, and no gradient while `semi_hard`.
    margin
        m; 1 is no margin. ...
    annealing
        λ. ...
    semi_hard
        Whether only semi-hard samples have a gradient. A logit equal to the largest other is not semi-hard.

    References
    ----------
    KaleidoZhouYN, "Angular-Triplet-Loss" (Caffe code): type SINGLE is m = 1; for small sets m = 2 and λ = 3.

    Examples
    --------
    At 90° to its own prototype and along the other, of length 1: the logits are 0 and 1.

    >>> import anglos, math, numpy as np
    >>> prototypes = np.asarray([[2.0, 0.0], [0.0, 3.0]])
    >>> loss = anglos.angular_triplet(np.asarray([[0.0, 1.0]]), prototypes, np.asarray([0]))
    >>> round(float(loss), 6), round(math.log(1 + math.e), 6)
    (1.313262, 1.313262)
    """
    return define.Row(1.0, partial(define.multiplicative_angular, margin=margin, annealing=annealing),
                      normalize_embeddings=False, gate=partial(_semi_hard, margin=margin) if semi_hard else None)


def _semi_hard(xp: Any, largest: Any, label: Any, without_margin: Any, *, margin: Any) -> Any:
    """z_y < max_j z_j, and for m > 1 z_y without the margin ≥ max_j z_j."""
    wrong = label < largest
    if define.is_number(margin):
        return wrong if margin == 1.0 else wrong & (without_margin >= largest)
    return wrong & ((margin * xp.ones_like(label) == 1.0) | (without_margin >= largest))


@define.update(angular_triplet, replace=define.ArrayOf("B", "bool"))
def angular_triplet_update(batch: define.Batch, prototypes: Any, embeddings: Any, labels: Any, replace: Any) -> Any:
    """Prototypes with those of some samples' classes replaced by the samples, made unit vectors.

    `replace` is a boolean array (B,): the authors draw it anew in every step, True with probability ½. Of several
    samples of one class the last counts, and none with the label −100. A zero vector stays one. Under a trace, a label
    out of range makes the prototype of class 0 NaN.

    >>> import numpy as np
    >>> old, new = np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([[-4.0, 0.0], [0.0, 5.0]])
    >>> angular_triplet_update(old, new, np.asarray([1, 0]), np.asarray([True, False])).tolist()
    [[1.0, 0.0], [-1.0, 0.0]]
    """
    backend, xp, classes = batch.backend, batch.backend.xp, prototypes.shape[0]
    replace = replace & batch.counted(labels)
    # A sample wins if no later one of its class does.
    number = backend.arange(batch.sizes["B"], labels)
    later = (labels[:, None] == labels[None, :]) & (number[None, :] > number[:, None]) & replace[None, :]
    wins = (replace & ~xp.any(later, axis=1))[:, None]
    x = xp.astype(embeddings, define.float_type(xp, embeddings, prototypes), copy=False)
    unit, _ = define.unit_rows(backend, xp.where(wins, x, 0.0))
    unit = xp.where(wins, unit * batch.weight(unit[:, 0])[:, None], 0.0)
    replaced = backend.sum_by_label(xp.astype(wins, unit.dtype), labels, classes) > 0.0
    new = xp.astype(backend.sum_by_label(unit, labels, classes), prototypes.dtype, copy=False)
    return backend.stop_gradient(xp.where(replaced, new, prototypes))
