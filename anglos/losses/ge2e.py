"""The generalised end-to-end loss of speaker verification."""

import math
from functools import partial
from typing import Any, Literal, Unpack

from anglos import define


@define.pairs(engine=define.means_as_keys, formula="z = w cos θ(x, c_k) + b, c_y without x",
              paper="Wan et al. 2018, arXiv:1710.10467")
def ge2e(
    embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
    scale: define.Scale = 10.0, bias: define.Number = -5.0, form: Literal["softmax", "contrast"] = "softmax",
    centroids: Literal["unit", "raw"] = "unit", cosine_floor: define.CosineFloor = None,
    **common: Unpack[define.LabelCommon],
) -> define.PairRow:
    """GE2E: every sample against the means of the classes of its batch, of its own class the mean of the others.

    z_k = w cos(x, c_k) + b, c_k the mean of class k, and of the sample's own class y that of the other samples.
    "softmax" is ℓ = −log( exp(z_y) / Σ_k exp(z_k) ), "contrast" ℓ = 1 − σ(z_y) + max_{k≠y} σ(z_k). The gradient goes
    through the means. A sample that is alone in its class, or in a batch of one class, adds nothing and leaves the
    mean's divisor; to others its class is one as any other. In `batch_coco` a sample is part of its own mean.

    Parameters
    ----------
    embeddings
        ... So has a mean that vanishes, to rounding.
    scale
        w. An array is differentiated: a learnable scale, which the authors start from 10.
    bias
        b. An array is differentiated; softmax does not depend on it, so that only "contrast" can learn it.
    form
        The authors take "contrast" where the text is the same in all utterances, "softmax" where it is free.
    centroids
        Means of "unit" vectors, as in the paper; or of "raw" ones, in which longer vectors weigh more.
    cosine_floor
        What smaller cosines are replaced by, with gradient 0: 1e-6 in voxceleb_trainer. ...

    References
    ----------
    Wan, Wang, Papir, Moreno, "Generalized End-to-End Loss for Speaker Verification", ICASSP 2018, arXiv:1710.10467.

    Examples
    --------
    Two speakers of two equal utterances each, at a right angle: the logits are 1 − 5 and 0 − 5.

    >>> import anglos, math, numpy as np
    >>> embeddings = np.asarray([[3.0, 0.0], [0.0, 2.0], [1.0, 0.0], [0.0, 1.0]])
    >>> loss = anglos.ge2e(embeddings, np.asarray([7, 4, 7, 4]), scale=1.0)
    >>> round(float(loss), 6), round(math.log(1 + 1 / math.e), 6)
    (0.313262, 0.313262)
    """
    terms = {"softmax": define.one_of_many, "contrast": _contrast}[form]
    floor = -math.inf if cosine_floor is None else cosine_floor
    return define.PairRow(partial(_terms, of_logits=terms, scale=scale, bias=bias, floor=floor),
                          unit_means=centroids == "unit")


def _terms(backend: define.Backend, tile: define.PairTile, *, of_logits: Any, scale: Any, bias: Any, floor: Any
           ) -> define.Terms:
    """Of logits z = w c + b, c = max(cos, f), with G = ∂ℓ/∂z: ∂ℓ/∂cos = w G, which below f is ∂ℓ/∂f in its place.

    ∂ℓ/∂w = Σ_k G_k c_k, and ∂ℓ/∂b = Σ_k G_k, which is 0 of a softmax.
    """
    xp, cos = backend.xp, tile.values
    below = cos < floor if define.is_number(floor) else (cos < floor) | (floor != floor)  # NaN stays NaN
    cos = xp.where(below, floor, cos)
    terms = of_logits(backend, tile._replace(values=scale * cos + bias))

    def slope() -> Any:
        return xp.where(below, 0.0, scale * terms.slope())

    def option_slopes() -> dict[str, Any]:
        by_logit, of_softmax = terms.slope(), of_logits is define.one_of_many
        return {"scale": xp.sum(by_logit * cos, axis=1),
                "bias": xp.zeros_like(terms.value) if of_softmax else xp.sum(by_logit, axis=1),
                "cosine_floor": define.sum_where(xp, below, scale * by_logit)}

    return define.Terms(terms.value, terms.count, slope, option_slopes)


def _contrast(backend: define.Backend, tile: define.PairTile) -> define.Terms:
    """ℓ = σ(−z_p) + σ(z_n) of the largest z_n, the first of equals; ∂σ(z)/∂z = σ(z) σ(−z)."""
    xp, z = backend.xp, tile.values
    negatives = xp.where(tile.negative, z, -math.inf)
    place = xp.argmax(negatives, axis=1)[:, None]
    largest = xp.take_along_axis(negatives, place, axis=1)
    some, near = largest != -math.inf, define.sum_where(xp, tile.positive, z)[:, None]
    value = xp.where(some, define.sigmoid(-near) + define.sigmoid(largest), 0.0)[:, 0]

    def slope() -> Any:
        by_near, by_largest = (define.sigmoid(one) * define.sigmoid(-one) for one in (near, largest))
        chosen = place == backend.arange(z.shape[1], place)[None, :]
        return xp.where(some & tile.positive, -by_near, xp.where(some & chosen, by_largest, 0.0))

    return define.Terms(value, xp.astype(some[:, 0], z.dtype), slope)
