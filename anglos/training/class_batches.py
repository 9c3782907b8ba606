"""Batches of P classes with K samples of each, as losses over pairs want them; indices, for any framework or none."""

import inspect
import numbers
import random
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any, ParamSpec

from anglos.arrays.dispatch import backend_of
from anglos.arrays.library import Array
from anglos.call.check import check_names
from anglos.call.kinds import describe, refuse
from anglos.call.static_kinds import Integer

Arguments = ParamSpec("Arguments")

_CALLER = "MPerClassSampler"


def _with_hints(init: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Python's refusal of an option that there is not, or of one that is missing beside it, has no hint."""
    names = dict.fromkeys([*inspect.signature(init).parameters][1:])

    @wraps(init)
    def checked(*arguments: Arguments.args, **options: Arguments.kwargs) -> None:
        check_names(_CALLER, (), 0, 0, options, names, names)
        init(*arguments, **options)

    return checked


class MPerClassSampler:
    """Lists of indices of P · K samples, K of each of P classes: a `batch_sampler` of PyTorch, or a plain iterable.

    Every class comes equally often, give or take once in an epoch, however many samples it has; the samples of a class
    come in turn, and again only after all of them. A batch has no class twice, and no sample twice if its class has at
    least K; a class with fewer gives all it has, and then some again. The order depends on the seed and the epoch
    alone, and is the same on every machine. An epoch begins with each `iter`, the first being number 0: `set_epoch`
    says which one is next, after a restart.

    Parameters
    ----------
    labels : array (N,), or sequence, of integers or words
        The class of every sample.
    classes : integer of at least 1
        P: how many a batch has.
    samples : integer of at least 1
        K: how many it has of each.
    batches : integer of at least 1, optional
        How many make an epoch. By default as many as N samples fill: ⌊N / (P K ranks)⌋, at least one.
    seed : integer, default 0
        The same on all ranks.
    ignore_index : integer or None, default −100
        Samples with this label are in no batch.
    rank, ranks : integer, default 0 and 1
        Of `ranks` processes each takes its own P classes, and no two of them the same at a step.

    Raises
    ------
    ValueError
        If there are fewer than P · ranks classes, or a number is out of range.
    TypeError
        If `labels` are not (N,), or a number is no integer.

    Examples
    --------
    Two of three classes, two samples of each. The class of sample 4 has no other sample: it comes twice.

    >>> sampler = MPerClassSampler(["a", "a", "b", "b", "c"], classes=2, samples=2, batches=3)
    >>> first = list(sampler)
    >>> len(sampler), [len(batch) for batch in first], sum(batch.count(4) for batch in first)
    (3, [4, 4, 4], 4)
    >>> sampler.set_epoch(0)
    >>> list(sampler) == first
    True
    """

    @_with_hints
    def __init__(self, labels: Array, *, classes: int, samples: int, batches: int | None = None, seed: int = 0,
                 ignore_index: int | None = -100, rank: int = 0, ranks: int = 1) -> None:
        self.classes, self.samples, self.ranks = (_integer(name, given, 1) for name, given in (
            ("classes", classes), ("samples", samples), ("ranks", ranks)))
        self.rank, self.seed = _integer("rank", rank, 0), _integer("seed", seed, -(2**31))
        if self.rank >= self.ranks:
            refuse(_CALLER, "rank", ValueError, f"was {rank}", f"an integer below ranks, which was {ranks}")
        if ignore_index is not None:
            _integer("ignore_index", ignore_index, -(2**31))
        self._members = _members(labels, ignore_index)
        together = self.classes * self.ranks
        if len(self._members) < together:
            refuse(_CALLER, "classes", ValueError, f"was {classes}{f' on {ranks} ranks' * (ranks > 1)}",
                   f"no more than labels have, which is {len(self._members)}")
        count = sum(map(len, self._members))
        fill = max(1, count // (together * self.samples))
        self.batches = fill if batches is None else _integer("batches", batches, 1)
        self.epoch = 0

    def __len__(self) -> int:
        """How many batches an epoch has."""
        return self.batches

    def set_epoch(self, epoch: int) -> None:
        """Which epoch the next `iter` begins; those after it follow."""
        self.epoch = _integer("epoch", epoch, 0)

    def __iter__(self) -> Iterator[list[int]]:
        """The batches of an epoch; the next one is another."""
        epoch, self.epoch = self.epoch, self.epoch + 1
        return self._batches(random.Random(f"{self.seed} {epoch}"))  # a word: seeds that are near give other orders

    def _batches(self, order: random.Random) -> Iterator[list[int]]:
        decks: dict[int, list[int]] = {}
        waiting: list[int] = []
        for _ in range(self.batches):
            chosen, waiting = _deal(order, range(len(self._members)), waiting, self.classes * self.ranks)
            batch = []
            for place, number in enumerate(chosen):
                some, decks[number] = _deal(order, self._members[number], decks.get(number, []), self.samples)
                if place // self.classes == self.rank:
                    batch += some
            yield batch

    def __repr__(self) -> str:
        return (f"MPerClassSampler({len(self._members)} classes, classes={self.classes}, samples={self.samples}, "
                f"batches={self.batches})")


def _deal(order: random.Random, every: Any, waiting: list[int], count: int) -> tuple[list[int], list[int]]:
    """So many of all, those that are waiting first, and who is waiting then.

    When all have had their turn they are shuffled anew; those that were dealt just now come last, so that nobody is
    dealt twice at once unless there are fewer than are wanted.
    """
    dealt = waiting[:count]
    waiting = waiting[count:]
    while len(dealt) < count:
        waiting = list(every)
        order.shuffle(waiting)
        now = set(dealt[len(dealt) // len(waiting) * len(waiting):])
        waiting.sort(key=now.__contains__)
        missing = count - len(dealt)
        dealt, waiting = dealt + waiting[:missing], waiting[missing:]
    return dealt, waiting


def _members(labels: Any, ignore_index: int | None) -> list[list[int]]:
    """The samples of each class, in the order in which classes first appear."""
    given = labels.tolist() if hasattr(labels, "tolist") else labels
    if backend_of(given) is not None and len(given.shape) == 1:
        given = [int(given[place]) for place in range(given.shape[0])]  # the standard has no list
    if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
        refuse(_CALLER, "labels", TypeError, f"was {describe(labels)}", "an array (N,) or a sequence of labels")
    found: dict[Any, list[int]] = {}
    for place, label in enumerate(given):
        if not isinstance(label, (int, str, numbers.Integral)):
            refuse(_CALLER, "labels", TypeError, f"held {describe(label)} at position {place}",
                   "one integer or word per sample")
        if label != ignore_index:
            found.setdefault(label, []).append(place)
    return list(found.values())


def _integer(name: str, given: Any, low: int) -> int:
    return Integer(low).static(partial(refuse, _CALLER, name), given)
