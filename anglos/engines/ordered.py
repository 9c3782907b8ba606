"""Sums over those that are lower in an order, in N log N."""

import math
from typing import Any

from anglos.arrays.backend import Backend
from anglos.engines.numerics import Array, is_number, log_add_exp, log_sum_exp, smallest_normal


def log_sum_of_lower(backend: Backend, keys: Array, z: Array, top: Any, span: Any) -> Array:
    """For each of (N,) log Σ_j eᶻ over those with a lower key, −∞ of none; all z are from top − span to top.

    A sum from the lowest on adds exponentials of one range each, so that none vanishes beside another: as many as the
    span has. If that is an array, which is not read, the sums are running ones.
    """
    xp, order = backend.xp, backend.xp.argsort(keys)
    places = backend.rank(xp.take(keys, order)[None, :], keys[None, :], strict=True)[0, :]
    if not is_number(span):
        sums = running_log_sum(backend, xp.take(z, order)[None, :])[0, :]
        return xp.where(places > 0, xp.take(sums, backend.maximum(places, 1) - 1), -math.inf)
    width = -math.log(smallest_normal(xp, z.dtype)) - 8.0
    ranges = max(math.ceil(span / width), 1)
    nothing, below, logs, some = backend.arange(1, z), top - xp.take(z, order), [], []
    for start in [width * number for number in range(ranges)]:
        here = (below >= start) & ~(below >= start + width) if start else ~(below >= width)
        terms = xp.where(here, xp.exp(xp.where(here, start - below, 0.0)), 0.0)
        sums = xp.take(xp.cumulative_sum(xp.concat([nothing, terms]), axis=0), places)
        some.append(sums != 0.0)  # and not "> 0": a NaN must stay one
        logs.append(top - start + xp.log(xp.where(some[-1], sums, 1.0)))
    return log_sum_exp(xp, xp.stack(logs, axis=-1), xp.stack(some, axis=-1))[:, 0]


def running_log_sum(backend: Backend, z: Array, back: bool = False) -> Array:
    """Of finite numbers, (A, N), for each log Σ eᶻ of its row up to it; back: from it on.

    In log₂ N steps, each of which adds as many again; every sum is at least as large as each of its terms.
    """
    if backend.at_once and (at_once := backend.running_log_sum(z, back)) is not None:
        return at_once
    step, many = 1, z.shape[1]
    if many is None:
        raise ValueError("running sums: the number of rows was unknown; wanted a fixed one")
    while step < many:
        ends = z[:, step:], z[:, :many - step]
        sums = log_add_exp(backend, *ends)
        z = backend.xp.concat([sums, z[:, many - step:]] if back else [z[:, :step], sums], axis=1)
        step = 2 * step
    return z
