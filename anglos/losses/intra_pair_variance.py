"""Intra-pair variance loss."""

from functools import partial
from typing import Any

from anglos import define


@define.batchwise(formula="ℓ = mean_p [(1 − ε_p) μ_p − s_p]₊² + mean_n [s_n − (1 + ε_n) μ_n]₊², μ = mean s",
                  paper="Yu & Tao 2019 (ICCV)")
def intra_pair_variance(
    embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
    positive_epsilon: define.Factor = 0.01, negative_epsilon: define.Factor = 0.01,
    ignore_index: define.IgnoredGroup = -100,
) -> define.Direct:
    """Intra-pair variance: the cosines of positives should be alike, and those of negatives too.

    ℓ = mean_p [(1 − ε_p) μ_p − s_p]₊² + mean_n [s_n − (1 + ε_n) μ_n]₊², over all pairs p of one class and n of two,
    with their cosines s, and the means μ_p and μ_n of these, which are differentiated too. It is one number for the
    batch, and is added to another loss: the paper's is `tuplet_margin`.

    Parameters
    ----------
    labels
        ... Pairs are compared in tiles.
    positive_epsilon
        ε_p. ...
    negative_epsilon
        ε_n. Where μ_n is below 0, the bound is below it too. ...

    Notes
    -----
    No sample has a loss of its own: there is no `sample_weight` and no `reduction`. Without a positive pair, or without
    a negative one, the term is 0.

    References
    ----------
    Yu, Tao, "Deep Metric Learning with Tuplet Margin Loss", ICCV 2019.

    Examples
    --------
    Two classes at 0° and 90°, where one sample is at 90° too: cosines 0 and 1 of the two positive pairs, 0, 0, 1 and 1
    of the negative ones. With ε = 0 both terms are the mean of ¼ and 0.

    >>> import anglos, numpy as np
    >>> embeddings = np.asarray([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 2.0]])
    >>> loss = anglos.intra_pair_variance(
    ...     embeddings, np.asarray([5, 5, 7, 7]), positive_epsilon=0.0, negative_epsilon=0.0)
    >>> float(loss)
    0.25
    """
    parts = partial(_parts, ignore_index=ignore_index, epsilons=(positive_epsilon, negative_epsilon))
    return define.of_parts(parts, _gradients)


def _gradients(backend: define.Backend, g: Any, pairs: Any, short: Any, means: Any, short_means: Any, shares: Any,
               factors: Any) -> dict[str, Any]:
    """With h = [...]₊, ∂ℓ/∂s_p = 2 ((1 − ε_p) mean h_p − h_p) / |P|, ∂ℓ/∂s_n = 2 (h_n − (1 + ε_n) mean h_n) / |N|.

    ∂ℓ/∂ε_p = −2 μ_p mean h_p, ∂ℓ/∂ε_n = −2 μ_n mean h_n.
    """
    xp, (near, far) = backend.xp, factors

    def slope(cos: Any, positive: Any, negative: Any) -> Any:
        h = short(cos, positive, negative)
        return 2.0 * (xp.where(positive, shares[0] * (near * short_means[0] - h), 0.0)
                      + xp.where(negative, shares[1] * (h - far * short_means[1]), 0.0))

    by_epsilon = [-2.0 * g * mean * short_mean for mean, short_mean in zip(means, short_means, strict=True)]
    return {"embeddings": g * pairs.pull(slope), "positive_epsilon": by_epsilon[0],
            "negative_epsilon": by_epsilon[1]}


def _parts(backend: define.Backend, embeddings: Any, labels: Any, *options: Any, ignore_index: int, epsilons: Any
           ) -> Any:
    """ℓ; the pairs; h of a tile; μ_p and μ_n; the means of h; 1/|P| and 1/|N|; 1 − ε_p and 1 + ε_n."""
    xp, factors = backend.xp, (1.0 - epsilons[0], 1.0 + epsilons[1])
    pairs = define.all_pairs(backend, embeddings, labels, ignore_index)

    def short(cos: Any, positive: Any, negative: Any) -> Any:
        return define.positive_part(xp, xp.where(positive, factors[0] * means[0] - cos, cos - factors[1] * means[1]))

    def squares(*tile: Any) -> Any:
        h = short(*tile)
        return h, h * h

    counts, sums = pairs.totals(lambda cos, *_: (xp.ones_like(cos), cos))
    shares = [1.0 / define.divisor_of(xp, count) for count in counts]
    means = [share * total for share, total in zip(shares, sums, strict=True)]
    short_sums, square_sums = pairs.totals(squares)
    short_means = [share * total for share, total in zip(shares, short_sums, strict=True)]
    value = shares[0] * square_sums[0] + shares[1] * square_sums[1]
    return value, pairs, short, means, short_means, shares, factors
