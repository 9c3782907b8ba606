"""Updates of states, where the classes are shared by ranks: by the samples of all ranks, the same on each."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from anglos.call.kinds import describe, dotted_name, is_of_classes, is_of_samples, refuse
from anglos.call.samples import Samples
from anglos.call.state import Arguments, Batch, Update, batch_of

from .agreement import agreed, check_rows
from .group import Group
from .loss import OfProcess
from .of_rank import stand_in
from .plan import is_labels
from .rows import sharded
from .shards import Shards
from .share import check_placed, share_of


class ShardedUpdate(OfProcess, Update[Arguments]):
    """An update by own samples and classes, and those of all other ranks."""

    maker = "class_sharded"

    def __init__(self, update: Update[Arguments], group: Group, check: bool) -> None:
        self.__dict__.update(update.__dict__)
        self.whole, self.group, self.check = update, group, check

    def __repr__(self) -> str:
        return f"<update {dotted_name(self)}, {self.maker} over {self.group.size} ranks>"

    def __call__(self, *arguments: Arguments.args, **options: Arguments.kwargs) -> Any:
        """The next state: of each class a DTensor placed as the one before."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())

            def find() -> tuple[dict[str, Any], dict[str, DTensor], Batch]:
                given = self.given(arguments, options)
                of_ranks = self._of_ranks(given)
                shown = {**given, **{name: stand_in(value, len(value)) for name, value in of_ranks.items()}}
                values = {name: shown[name] for name in self.kinds if name in shown}
                return given, of_ranks, stack.enter_context(batch_of(self.name, self.kinds, **values))

            (given, of_ranks, batch), rows = agreed(self.name, self.group, self.check, find, lambda found: (
                {name: _said(value) for name, value in found[0].items()}, (found[2].sizes["B"],)))
            check_rows(self.name, rows, "-100")
            of_all = self._of_all(batch, of_ranks)
            function: Callable[..., Any] = self.function
            found = function(of_all, **{**given, **of_all.values})
        if isinstance(found, torch.Tensor) and found.ndim > 1:
            (like,) = of_ranks.values()
            return sharded(found[:share_of(len(like), self.group).here], like.device_mesh, len(like))
        return found

    def _of_ranks(self, given: Mapping[str, Any]) -> dict[str, DTensor]:
        """What has a row for every class, of which a rank has its own."""
        found = {}
        for name, value in given.items():
            if name in self.kinds and is_of_classes(self.kinds[name]):
                if not isinstance(value, DTensor):
                    refuse(self.name, name, TypeError, f"was {describe(value)}", "a DTensor, as Head(mesh=...) has it")
                check_placed(self.name, name, value, self.group)
                found[name] = value
        return found

    def _of_all(self, batch: Batch, of_ranks: Mapping[str, DTensor]) -> Batch:
        """The samples of all ranks, and own classes."""
        total = next((len(value) for value in of_ranks.values()), self.group.size)
        shards, values = Shards(self.group, share_of(total, self.group)), dict(batch.values)
        of_samples = [name for name, value in values.items() if isinstance(value, torch.Tensor)
                      and value.ndim and is_of_samples(self.kinds[name])]
        first = values[of_samples[0]]
        samples, like = Samples(None, None), torch.ones(len(first), dtype=torch.float64, device=first.device)
        for name, value in values.items():
            if name in of_ranks:
                values[name] = shards.filled(of_ranks[name].to_local())
            elif name in of_samples:
                rows = shards.rows_of_all(value)
                values[name] = shards.counted_here(rows) if is_labels(self.kinds[name]) else rows
            if is_labels(self.kinds[name]):  # one rank may have ignored samples where another has none
                weight = shards.rows_of_all(batch.weight(like))
                samples = Samples(weight, weight != 0.0)
        return Batch(shards, values, {**batch.sizes, "B": len(values[of_samples[0]])}, samples)


def _said(value: Any) -> str:
    if not isinstance(value, torch.Tensor):
        return repr(value)
    return f"{value.dtype} of shape ({', '.join(['…', *map(str, value.shape[1:])]) if value.ndim else ''})"
