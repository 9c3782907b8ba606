"""Which of the classes a rank has."""

from typing import NamedTuple

from torch.distributed.tensor import DTensor

from .group import Group


class Share(NamedTuple):
    """Of so many classes, those from `first` on, `here` of them; no rank has more than `most`."""

    total: int
    first: int
    here: int
    most: int


def share_of(total: int, group: Group, rank: int | None = None) -> Share:
    """As DTensor and torch.chunk cut: ⌈C / P⌉ for each rank, and what is left for the last who get any."""
    most = -(-total // group.size)
    first = min((group.rank if rank is None else rank) * most, total)
    return Share(total, first, min(most, total - first), most)


def check_placed(caller: str, name: str, tensor: DTensor, group: Group) -> None:
    """Refuse a DTensor that is not cut on classes over these ranks."""
    placements, mesh = tensor.placements, tensor.device_mesh
    if len(placements) != 1 or not placements[0].is_shard(0) or mesh.get_group().group_name != group.name:
        raise ValueError(f"{caller}: {name} was a DTensor placed {list(placements)} over {mesh.size()} ranks; wanted "
                         f"[Shard(dim=0)] over the mesh or group of class_sharded, which has {group.size}")
