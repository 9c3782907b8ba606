"""What ranks compare before a call: where one refuses, or does something else, all raise, and none waits for another.

It is asked in every call: what is new to one rank may not be new to another, so that a rank cannot know when to ask.
"""

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import torch
import torch.distributed as dist

from anglos.call import agreement
from anglos.call.plan import Plan

from .._seen import graph_is_made
from .group import Group

Found = TypeVar("Found")

_NUMBERS = 4
"""In every exchange, whatever a rank is about to do: no rank may send more than another."""

_beside: WeakKeyDictionary[dist.ProcessGroup, Group] = WeakKeyDictionary()


def agreed(loss: str, group: Group, check: bool, find: Callable[[], Found],
           say: Callable[[Found], tuple[Mapping[str, str], Sequence[int]]]) -> tuple[Found, list[list[int]] | None]:
    """What this rank finds of its arguments, and the sizes that each rank says of it; see `agree`.

    None where nothing is asked: without the check, by one rank, and while a graph is made, which is for other calls.
    """
    if not check or group.size == 1 or graph_is_made():
        return find(), None
    refusal: Exception | None = None
    said: Mapping[str, str] = {}
    sizes: Sequence[int] = ()
    try:
        found = find()
        said, sizes = say(found)
    except Exception as error:  # of which the others must hear
        refusal = error
    every = agree(loss, group, refusal, said, *sizes)
    return found, every


def agree(loss: str, group: Group, refusal: Exception | None, said: Mapping[str, str], *sizes: int
          ) -> list[list[int]]:
    """The sizes that each rank gave, if no rank refused its arguments and all said the same; else an error on all.

    Said: by words of a message, what must be the same on all ranks; anything, where the rank refused. Nothing is asked
    while a graph is made, which is for other calls: then each rank is taken to have the same.
    """
    mine = [int(refusal is not None), zlib.crc32(repr(sorted(said.items())).encode()), *sizes]
    mine += [0] * (_NUMBERS - len(mine))
    every = [mine] * group.size
    if group.size > 1 and not graph_is_made():
        try:
            every = _between_processors(group).numbers(mine)
        except RuntimeError as error:
            raise (refusal or RuntimeError(f"{loss}: not all ranks answered; wanted the same call on each, within the "
                                           "timeout of their process group")) from error
    if refusal is not None:
        raise refusal
    for rank, (refused, *_) in enumerate(every):
        if refused:
            raise RuntimeError(f"{loss}: rank {rank} refused its arguments (its own error says why)")
    if len({digest for _, digest, *_ in every}) > 1:
        differs = agreement.difference(_of_all(_between_processors(group), said), "rank")
        raise ValueError(f"{loss}: {differs}; wanted the same on all ranks")
    return [given[:len(sizes)] for _, _, *given in every]


def check_rows(loss: str, sizes: Sequence[Sequence[int]] | None, ignored: str = "ignore_index") -> None:
    """Refuse another number of rows on some rank, on all of them, if they were asked."""
    counts = [each for each, in sizes or ()]
    if len(set(counts)) > 1:
        raise ValueError(f"{loss}: rows of the ranks were {counts}; wanted as many on each: fill up with rows whose "
                         f"label is {ignored}")


def said_of(maker: str, plan: Plan, arrays: Sequence[torch.Tensor]) -> dict[str, str]:
    """Of a call, what must be the same on all ranks, except how many rows its arrays have: see `agree`."""
    # Else some would wait for others in a backward pass, or in a part of it.
    recorded = torch.is_grad_enabled() and not plan.wrt
    with_gradient = [name for name, array in zip(plan.names, arrays, strict=True) if recorded and array.requires_grad]
    return {**agreement.said_of(plan, arrays, _spelt), "its maker": maker,
            "what requires a gradient": " and ".join(with_gradient) or "nothing"}


def _spelt(array: torch.Tensor) -> str:
    sizes = ", ".join(["…", *map(str, array.shape[1:])]) if array.ndim else ""
    return f"{str(array.dtype).removeprefix('torch.')} of shape ({sizes}) on {array.device.type}"


def _of_all(group: Group, said: Mapping[str, str]) -> list[Any]:
    """What every rank says."""
    every: list[Any] = [None] * group.size
    dist.all_gather_object(every, dict(said), group=group.group)
    return every


def _between_processors(group: Group) -> Group:
    """The group; or, of one that connects accelerators alone, as init_process_group("nccl") makes it, one beside it."""
    config = dist.get_backend_config(group.group)  # "cpu:gloo,cuda:nccl", or "cuda:nccl"
    if "cpu:" in config:
        return group
    if group.group not in _beside:
        options = group.group._get_backend(torch.device(config.partition(":")[0])).options
        _beside[group.group] = Group(dist.new_group(
            dist.get_process_group_ranks(group.group), options._timeout, "gloo", use_local_synchronization=True))
    return _beside[group.group]
