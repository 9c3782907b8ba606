"""PyTorch's backend where a rank has some of the classes, and all samples."""

import functools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch.nn.functional import pad

from anglos.arrays.directions import Directions
from anglos.arrays.monoid import Monoid

from .. import _namespace as xp
from .._backend import PyTorch
from .group import Group
from .share import Share


class Shards(PyTorch):
    """Labels count from the first class here. What one rank's sweep finds is combined with the others'."""

    def __init__(self, group: Group, share: Share) -> None:
        super().__init__("torch", xp)
        self.group, self.share, self.first_class = group, share, share.first

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shards) and (self.group, self.share) == (other.group, other.share)

    def __hash__(self) -> int:
        return hash((self.group, self.share))

    def classes(self, weights: torch.Tensor) -> int:
        return self.share.total

    def most_classes(self, weights: torch.Tensor) -> int:
        return max(self.share.most, 1)

    def filled(self, array: torch.Tensor) -> torch.Tensor:
        """The array of a rank's classes; with one of zeros where it has none."""
        # Not by cat, in which a tensor of shape (0,) has no graph: a second derivative would stop short, others wait.
        return array if self.share.here else pad(array, (0, 0) * (array.ndim - 1) + (0, 1))

    def of_label(self, array: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        here = (labels >= 0) & (labels < self.share.here)
        found = array[labels.clamp(0, array.shape[0] - 1)]
        return torch.where(here.view(-1, *[1] * (array.ndim - 1)), found, 0.0)

    def label_directions(self, labels: torch.Tensor, points: torch.Tensor, inverse: torch.Tensor | None,
                         unit: torch.Tensor, are_unit: bool) -> Any:
        return Directions.label_directions(self, labels, points, inverse, unit, are_unit)  # of classes elsewhere 0

    def with_label(self, labels: torch.Tensor, first: Any, terms: torch.Tensor, value: Any, whole: bool = False) -> Any:
        return super().with_label(labels, first, terms, value)  # whose class may be elsewhere

    def add_at_labels(self, labels: torch.Tensor, first: Any, rows: torch.Tensor, values: torch.Tensor,
                      whole: bool = False) -> torch.Tensor:
        return super().add_at_labels(labels, first, rows, values)

    def are_among(self, numbers: torch.Tensor, first: Any, tile: torch.Tensor) -> Any:
        return super().are_among(numbers - self.first_class, first, tile)

    def counted_here(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels from the first class here: those of classes elsewhere are beyond ours on either side.

        The class that is made up where there is none is every sample's own: to all reductions it is what is left out.
        """
        return labels - self.share.first if self.share.here else torch.zeros_like(labels)

    def total(self, part: torch.Tensor) -> torch.Tensor:
        return self.group.sum(part)

    def totals(self, parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: self.total_of_own_rows(parts[name]) if name == "points" else self.group.sum(parts[name])
                for name in sorted(parts)}  # made of sets, whose order is another on every rank

    def total_of_own_rows(self, parts: torch.Tensor) -> torch.Tensor:
        """The total of this rank's own rows, and zeros for others'."""
        if self.group.size == 1:
            return parts
        own, rank = self.group.scatter(parts), self.group.rank
        return pad(own, (0, 0, len(own) * rank, len(parts) - len(own) * (rank + 1)))

    def rows_of_all(self, own: torch.Tensor) -> torch.Tensor:
        return self.group.gather(own)

    def own_rows(self, rows: torch.Tensor) -> torch.Tensor:
        each = rows.shape[0] // self.group.size
        return rows[self.group.rank * each:(self.group.rank + 1) * each]

    def sweep(self, tile: Callable[..., tuple[Any, tuple[Any, ...]]], monoid: Monoid,
              arrays: tuple[torch.Tensor | None, ...], width: int) -> tuple[Any, tuple[Any, ...]]:
        state, outputs = super().sweep(tile, monoid, arrays, width)
        # Of a dict of sums the engine asks the totals.
        return state if isinstance(state, dict) else combined(self.group, monoid, state), outputs


def combined(group: Group, monoid: Monoid, state: Any, ranks: Iterable[int] | None = None) -> Any:
    """The states of all ranks, or of some, as one, bitwise the same on each rank.

    Every rank combines those of a part of the columns, in the order of the ranks; then the parts are gathered. So a
    rank sends twice its state, however many ranks there are.
    """
    if group.size == 1:
        return state
    parts = [group.exchange(_cut(one, group.size)) for one in _packed(state)]
    of_ranks = (_unpacked(state, [part[rank] for part in parts]) for rank in ranks or range(group.size))
    mine = functools.reduce(functools.partial(monoid.combine, xp), of_ranks)
    whole = [group.gather(one[None]).movedim(0, 1).flatten(1) for one in _packed(mine)]
    samples = _arrays(state)[0].shape[-1]
    return _unpacked(state, [one[:, :samples] for one in whole])


def _cut(rows: torch.Tensor, size: int) -> torch.Tensor:
    """(n, B) -> (P, n, ⌈B / P⌉)."""
    return pad(rows, (0, -rows.shape[1] % size)).reshape(len(rows), size, -1).movedim(1, 0)


def _arrays(state: Any) -> list[torch.Tensor]:
    return [one for one in (state if isinstance(state, tuple) else (state,)) if one is not None]


def _packed(state: Any) -> list[torch.Tensor]:
    """The arrays of a state, (..., B), as one (n, B) for every dtype."""
    by_dtype: dict[torch.dtype, list[torch.Tensor]] = {}
    for one in _arrays(state):
        by_dtype.setdefault(one.dtype, []).append(one if one.ndim == 2 else one[None])
    return [torch.cat(same) for same in by_dtype.values()]


def _unpacked(like: Any, packed: list[torch.Tensor]) -> Any:
    """A state as the one that was packed."""
    by_dtype = {one.dtype: one for one in packed}
    found: list[Any] = []
    for one in like if isinstance(like, tuple) else (like,):
        if one is None:
            found.append(None)
            continue
        rows = one.shape[0] if one.ndim == 2 else 1
        taken, by_dtype[one.dtype] = by_dtype[one.dtype][:rows], by_dtype[one.dtype][rows:]
        found.append(taken if one.ndim == 2 else taken[0])
    if not isinstance(like, tuple):
        return found[0]
    return type(like)(*found) if hasattr(like, "_fields") else tuple(found)
