"""Partial class sampling: a batch against its own classes and a random part of the others."""

import math
from functools import partial
from typing import Any, NamedTuple

from anglos.arrays.backend import Backend
from anglos.arrays.library import Array
from anglos.call.arguments import BatchClasses
from anglos.call.check import check_values
from anglos.call.check_labels import check_labels
from anglos.call.kinds import Number, describe, refuse
from anglos.call.static_kinds import Integer, kind_of

_RATE = Number("a part of the classes", 0.0, 1.0, above=True, shapes=())
_KINDS = {"labels": kind_of(BatchClasses), "num_classes": Integer(1), "ignore_index": Integer(), "rank": Integer(0),
          "ranks": Integer(1), "rate": _RATE}


class Sampled(NamedTuple):
    """What `sample_classes` found: rows of the weights, and the labels as places among them."""

    rows: Array
    """The numbers of the rows, (S,), where a rank's begin at 0: the batch's own classes in order, then the others."""
    labels: Array
    """Places among the rows, of all ranks one after the other, (B,)."""
    log_probability: Array
    """Of every row the logarithm of how likely it was to be there, (S,): 0 for the batch's own classes."""


class _Places(NamedTuple):
    """Where the batch's own classes are among the rows of all ranks: each has its own at its beginning."""

    labels: Array
    """As they were given."""
    valid: Array
    """Which of them are classes."""
    rank: Array
    """Which has the label's class."""
    place: Array
    """Among the rows there: the number of the rank's own classes below it."""


def sample_classes(labels: Array, num_classes: int, rate: float, *, rng: Any = None, rank: int = 0, ranks: int = 1,
                   ignore_index: int = -100) -> Sampled:
    """The batch's own classes and others at random, up to a part of all; labels renumbered among these (Partial FC).

    `loss(embeddings, weights[sampled.rows], sampled.labels)` costs as much less. The loss sees that many classes:
    where a default depends on C (a scale of `adacos` or `l2_softmax`, a bias of `sphereface2` or `uniface`, the mass of
    label smoothing) it is the sampled number. `correct_sampling` makes up for the classes that are left out.

    Parameters
    ----------
    labels : array (B,)
        0 to C − 1, or `ignore_index`. What is no class stays as it is: for the loss to ignore, or to refuse.
    num_classes : integer
        C.
    rate : number above 0 to 1
        There are S = ⌈rate · C⌉ rows; more if the batch has more classes of its own, all of which are always there.
        Where labels cannot be read for free (under a trace, on a GPU) S is at least the smaller of B and C instead, of
        ranks the smaller of B and ⌈C / ranks⌉, so that it depends on shapes alone. At 1 the rows are all, in their
        order.
    rng
        What the others are drawn by. NumPy and others: a `numpy.random.Generator`, a seed, or None for fresh entropy;
        PyTorch: a `torch.Generator` on the labels' device, or None for the default one; JAX and MLX: a key, another for
        every step.
    rank, ranks : integer
        Of classes that are cut among ranks as `torch.chunk` cuts them, ⌈C / ranks⌉ each, the rows of one rank, from 0
        on; of these ⌈rate · ⌈C / ranks⌉⌉ are sampled, or as many as any rank has classes of its own, so that all ranks
        sample as many; one with fewer classes takes all. Labels, those of all ranks, become places among the rows of
        all ranks, one after the other: the same on every rank, whatever it draws.
    ignore_index : integer
        No class: below 0, or at least C.

    Returns
    -------
    Sampled
        rows (S,), labels (B,) and log_probability (S,).

    Raises
    ------
    ValueError
        If a number is out of range, or a label is no class and not to be ignored, where it can be read.
    TypeError
        If `rng` is nothing by which the library of the labels draws, or `labels` no array of integers.

    Examples
    --------
    Half of eight classes, of which 3 and 6 are the batch's own. Each of the six others was to be there by 2/6.

    >>> import math, numpy as np
    >>> rows, labels, log_probability = sample_classes(np.asarray([6, 3, -100, 6]), 8, 0.5, rng=0)
    >>> rows[:2].tolist(), len(set(rows.tolist())), labels.tolist()
    ([3, 6], 4, [1, 0, -100, 1])
    >>> [round(math.exp(number), 6) for number in log_probability.tolist()]
    [1.0, 1.0, 0.333333, 0.333333]
    """
    values = {"labels": labels, "num_classes": num_classes, "rate": rate, "rank": rank, "ranks": ranks,
              "ignore_index": ignore_index}
    return sample("sample_classes", values, rng)[0]


def sample(caller: str, values: dict[str, Any], rng: Any) -> tuple[Sampled, int]:
    """The same for a caller by another name; and how many rows all ranks have together."""
    backend, labels, static = checked(caller, values)
    classes, rank, ranks = static["num_classes"], static.get("rank", 0), static.get("ranks", 1)
    each = -(-classes // ranks)
    first = min(rank * each, classes)
    here = min(each, classes - first)
    noise = backend.uniform(rng, here, labels)
    if noise is None:
        refuse(caller, "rng", TypeError, f"was {describe(rng)}", backend.draws_by)
    with backend.untracked((labels,)):
        places = _places(backend, labels, classes, each)
        count = _count(backend, static["rate"], each, places)
        if count >= each:
            return Sampled(backend.arange(here, labels), labels, backend.xp.zeros_like(noise)), classes
        rows, log_probability = _rows(backend, places, first, min(count, here), noise)
        renumbered = backend.xp.where(places.valid, places.rank * count + places.place, labels)
    return Sampled(rows, renumbered, log_probability), classes // each * count + min(classes % each, count)


def checked(caller: str, values: dict[str, Any]) -> tuple[Backend, Array, dict[str, Any]]:
    """The labels as the library's own integers, and the numbers; refused where they are none."""
    backend, arrays, static, _, _ = check_values(caller, _KINDS, values)
    classes, ignored = static["num_classes"], static["ignore_index"]
    if static.get("rank", 0) >= static.get("ranks", 1):
        refuse(caller, "rank", ValueError, f"was {static['rank']}",
               f"an integer below ranks, which was {static['ranks']}")
    if 0 <= ignored < classes:
        refuse(caller, "ignore_index", ValueError, f"was {ignored}",
               f"no class: an integer below 0, or from {classes}")
    labels = backend.whole(backend.as_index(arrays["labels"]))
    check_labels(caller, backend, "labels", labels, classes, ignored)
    return backend, labels, static


def rate_of(caller: str, name: str, rate: Any) -> float:
    """A rate, if it is one."""
    found: Any = _RATE.static(partial(refuse, caller, name), rate)
    return float(found)


def _places(backend: Backend, labels: Array, classes: int, each: int) -> _Places:
    """By the order of the labels alone, which all ranks know; what is no class is taken for one more, the last."""
    xp, valid = backend.xp, (labels >= 0) & (labels < classes)
    numbers = xp.where(valid, labels, classes)
    rank = numbers // each
    ordered = xp.sort(xp.concat([numbers, backend.arange(1, labels) + classes]))
    first_of_class = xp.astype(ordered != xp.concat([ordered[:1] - 1, ordered[:-1]]), labels.dtype)
    below = xp.cumulative_sum(first_of_class, axis=0) - first_of_class
    found = backend.rank(ordered[None, :], xp.concat([numbers, rank * each])[None, :], strict=True)[0, :]
    own, of_rank = (xp.take(below, one, axis=0) for one in (found[:labels.shape[0]], found[labels.shape[0]:]))
    return _Places(labels, valid, rank, own - of_rank)


def _count(backend: Backend, rate: float, each: int, places: _Places) -> int:
    """How many rows every rank samples."""
    count = max(1, math.ceil(round(rate * each, 6)))  # 0.07 * 100 is more than 7
    most = min(places.labels.shape[0], each)
    if count < most:
        bounds = backend.bounds(backend.xp.where(places.valid, places.place, -1))
        count = max(count, most if bounds is None else int(bounds[1]) + 1)
    return count


def _rows(backend: Backend, places: _Places, first: int, count: int, noise: Array) -> tuple[Array, Array]:
    """So many rows of the classes from the first on, and the logarithm of how likely each was."""
    xp, labels, here = backend.xp, places.labels, noise.shape[0]
    local = xp.where(places.valid, labels - first, -1)
    ones = xp.ones_like(local, dtype=noise.dtype)[:, None]
    is_own = backend.sum_by_label(ones, local, here)[:, 0] > 0.0
    _, chosen = backend.largest(xp.where(is_own, 2.0, noise)[:, None], count)
    chosen = xp.astype(chosen[:, 0], labels.dtype)
    ordered = xp.sort(xp.where(xp.take(is_own, chosen, axis=0), chosen, chosen + here))
    own = xp.sum(xp.astype(is_own, noise.dtype))
    some, of = count - own, here - own
    log_probability = xp.log(xp.where(some > 0.0, some / xp.where(of > 0.0, of, 1.0), 1.0))
    rest = ordered >= here
    return xp.where(rest, ordered - here, ordered), xp.where(rest, log_probability, 0.0)
