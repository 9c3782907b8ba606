"""Losses whose class prototypes are shared by the ranks of a process group: every rank sweeps its own."""

from typing import Any, overload

import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from anglos.call.kinds import describe, is_of_classes
from anglos.call.loss import Loss, Options
from anglos.call.state import Update
from anglos.call.static_kinds import number_of_classes
from anglos.engines import rowwise as _rowwise
from anglos.engines.pairs import engine as _pairs
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes import linear as _linear
from anglos.training.heads import check_tiles

from .group import group_of
from .looked_up import LookedUp
from .of_rank import ClassSharded
from .proxies import ProxySharded
from .updates import ShardedUpdate

_BY_ENGINE: dict[object, Any] = {
    _prototypes: ClassSharded, _linear: ClassSharded, _pairs: ProxySharded, _rowwise: LookedUp}


@overload
def class_sharded(loss: Loss[Options], mesh: DeviceMesh | dist.ProcessGroup | None = None, *,
                  num_classes: int | None = None, check: bool = True) -> Loss[Options]: ...
@overload
def class_sharded(loss: Update[Options], mesh: DeviceMesh | dist.ProcessGroup | None = None, *,
                  check: bool = True) -> Update[Options]: ...
def class_sharded(loss: Any, mesh: DeviceMesh | dist.ProcessGroup | None = None, *, num_classes: int | None = None,
                  check: bool = True) -> Any:
    """The loss for weights whose classes are shared by the ranks of a process group.

    Every rank gives its own rows of the batch, as many as every other, and its own classes; labels are those of all
    classes. It gets the loss of its own rows against all classes. The gradient of its embeddings is that of the sum of
    all ranks' losses; that of weights and learnt options is the mean over ranks, as DistributedDataParallel and
    `fully_shard` make it for the network: no factor is needed anywhere. No rank ever holds other ranks' weights; what
    is sent has the size of the batch's embeddings, however many classes there are. The exact mean over the N samples
    of all ranks whose label is not ignored, where they are not as many on each of P ranks, is reduction="sum" times
    P / N on each.

    A loss with one term for every prototype (`proxy_anchor`) is that of the whole batch, on every rank; with
    reduction="none" the terms of its own.

    The update of a loss's state, such as `anglos.curricularface_update`, becomes that by the samples of all ranks, and
    is the same on each; what there is of each class (`anglos.center_update`) comes and goes as a DTensor.

    Parameters
    ----------
    loss
        With class prototypes, such as `anglos.arcface`; or an update.
    mesh
        Of one axis, or a process group; None: all ranks.
    num_classes
        How many classes all ranks have together, where weights are plain tensors: ⌈C/P⌉ for each rank, and what is
        left for the last who get any, as `torch.chunk` cuts them. Weights that are DTensors, placed `[Shard(0)]`, say
        it themselves.
    check
        Whether before every call the ranks compare what they are about to do, by a few numbers on the processor: one
        that refuses or differs is then an error on all of them, and not a hang. Not under torch.compile.

    Returns
    -------
    Loss or update
        It takes what the loss takes, has its `plain` and `value_and_grad`, and can be differentiated to any order.
        `value_and_grad` returns the gradient of a rank's own classes as a plain tensor; `backward` leaves DTensors.

    Raises
    ------
    TypeError, ValueError
        If the loss has no class prototypes, or holds the logits of all (`ham_softmax`). In a call: what the loss
        refuses; weights that are not placed so.

    Examples
    --------
    On one process; `torchrun` starts many.

    >>> import anglos, torch
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> arcface, labels = class_sharded(anglos.arcface, num_classes=10), torch.tensor([0, 1, 2, 3])
    >>> loss = arcface(torch.eye(4), torch.eye(10, 4), labels)
    >>> torch.testing.assert_close(loss, anglos.arcface(torch.eye(4), torch.eye(10, 4), labels))
    >>> dist.destroy_process_group()
    """
    number = number_of_classes("class_sharded", num_classes)
    if isinstance(loss, Update):
        if number is not None:
            raise TypeError(f"class_sharded: num_classes was {number} for {loss.name}; wanted None: what an update has "
                            "of each class are DTensors")
        return ShardedUpdate(loss, group_of("class_sharded", mesh), check)
    fits = isinstance(loss, Loss) and len(loss.arrays) == 3 and is_of_classes(loss.kinds[loss.arrays[1]])
    made: Any = _BY_ENGINE.get(loss.engine) if fits else None
    if made is None:
        what = loss.name if isinstance(loss, Loss) else describe(loss)
        raise TypeError(f"class_sharded: loss was {what}; wanted a loss with class prototypes, such as anglos.arcface")
    check_tiles("class_sharded", loss)
    return made(loss, group_of("class_sharded", mesh), number, check)
