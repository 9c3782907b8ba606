"""Terms of every pair by itself: two functions of one similarity, whose slopes are found."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.dual import Dual, slopes_of
from anglos.engines.numerics import Array, is_array, sum_where
from anglos.engines.pairs.row import PairTile, Terms

_VALUE = "s of a pair"  # no name of an option


def pair_terms(positive: Callable[..., Any], negative: Callable[..., Any], *, average: bool = True, **options: Any
               ) -> Callable[[Backend, PairTile], Terms]:
    """ℓ_i = mean_p f(s_ip) + mean_n g(s_in): a term for every positive pair, and one for every negative.

    For the `terms` of a `PairRow`. Both functions are differentiated, in s and in the options that are arrays; they are
    written with operators and the functions of `anglos.define`. An anchor without a positive or without a negative adds
    nothing and leaves the mean's divisor. Weights of positives count in their mean.

    Parameters
    ----------
    positive, negative : functions
        f and g of the similarities s, or of what else the row compares by, and of the options.
    average : bool
        False for sums in place of the two means.
    options
        Options of the loss under their names, and constants: what both functions are given by name.

    Examples
    --------
    Binomial deviance. Of each sample the positive has cosine 1, the negatives −1; α = 1, λ = 0: 2 log(1 + 1/e).

    >>> import math, numpy as np
    >>> from anglos import define
    >>> def pull(s, *, alpha, base):
    ...     return define.softplus(-alpha * (s - base))
    >>> def push(s, *, alpha, base):
    ...     return define.softplus(alpha * (s - base))
    >>> @define.pairs
    ... def deviance(embeddings: define.Embeddings, labels: define.Groups, /, *,
    ...              alpha: define.Factor = 2.0, base: define.Number = 0.5):
    ...     return define.PairRow(define.pair_terms(pull, push, alpha=alpha, base=base))
    >>> embeddings = np.asarray([[1.0, 0.0], [2.0, 0.0], [-1.0, 0.0], [-3.0, 0.0]])
    >>> loss = deviance(embeddings, np.asarray([0, 0, 1, 1]), alpha=1.0, base=0.0)
    >>> round(float(loss), 6), round(2 * math.log(1 + 1 / math.e), 6)
    (0.626523, 0.626523)
    """
    return partial(_terms, positive, negative, average, options)


def options_of(terms: Any) -> Mapping[str, Any]:
    """What the functions of `pair_terms` are given; nothing for other terms."""
    return terms.args[3] if isinstance(terms, partial) and terms.func is _terms else {}


def _terms(positive: Any, negative: Any, average: bool, options: Mapping[str, Any], backend: Backend, tile: PairTile
           ) -> Terms:
    xp, s, learnt = backend.xp, tile.values, [name for name, option in options.items() if is_array(option)]
    sides = ((positive, tile.positive), (negative, tile.negative))
    ones = [tile.weighted(xp.astype(mask, s.dtype)) for _, mask in sides]
    totals = [xp.sum(one, axis=1) for one in ones]
    counts = (totals[0] > 0.0) & (totals[1] > 0.0)
    shares = [1.0 / xp.where(counts, total, 1.0) if average else xp.ones_like(total) for total in totals]
    weights = [one * xp.where(counts, share, 0.0)[:, None] for one, share in zip(ones, shares, strict=True)]

    def derived() -> list[dict[str, Array]]:
        """Of each side, the slopes of its terms, times their weights; 0 of pairs that are not of it."""
        found = [_called(function, s, options, differentiated=True) for function, _ in sides]
        return [{name: xp.where(mask, weight * slopes.get(name, 0.0), 0.0) for name in (_VALUE, *learnt)}
                for slopes, weight, (_, mask) in zip(map(slopes_of, found), weights, sides, strict=True)]

    def slope() -> Array:
        pull, push = derived()
        return pull[_VALUE] + push[_VALUE]

    def option_slopes() -> dict[str, Array]:
        pull, push = derived()
        return {name: xp.sum(pull[name] + push[name], axis=1) for name in pull if name != _VALUE}

    value = sum(sum_where(xp, mask, weight * _called(function, s, options, differentiated=False).value)
                for weight, (function, mask) in zip(weights, sides, strict=True))
    return Terms(value, xp.astype(counts, s.dtype), slope, option_slopes)


def _called(function: Any, s: Array, options: Mapping[str, Any], *, differentiated: bool) -> Dual:
    """A term of every pair, with its slopes if it is differentiated; in words, what a library says of a wrong one."""
    name = getattr(function, "__name__", function)
    duals = {key: Dual(array, {key: None} if differentiated else {}) for key, array in {_VALUE: s, **options}.items()
             if is_array(array)}
    try:
        found = function(duals.pop(_VALUE), **{**options, **duals})
    except (TypeError, AttributeError, ValueError) as error:
        raise TypeError(f"{name}: its formula failed ({error}); wanted operators and the functions of anglos.define"
                        ) from error
    if not isinstance(found, Dual) or found.shape != s.shape:
        raise TypeError(f"{name}: what the function returned was {type(found).__name__}; wanted a number for every "
                        "pair, computed from its similarity")
    return found
