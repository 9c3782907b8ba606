"""What is at a place in a tensor: the label's class, the largest numbers, a tile."""

from typing import Any

import torch

from anglos.arrays.backend import Backend

from . import _namespace as xp
from ._seen import recorded


class Places(Backend):
    """No place is read, and where nothing records what is done nothing is copied."""

    def with_label(self, labels: torch.Tensor, first: Any, terms: torch.Tensor, value: Any, whole: bool = False) -> Any:
        if recorded():
            return super().with_label(labels, first, terms, value)
        if whole:
            return terms.scatter_(0, labels[None, :], value if isinstance(value, float) else value[None, :])
        # No position depends on a value that a GPU would have to tell: a column without the label keeps its element.
        places, inside = self._inside(labels, first, terms)
        return terms.scatter_(0, places[None, :], xp.where(inside, value, terms.gather(0, places[None, :])))

    def with_value(self, terms: torch.Tensor, where: torch.Tensor, value: float) -> Any:
        return (terms.masked_fill if recorded() else terms.masked_fill_)(where, value)

    def above(self, values: torch.Tensor, bound: torch.Tensor) -> torch.Tensor:
        return values > bound if recorded() else values.gt_(bound).to(torch.bool)  # the second in half the time

    def add_at_labels(self, labels: torch.Tensor, first: Any, rows: torch.Tensor, values: torch.Tensor,
                      whole: bool = False) -> torch.Tensor:
        places, values = labels, values.to(rows.dtype)
        if not whole:
            places, inside = self._inside(labels, first, rows)
            if self.readable(labels) and not recorded():
                (samples,) = inside.nonzero(as_tuple=True)  # few of a batch are in a tile
                places, values = places[samples], values[samples]
            else:
                values = xp.where(inside.view(-1, *[1] * (values.ndim - 1)), values, 0.0)
        if self.readable(labels) and not recorded():
            return rows.index_add_(0, places, values)
        # Not by index_add, which on a GPU adds in any order: this sorts the places, so that runs agree in every bit.
        add = rows.index_put if recorded() else rows.index_put_
        return add((places,), values, accumulate=True)

    def _inside(self, labels: torch.Tensor, first: Any, tile: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The place of the label's class in the tile, or any, and whether it is there."""
        places = labels - first
        return places.clamp(0, tile.shape[0] - 1), (places >= 0) & (places < tile.shape[0])

    def largest(self, array: torch.Tensor, count: int) -> Any:
        return torch.topk(array, count, dim=0, sorted=False)

    def rank(self, ordered: torch.Tensor, values: torch.Tensor, strict: bool = False) -> torch.Tensor:
        return torch.searchsorted(ordered.detach(), values.detach().contiguous(), right=not strict)

    def running_log_sum(self, z: torch.Tensor, back: bool) -> Any:
        return z.flip(1).logcumsumexp(1).flip(1) if back else z.logcumsumexp(1)

    def scatter(self, weights: torch.Tensor, columns: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(like).scatter_add(1, columns, weights)

    def place(self, whole: Any, part: torch.Tensor, first: int, count: int) -> Any:
        if isinstance(whole, list) or (whole is None and recorded()):
            return [*(whole or []), part]
        return super().place(whole, part, first, count)
