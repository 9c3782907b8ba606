"""Margins, biases and weights of classes, made of how many samples each has: what `anglos.classes` has."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of, unwrapped
from anglos.arrays.library import Array
from anglos.call.check import check_values
from anglos.call.kinds import ArrayOf, Number, Refuse, is_dtype, refuse
from anglos.engines.numerics import float_type


@dataclass(frozen=True)
class _Counts(ArrayOf):
    """An array of numbers above 0: of a class without samples there is no margin, weight or logarithm."""

    ranged = True

    def __str__(self) -> str:
        return "an array of finite numbers above 0, one per class, of integral or real floating dtype and shape (C,)"

    def check_range(self, refuse: Refuse, verb: str, low: float, high: float) -> None:
        """Refuse an array with these bounds."""
        if not (low > 0.0 and high < math.inf):
            hint = " (a class without samples: leave it out, or count it as 1)" if low == 0.0 else ""
            refuse(ValueError, f"{verb} {high if low > 0.0 else low:g}", f"{self}{hint}")

    def nan_outside(self, xp: Any, array: Any) -> Any:
        """The array, with NaN where a number is refused: for when it cannot be looked at."""
        return xp.where((array > 0.0) & (array < math.inf), array, math.nan)


_NAME = "classes.{}"
_COUNTS = _Counts("C")
_NUMBER = Number("a number", -math.inf, shapes=())
_MARGIN = Number("a margin", 0.0, shapes=())
_ROUNDED = 1.01
"""How long a mean of unit vectors may be: no longer than 1, but for rounding."""


def ldam_margins(counts: Array, *, max_margin: float = 0.5) -> Array:
    """Margins of LDAM, m_j = m (n_j / min n)^(−¼): the rarer a class, the larger, up to m.

    Parameters
    ----------
    counts : array (C,) of numbers above 0
        n: how many samples every class has.
    max_margin : number of at least 0, default 0.5
        m: that of the rarest class.

    Returns
    -------
    array (C,)
        Cosine margins: `anglos.cosface(..., class_margin=ldam_margins(counts), margin=0.0, scale=30.0)`.

    References
    ----------
    Cao, Wei, Gaidon, Arechiga, Ma, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss",
    NeurIPS 2019, arXiv:1906.07413, eq. 13.

    Examples
    --------
    A class of 16 times as many samples has half the margin.

    >>> import numpy as np
    >>> ldam_margins(np.asarray([16.0, 1.0])).tolist()
    [0.25, 0.5]
    """
    with _counted("ldam_margins", counts, max_margin=(_MARGIN, max_margin)) as (_, xp, n):
        return max_margin * (n / xp.min(n)) ** -0.25


def power_margins(counts: Array, factor: float, offset: float, *, power: float = -0.25) -> Array:
    """Margins m_j = a n_j^p + b.

    Parameters
    ----------
    counts : array (C,) of numbers above 0
        n: how many samples every class has.
    factor, offset : number
        a and b.
    power : number, default −¼
        p; the paper's is −λ.

    Returns
    -------
    array (C,)
        Angles, for `arcface`, or cosine margins, for `cosface`.

    References
    ----------
    Ha, Liu, Ren, Liu, "Google Landmark Recognition 2020 Competition Third Place Solution", 2020, arXiv:2010.05350.

    Examples
    --------
    >>> import numpy as np
    >>> power_margins(np.asarray([16.0, 1.0]), 0.5, 0.125).tolist()
    [0.375, 0.625]
    """
    with _counted("power_margins", counts, factor=(_NUMBER, factor), offset=(_NUMBER, offset), power=(_NUMBER, power)
                  ) as (_, _, n):
        return factor * n**power + offset


def minmax_margins(counts: Array, *, low: float = 0.05, high: float = 0.5, power: float = -0.25) -> Array:
    """Margins m_j = a n_j^p + b with the a and b that make `high` the largest and `low` the smallest.

    The dynamic margins as they are run, whatever the counts. Where all classes have as many samples, all have `high`.

    Parameters
    ----------
    counts : array (C,) of numbers above 0
        n: how many samples every class has.
    low, high : number of at least 0, default 0.05 and 0.5
        The smallest and the largest margin.
    power : number, default −¼
        p.

    Returns
    -------
    array (C,)
        Angles, for `arcface`, or cosine margins, for `cosface`.

    References
    ----------
    As `power_margins`.

    Examples
    --------
    n^(−¼) is ¼, ½ and 1.

    >>> import numpy as np
    >>> minmax_margins(np.asarray([256.0, 16.0, 1.0]), low=0.0, high=0.75).tolist()
    [0.0, 0.25, 0.75]
    """
    with _counted("minmax_margins", counts, low=(_MARGIN, low), high=(_MARGIN, high), power=(_NUMBER, power)
                  ) as (_, xp, n):
        if low > high:
            refuse(_NAME.format("minmax_margins"), "low", ValueError, f"was {low}",
                   f"a number up to high, which was {high}")
        powers = n**power
        span = xp.max(powers) - xp.min(powers)
        return high - (high - low) * (xp.max(powers) - powers) / xp.where(span > 0.0, span, 1.0)


def log_prior(counts: Array, *, tau: float = 1.0) -> Array:
    """Biases b_j = τ log(n_j / Σ n) of logit adjustment; with τ = 1 balanced softmax.

    They are added to the logits in training, and not when the network is used: subtract them from `head.logits` of a
    `Head` that has them as its bias. With a network that was trained without them, subtract them as well, from its own
    logits.

    Parameters
    ----------
    counts : array (C,) of numbers above 0
        n: how many samples every class has.
    tau : number, default 1
        τ.

    Returns
    -------
    array (C,)
        For `bias` of `linear_cross_entropy`, `normface`, `cosface` or `arcface`, added to one's own if there is one.

    References
    ----------
    Menon, Jayasumana, Rawat, Jain, Veit, Kumar, "Long-Tail Learning via Logit Adjustment", ICLR 2021,
    arXiv:2007.07314, eq. 10; Ren et al., "Balanced Meta-Softmax", NeurIPS 2020, arXiv:2007.10740, eq. 3.

    Examples
    --------
    >>> import math, numpy as np
    >>> [round(math.exp(bias), 6) for bias in log_prior(np.asarray([3.0, 1.0])).tolist()]
    [0.75, 0.25]
    """
    with _counted("log_prior", counts, tau=(_NUMBER, tau)) as (_, xp, n):
        return tau * xp.log(n / xp.sum(n))


def effective_number_weights(counts: Array, *, beta: float = 0.9999) -> Array:
    """Class weights w_j ∝ (1 − β) / (1 − β^n_j), with mean 1.

    1/w is proportional to the effective number of samples: with β = 0 all weights are 1, at β = 1, the limit, they go
    by 1/n. LDAM's deferred re-weighting takes them for the last epochs of a training, and none before.

    Parameters
    ----------
    counts : array (C,) of numbers above 0
        n: how many samples every class has.
    beta : number from 0 to 1, default 0.9999
        β.

    Returns
    -------
    array (C,)
        For `class_weight`. Without smoothed labels `sample_weight=weights[labels]` is the same.

    References
    ----------
    Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019,
    arXiv:1901.05555, eq. 4.

    Examples
    --------
    1 − ½^n is ½ and ¾: the weights are as 3 to 2.

    >>> import numpy as np
    >>> [round(weight, 6) for weight in effective_number_weights(np.asarray([1.0, 2.0]), beta=0.5).tolist()]
    [1.2, 0.8]
    """
    with _counted("effective_number_weights", counts, beta=(Number("a number", 0.0, 1.0, shapes=()), beta)
                  ) as (_, xp, n):
        effective = n if beta == 1.0 else xp.ones_like(n) if beta == 0.0 else -xp.expm1(n * math.log(beta))
        return effective**-1.0 / xp.mean(effective**-1.0)


def kappaface_margins(means: Array, counts: Array, *, margin: float = 0.8, temperature: float = 0.4, gamma: float = 0.7
                      ) -> Array:
    """Margins m_j = m (γ w_κ + (1 − γ) w_n) of KappaFace: larger for classes that are rare, and that are scattered.

    With r = |mean x̂| and κ = r (D − r²) / (1 − r²), how concentrated a class is, w_κ = 1 − σ(T κ̃), where κ̃ is κ less
    its mean over the classes, divided by their standard deviation; w_n = ½ (1 + cos(π n / (1.05 max n))). A class whose
    samples all have one direction counts as the most concentrated of the others; where there is no deviation, κ̃ is 0.

    Parameters
    ----------
    means : array (C, D)
        The mean of the embeddings of every class, each divided by its length: over one epoch, or running.
    counts : array (C,) of numbers above 0
        n: how many samples every class has.
    margin : number of at least 0, default 0.8
        m.
    temperature : number of at least 0, default 0.4
        T.
    gamma : number from 0 to 1, default 0.7
        γ: how much concentration matters, and not the number of samples.

    Returns
    -------
    array (C,)
        Angles, for `arcface`, to be computed anew after every epoch. The authors start from m/2 for all, and have
        past_pi="reflect".

    Raises
    ------
    ValueError
        If a mean is longer than 1: it is a sum, or that of embeddings that were not divided by their lengths.

    References
    ----------
    Oinar, Le, Woo, "KappaFace: Adaptive Additive Angular Margin Loss for Deep Face Recognition", 2022,
    arXiv:2201.07394, and the authors' code.

    Examples
    --------
    Two classes of one sample each, as concentrated as can be: w_κ = ½, and w_n = ½ (1 + cos(π / 1.05)).

    >>> import math, numpy as np
    >>> margins = kappaface_margins(np.asarray([[1.0, 0.0], [0.0, 1.0]]), np.asarray([1, 1]), margin=1.0, gamma=0.5)
    >>> round(float(margins[0]), 6), round(0.25 + 0.25 * (1 + math.cos(math.pi / 1.05)), 6)
    (0.252792, 0.252792)
    """
    caller = "kappaface_margins"
    with _counted(caller, counts, means=(ArrayOf("C D"), means), margin=(_MARGIN, margin),
                  temperature=(_MARGIN, temperature), gamma=(Number("a part", 0.0, 1.0, shapes=()), gamma)
                  ) as (backend, xp, n, means):
        r = xp.sqrt(xp.sum(means * means, axis=1))
        if (bounds := backend.bounds(r)) is not None and not bounds[1] <= _ROUNDED:
            refuse(_NAME.format(caller), "means", ValueError, f"held a row of length {bounds[1]:.3g}",
                   "means of embeddings that were divided by their lengths, no longer than 1")
        of_kappa = 1.0 / (1.0 + xp.exp(temperature * _standardised(xp, r, means.shape[1])))
        of_number = 0.5 * (1.0 + xp.cos(math.pi * n / (1.05 * xp.max(n))))
        return xp.where(r <= _ROUNDED, margin * (gamma * of_kappa + (1.0 - gamma) * of_number), math.nan)


def _standardised(xp: Any, r: Array, dimension: int) -> Array:
    """κ less its mean, divided by the standard deviation, which is that of a sample of classes."""
    spread = r < 1.0 - 8.0 * xp.finfo(r.dtype).eps
    kappa = xp.where(spread, r * (dimension - r**2) / xp.where(spread, 1.0 - r**2, 1.0), -math.inf)
    largest = xp.max(kappa)
    kappa = xp.where(spread, kappa, xp.where(largest == -math.inf, 0.0, largest))
    centred = kappa - xp.mean(kappa)
    variance = xp.sum(centred**2) / max(r.shape[0] - 1, 1)
    return centred / xp.sqrt(xp.where(variance > 0.0, variance, 1.0))


@contextmanager
def _counted(caller: str, counts: Any, **others: tuple[Any, Any]) -> Iterator[Any]:
    """The backend, its functions, and the counts as floats, all checked; then the other arrays."""
    kinds: dict[str, Any] = {"counts": _COUNTS, **{name: kind for name, (kind, _) in others.items()}}
    values = {"counts": _floats(counts), **{name: value for name, (_, value) in others.items()}}
    checked = check_values(_NAME.format(caller), kinds, values)
    backend: Backend = checked.backend
    n, *arrays = checked.arrays.values()
    dtype = float_type(backend.xp, n, *arrays)
    with backend.untracked((n, *arrays)):
        yield backend, backend.xp, *(backend.xp.astype(one, dtype, copy=False) for one in (n, *arrays))


def _floats(counts: Any) -> Any:
    """Integers as numbers of the library's default type; anything else as it is."""
    counts = unwrapped(counts)
    backend = backend_of(counts)
    if backend is None or not is_dtype(backend.xp, counts.dtype, "integral"):
        return counts
    return backend.xp.astype(counts, backend.xp.asarray(0.0).dtype)
