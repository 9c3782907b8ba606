"""Losses over pairs whose batch is shared by the ranks of a process group: own rows against the columns of all."""

from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from anglos.call.kinds import is_of_classes
from anglos.call.loss import Loss, Options, _Call
from anglos.call.pairs_of_all import against_all_columns, check_columns, check_shares_batch, rows_and_columns
from anglos.engines.pairs import ring as _ring

from .agreement import agreed, said_of
from .columns import Columns
from .group import Group, group_of
from .loss import Sharded
from .transforms import check_transforms


def batch_sharded(loss: Loss[Options], mesh: DeviceMesh | dist.ProcessGroup | None = None, *, check: bool = True,
                  ring: bool = False) -> Loss[Options]:
    """The loss over pairs of a batch that is shared by the ranks of a process group.

    Every rank gives its own rows of the batch, and gets the loss of its own rows against the columns of all ranks, in
    the order of the ranks; `reduction`, `sample_weight` and the mean's divisor are of its own rows. All ranks' rows
    together (reduction="none" or "sum") are what one process gives for the whole batch, and so is the mean of the
    ranks' means where every rank has as many of what the loss is a mean of. That holds with as many rows each for a
    mean over rows (`clip`, `info_nce`, `siglip`, `multi_similarity`), but in general not for one over anchors with a
    positive (`supcon`, `circle`), over pairs (`nt_xent`, `dcl`) or over active triplets. The exact mean of n on all
    ranks is reduction="sum" times P / n on each of the P ranks. The gradient of a rank's rows is that of the sum of all
    ranks' losses, as rows and as columns; that of learnt options is the mean over ranks. So the mean of the ranks'
    gradients, which DistributedDataParallel and `fully_shard` take, is that of the mean of their losses, and no factor
    is needed anywhere. Of b rows a rank holds tiles of b × T similarities, and the N × D columns of all.

    Parameters
    ----------
    loss
        Over the pairs of a batch, such as `anglos.info_nce`, `anglos.clip`, `anglos.supcon` and `anglos.triplet`; with
        class means, `anglos.batch_coco`; or `anglos.proxy_anchor`, whose weights are the same on all ranks, and whose
        loss, of all samples of all ranks, is so too.
    mesh
        Of one axis, or a process group; None: all ranks.
    check
        Whether before every call the ranks tell each other what they are about to do, by a few numbers on the
        processor: how many rows each has, which may be any number, and none; and whether one refuses its arguments,
        which is then an error on all of them, and not a hang. Without it, and under torch.compile, every rank must
        have as many rows as every other.
    ring
        For `anglos.clip`, `anglos.siglip`, `anglos.info_nce` without negatives, and losses of your own over queries
        and keys with `define.one_of_many` or `define.each_by_itself`: the keys go from rank to rank, so that none has
        the N × D columns of all, but those of two ranks. It sends as much, in P parts, one after the other; a second
        derivative keeps all of them.

    Returns
    -------
    Loss
        It takes what the loss takes, has its `plain` and `value_and_grad`, and can be differentiated to any order.
        Columns are those of all ranks in whatever form they come: as the rows themselves, `keys`, `negatives`, or
        `reference_embeddings` with their labels. Options that say something of pairs, `excluded_pairs`,
        `false_negatives`, and `labels` that are weights, have the shape (own rows, all columns).

    Raises
    ------
    TypeError, ValueError
        If the loss compares no samples with each other: that of own rows is then the loss itself. In a call: what the
        loss refuses; on all ranks, if an option has not as many columns as all ranks have.

    Examples
    --------
    On one process; `torchrun` starts many.

    >>> import anglos, torch
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> supcon, labels = batch_sharded(anglos.supcon), torch.tensor([0, 0, 1, 1])
    >>> torch.testing.assert_close(supcon(torch.eye(4), labels), anglos.supcon(torch.eye(4), labels))
    >>> dist.destroy_process_group()

    Notes
    -----
    Where every rank has the same columns already, as from a queue of past keys that all keep alike, they would be
    compared with P times: there the loss itself, of own rows, is what is wanted.
    """
    check_shares_batch(loss, ring)
    return BatchSharded(loss, group_of("batch_sharded", mesh), check, ring)


class BatchSharded(Sharded[Options]):
    """A loss of a rank's own rows."""

    maker = "batch_sharded"

    def __init__(self, loss: Loss[Options], group: Group, check: bool, ring: bool) -> None:
        super().__init__(loss, group, check, ring)
        if ring:
            self.engine = _ring
        self.kinds = {name: against_all_columns(kind) for name, kind in loss.kinds.items()}

    def _returned(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        return self.group.sum(gradient) / self.group.size if self._is_of_all(name, gradient) else gradient

    def _is_of_all(self, name: str, array: torch.Tensor) -> bool:
        """Whether all ranks have the same of it: an option, also one of each class, or the weights of proxies."""
        return array.ndim == 0 or is_of_classes(self.kinds[name])

    def _prepare(self, arrays: tuple[Any, ...], options: dict[str, Any], wrt: Any = ()) -> _Call:
        def find() -> _Call:
            check_transforms(self.name, {})
            return super(BatchSharded, self)._prepare(arrays, options, wrt)

        call, numbers = agreed(self.name, self.group, self.check, find, self._said)
        rows, columns = zip(*numbers or [[*rows_and_columns(call)]] * self.group.size, strict=True)
        check_columns(call, sum(rows), sum(columns))
        return self._of_rank(call, *((rows, columns) if numbers else (None, None)))

    def _said(self, call: _Call) -> tuple[dict[str, str], tuple[int, int]]:
        """What must be the same on all ranks, and how many rows and columns this one has: see `agreed`."""
        return said_of(self.maker, call.plan, call.arrays), rows_and_columns(call)

    def _of_rank(self, call: _Call, rows: Any, columns: Any) -> _Call:
        """The call of own rows, by a backend that knows those of others."""
        backend, arrays = Columns(self.group, rows, columns), []
        for name, array in zip(call.plan.names, call.arrays, strict=True):
            if torch.is_grad_enabled() and array.requires_grad and self._is_of_all(name, array):
                array = self.group.averaged(array, summed=False)
            arrays.append(array)
        return call._replace(plan=replace(call.plan, backend=backend), arrays=tuple(arrays))
