"""Global orthogonal regularisation."""

from functools import partial
from typing import Any

from anglos import define


@define.batchwise(formula="ℓ = w₁ M₁² + w₂ [M₂ − t]₊, M₁ = mean S_ij, M₂ = mean S_ij²",
                  paper="Zhang et al. 2017, arXiv:1708.06320")
def global_orthogonal(
    embeddings: define.Embeddings, labels: define.BatchClasses | None = None, /, *,
    mean_weight: define.Factor = 1.0, second_moment_weight: define.Factor = 1.0,
    threshold: define.Factor | None = None, ignore_index: define.IgnoredGroup = -100,
) -> define.Direct:
    """Global orthogonal regularisation: the cosines of different samples as those of random directions.

    ℓ = w₁ M₁² + w₂ [M₂ − t]₊, with M₁ the mean of the cosines of all pairs, M₂ that of their squares: 0 and 1/D for
    directions that are evenly spread. It is one number for the batch, added to another loss. EmbeddingGemma takes
    mean_weight=0 and threshold=0, once of queries and once of keys.

    Parameters
    ----------
    embeddings
        One row per sample. A zero vector has cosine 0 with all others, and gradient 0.
    labels
        Any integers: samples of equal ones are not compared, nor are ignored ones. None: all are. With labels the
        cosines are computed, in tiles.
    mean_weight
        w₁. ...
    second_moment_weight
        w₂. ...
    threshold
        t. An array is differentiated; None is 1/D.

    Notes
    -----
    Without labels no cosine is computed, in time B D²: M₁ and M₂ are (|Σ x̂|² − B) and (|X̂ᵀX̂|² − B) over B (B − 1),
    with an absolute error of the precision over B.
    No sample has a loss of its own: there is no `sample_weight` and no `reduction`. Without a pair the loss is 0.

    References
    ----------
    Zhang, Yu, Kumar, Chang, "Learning Spread-out Local Feature Descriptors", ICCV 2017, arXiv:1708.06320.

    Examples
    --------
    Two vectors at 60°: M₁ = ½, M₂ = ¼, and ¼ + ¼ without a threshold.

    >>> import anglos, numpy as np
    >>> loss = anglos.global_orthogonal(np.asarray([[1.0, 0.0], [1.0, 3.0**0.5]]), threshold=0.0)
    >>> round(float(loss), 6)
    0.5
    """
    parts = partial(_parts, ignore_index=ignore_index, weights=(mean_weight, second_moment_weight),
                    threshold=1.0 / embeddings.shape[1] if threshold is None else threshold)
    return define.of_parts(parts, _gradients)


def _gradients(backend: define.Backend, g: Any, units: Any, excesses: Any, slopes: Any, weights: Any
               ) -> dict[str, Any]:
    """∂M₁/∂x̂_i = 2 Σ_j x̂_j / n and ∂M₂/∂x̂_i = 4 Σ_j S_ij x̂_j / n, over the pairs that count."""
    (unit, inverse), (first, excess, above), (by_first, by_second), (w1, w2) = units, excesses, slopes, weights
    d_unit = (g * w1 * 4.0 * first) * by_first + (g * w2 * 4.0 * above) * by_second
    return {"embeddings": define.unit_rows_pullback(backend, unit, inverse, d_unit), "mean_weight": g * first * first,
            "second_moment_weight": g * excess, "threshold": -g * w2 * above}


def _parts(backend: define.Backend, embeddings: Any, *others: Any, ignore_index: int, weights: Any, threshold: Any
           ) -> Any:
    """ℓ; x̂ and 1/|x|; M₁, [M₂ − t]₊ and whether it is above 0; Σ_j x̂_j / n and Σ_j S_ij x̂_j / n; w₁ and w₂."""
    xp, (unit, inverse) = backend.xp, define.unit_rows(backend, embeddings)

    def tile(cos: Any, _: Any, negative: Any) -> Any:
        counted, cos = xp.astype(negative, cos.dtype), xp.where(negative, cos, 0.0)
        return ({"first": xp.sum(cos), "second": xp.sum(cos * cos), "pairs": xp.sum(counted)},
                (backend.product(counted, unit), backend.product(cos, unit)))

    labels = others[0] if others and others[0].ndim else None  # options are numbers
    if labels is None:
        total, products, square = xp.sum(unit, axis=0), backend.product(unit.T, unit), backend.dot(unit, unit)
        count = xp.sum(xp.ones_like(square))
        first, second, pairs = (xp.sum(total * total) - xp.sum(square), xp.sum(products * products)
                                - xp.sum(square * square), count * (count - 1.0))
        of_rows: Any = total - unit, backend.product(unit, products) - square[:, None] * unit
    else:
        sums, of_rows = define.AllPairs(backend, unit, inverse, labels, ignore_index).sums(tile)
        first, second, pairs = sums["first"], sums["second"], sums["pairs"]
    share = xp.where(pairs == 0.0, 0.0, 1.0 / define.divisor_of(xp, pairs))
    first, second, slopes = first * share, second * share, [share * one for one in of_rows]
    excess, above = define.hinge(backend, (second - threshold) * xp.astype(pairs != 0.0, unit.dtype), False)
    return weights[0] * first * first + weights[1] * excess, (unit, inverse), (first, excess, above), slopes, weights
