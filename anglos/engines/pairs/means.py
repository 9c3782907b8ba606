"""Engine 2 with class means of the batch: a sample is compared with the mean of the others of its class, which is its
key, and with those of the other classes, which are negatives. Labels are any integers.

With c_k as the mean of what class k has in it, of N_k, and u as x or x̂:

    c_k = Σ_i u_i / N_k,   k_i = c_y − u_i / N_y,   ∂u_i = (∂c_y + Σ_j ∂k_j − ∂k_i) / N_y, j over the class
"""

from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.engines.groups import shares
from anglos.engines.numerics import Array, float_type, unit_rows, unit_rows_pullback
from anglos.engines.pairs import engine as _pairs
from anglos.engines.pairs.row import PairRow
from anglos.engines.pairs.saved import Saved
from anglos.engines.pairs.step import Step as _Step

SAMPLES_ARE_INDEPENDENT = False
ROLES: tuple[tuple[str, ...], ...] = (("embeddings", "labels"),)
count, unpack = _pairs.count, _pairs.unpack

_SIDES = frozenset(("queries", "keys", "negatives"))


class Step(NamedTuple):
    """What both passes start from; without samples there is nothing but the inputs."""

    backend: Backend
    row: PairRow
    inputs: dict[str, Array]
    means: "Means | None"
    of_pairs: _Step | None

    def remembered(self) -> Any:
        """What has the size of the batch."""
        return None if self.of_pairs is None else self.of_pairs.remembered()


class Means(NamedTuple):
    """Of one's own samples, except `centers`."""

    places: Array
    """Of the class of each, (B,): the first that its label has among the sorted labels of all."""
    share: Array
    """1 / N_k of each, (B, 1); 0 of one that is in no mean."""
    inverse: Array | None
    """1 / |x| where the means are of unit vectors."""
    unit: Array
    keys: Array
    centers: Array
    """Of all places, (N, D); 0 where no class has it."""
    left_out: Array
    """Places that are not compared with, (B, N): the own one, those without a mean, and all where nothing is asked."""


def prepare(backend: Backend, row: PairRow, inputs: dict[str, Array], **others: Any) -> Step:
    """The step of engine 2, with means."""
    if backend.rows(inputs["labels"]) == 0:
        return Step(backend, row, inputs, None, None)
    xp = backend.xp
    x = xp.astype(inputs["embeddings"], float_type(xp, inputs["embeddings"]), copy=False)
    means = _means_of(backend, row, x, inputs["labels"])
    given = {**inputs, "queries": x, "keys": means.keys, "negatives": backend.own_columns(means.centers),
             "false_negatives": means.left_out}
    del given["embeddings"], given["labels"]
    return Step(backend, row, inputs, means, _pairs.prepare(backend, row, given, **others))


def forward(step: Step) -> tuple[Array, Saved]:
    """As of engine 2."""
    if step.of_pairs is None:
        nothing = step.backend.xp.sum(step.inputs["embeddings"], axis=-1)
        return nothing, Saved(nothing)
    return _pairs.forward(step.of_pairs)


def backward(step: Step, saved: Saved, g: Array, needs: frozenset[str]) -> dict[str, Array]:
    """∂(Σ g_i ℓ_i): a sample gets what it has as a query, and what it has as a part of means."""
    backend, means = step.backend, step.means
    if step.of_pairs is None or means is None:
        return {name: backend.xp.zeros_like(step.inputs[name]) for name in needs}
    if "embeddings" not in needs:
        return _pairs.backward(step.of_pairs, saved, g, needs)
    gradients = _pairs.backward(step.of_pairs, saved, g, needs - {"embeddings"} | _SIDES)
    d_query, d_keys, d_centers = (gradients.pop(name) for name in ("queries", "keys", "negatives"))
    of_keys = backend.sum_by_label(d_keys, means.places, means.centers.shape[0])
    d_centers = backend.columns(d_centers + backend.own_sums(of_keys))
    d_part = means.share * (backend.xp.take(d_centers, means.places, axis=0) - d_keys)
    if means.inverse is not None:
        d_part = unit_rows_pullback(backend, means.unit, means.inverse, d_part)
    gradients["embeddings"] = d_query + d_part
    return gradients


def _means_of(backend: Backend, row: PairRow, x: Array, labels: Array) -> Means:
    """Of all ranks' samples; there are N places."""
    xp = backend.xp
    unit, inverse = unit_rows(backend, x) if row.unit_means else (x, None)
    labels, all_units = backend.columns(labels), backend.columns(unit)
    many = labels.shape[0]
    numbers = backend.numbers(all_units, labels)
    order = xp.argsort(labels)  # stable
    places = xp.astype(xp.searchsorted(xp.take(labels, order), labels), labels.dtype)
    counted = labels != row.ignore_index
    in_mean, asks = counted, counted
    if row.first_asks:
        asks = counted & (xp.take(order, places) == numbers)
        in_mean = counted & ~asks
    share, members = shares(backend, in_mean, places, unit.dtype)
    centers = backend.sum_by_label(all_units * share, places, many)
    keys = xp.take(centers, places, axis=0) - all_units * share
    asks = asks & (xp.take(members, places) > xp.astype(in_mean, unit.dtype))
    largest = backend.sum_by_label(xp.max(xp.abs(all_units), axis=1, keepdims=True) * share, places, many)
    centers, keys = (_without_noise(xp, centers, largest), _without_noise(xp, keys, xp.take(largest, places, axis=0)))
    places, share, keys, asks = (backend.own_columns(one) for one in (places, share, keys, asks))
    left_out = (places[:, None] == numbers[None, :]) | ~(asks[:, None] & (members > 0.0)[None, :])
    return Means(places, share, inverse, unit, keys, centers, left_out)


def _without_noise(xp: Any, sums: Array, largest: Array) -> Array:
    """0 where nothing but rounding is left of a sum of vectors, of which opposite ones cancel."""
    noise = 8.0 * float(xp.finfo(sums.dtype).eps) * largest
    return xp.where(xp.max(xp.abs(sums), axis=1, keepdims=True) <= noise, 0.0, sums)
