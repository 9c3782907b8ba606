"""A loss of which every rank computes a part: what shared classes and shared batches have in common."""

from typing import Any, Self

import torch

from anglos.call.kinds import dotted_name
from anglos.call.loss import Loss, Options

from .group import Group


class OfProcess:
    """What has a process group, which is this process's alone: a copy has the same, and nothing is pickled."""

    name: str
    maker: str
    """What made it."""

    def __reduce__(self) -> Any:
        raise TypeError(f"{self.maker}: {self.name} was pickled with its process group, which is this process's "
                        f"alone; wanted {dotted_name(self)} pickled, and {self.maker} called where it is loaded")

    def __deepcopy__(self, memo: Any) -> Self:
        return self


class Sharded(OfProcess, Loss[Options]):
    """The loss of a rank's own rows. Of what does not belong to them, the gradient is the mean over ranks."""

    def __init__(self, loss: Loss[Options], group: Group, check: bool, *form: Any) -> None:
        self.__dict__.update(loss.__dict__)
        self.whole, self.group, self.check = loss, group, check
        self._key = type(self), loss, group, check, *form

    def __repr__(self) -> str:
        return f"<loss {self.dotted_name}, {self.maker} over {self.group.size} ranks>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sharded) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def _returned(self, name: str, gradient: torch.Tensor) -> torch.Tensor:
        """The mean over ranks of what does not belong to a rank's own rows."""
        return gradient if gradient.ndim else self.group.sum(gradient) / self.group.size
