"""What ranks say to each other, differentiable to any order: every collective is the transpose of one of these."""

from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.device_mesh import DeviceMesh

from anglos.call.kinds import describe

_OPS: Any = torch.ops._c10d_functional  # which a compiler traces; their own autograd is younger than torch 2.8


class _Collective(torch.autograd.Function):
    """A linear map of what all ranks have."""

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.group = inputs[1]


class _Sum(_Collective):
    """Σ over ranks, on each; so is its transpose."""

    @staticmethod
    def forward(part: torch.Tensor, group: "Group") -> torch.Tensor:
        return _done(_OPS.all_reduce(part.contiguous(), "sum", group.name))

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.group.sum(g), None


class _Gather(_Collective):
    """The rows of all ranks, one after the other; the transpose sums, and gives every rank its own."""

    @staticmethod
    def forward(own: torch.Tensor, group: "Group") -> torch.Tensor:
        return _done(_OPS.all_gather_into_tensor(own.contiguous(), group.size, group.name))

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.group.scatter(g), None


class _Scatter(_Collective):
    """Of the sum over ranks, this one's own rows; the transpose gathers."""

    @staticmethod
    def forward(parts: torch.Tensor, group: "Group") -> torch.Tensor:
        return _done(_OPS.reduce_scatter_tensor(parts.contiguous(), "sum", group.size, group.name))

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        return ctx.group.gather(g), None


class _Exchange(_Collective):
    """So many rows to every rank, and so many from each, in the order of ranks; the transpose sends them back."""

    @staticmethod
    def forward(rows: torch.Tensor, group: "Group", given: list[int], taken: list[int]) -> torch.Tensor:
        return _done(_OPS.all_to_all_single(rows.contiguous(), taken, given, group.name))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        _, ctx.group, ctx.given, ctx.taken = inputs

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        return ctx.group._of(_Exchange, g, ctx.taken, ctx.given), None, None, None


class _Averaged(_Collective):
    """The tensor itself; its gradient becomes the mean of the ranks': each has some, or their sum already."""

    @staticmethod
    def forward(tensor: torch.Tensor, group: "Group", summed: bool) -> torch.Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        _, ctx.group, ctx.summed = inputs

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return (g if ctx.summed else ctx.group.sum(g)) / ctx.group.size, None, None


class Group:
    """A process group by its name, which a compiler can keep; a group of one says nothing."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group, self.name = group, group.group_name
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Group) and self.group is other.group

    def __hash__(self) -> int:
        return hash(self.name)

    def sum(self, part: torch.Tensor) -> torch.Tensor:
        """Σ over ranks, on each."""
        return self._of(_Sum, part)

    def gather(self, own: torch.Tensor) -> torch.Tensor:
        """The rows of all ranks, of which each has as many."""
        return self._of(_Gather, own)

    def scatter(self, parts: torch.Tensor) -> torch.Tensor:
        """Of the sum over ranks, this one's own rows."""
        return self._of(_Scatter, parts)

    def exchange(self, parts: torch.Tensor) -> torch.Tensor:
        """(P, ...): the r-th goes to rank r, and what that rank has for this one comes in its place."""
        each = [1] * self.size
        return self._of(_Exchange, parts, each, each)

    def shift(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows of the rank before, in a ring; each has as many."""
        given, taken = [0] * self.size, [0] * self.size
        given[(self.rank + 1) % self.size] = taken[self.rank - 1] = rows.shape[0]
        return self._of(_Exchange, rows, given, taken)

    def averaged(self, tensor: torch.Tensor, *, summed: bool) -> torch.Tensor:
        """The tensor, whose gradient becomes the mean of the ranks'; summed: it is their sum already."""
        return self._of(_Averaged, tensor, summed)

    def numbers(self, own: list[int]) -> list[list[int]]:
        """So many integers of every rank, exchanged between processors."""
        if self.size == 1:
            return [own]
        mine = torch.tensor(own, dtype=torch.int64, device="cpu")  # whatever device is the default
        found = [torch.empty_like(mine) for _ in range(self.size)]
        dist.all_gather(found, mine, group=self.group)
        return [one.tolist() for one in found]

    def _of(self, collective: Any, tensor: torch.Tensor, *others: Any) -> torch.Tensor:
        done: torch.Tensor = tensor if self.size == 1 else collective.apply(tensor, self, *others)
        return done


def group_of(caller: str, given: Any) -> Group:
    """The ranks of a mesh with one axis, or of a process group; None: all."""
    if not dist.is_available() or not dist.is_initialized():
        raise RuntimeError(f"{caller}: torch.distributed was not initialised; wanted init_process_group, or "
                           "init_device_mesh, before")
    if given is None:
        return Group(dist.group.WORLD)  # type: ignore[arg-type]
    if isinstance(given, DeviceMesh):
        if given.ndim != 1:
            raise ValueError(f"{caller}: mesh was of {given.ndim} axes; wanted one, as mesh['classes'] gives")
        return Group(given.get_group())
    if isinstance(given, dist.ProcessGroup):
        return Group(given)
    raise TypeError(f"{caller}: mesh was {describe(given)}; wanted a DeviceMesh, a ProcessGroup, or None for all ranks")


def _done(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor when it is there: of its plain type, which may be read."""
    done: torch.Tensor = _OPS.wait_tensor(tensor)
    return done
