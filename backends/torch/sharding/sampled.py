"""Partial class sampling where ranks share the classes: each samples its own, and all sample as many."""

from functools import partial
from typing import Any

import torch

from anglos.training.sampling import Sampled, checked, sample

from .agreement import agreed, check_rows
from .group import Group
from .rows import sharded


def sample_own(caller: str, values: dict[str, Any], mesh: Any, group: Group, check: bool) -> tuple[Sampled, int]:
    """Rows of this rank's classes, the places of its own labels among the rows of all, and how many these are.

    Which are the other ranks' own classes, all know by the labels, which are all that is sent.
    """
    _check(caller, values, group, check)
    own = values["labels"]
    values = {**values, "labels": group.gather(own), "rank": group.rank, "ranks": group.size}
    (rows, labels, log_probability), total = sample(caller, values, None)
    mine = labels[group.rank * len(own):(group.rank + 1) * len(own)]
    return Sampled(rows, mine, sharded(log_probability, mesh, total)), total


def _check(caller: str, values: dict[str, Any], group: Group, check: bool) -> None:
    """Refuse what is wrong on this rank; on all, if they are asked, what is on one, or is not the same."""
    said = {name: repr(value) for name, value in values.items() if name != "labels"}
    _, sizes = agreed(caller, group, check, partial(checked, caller, values), lambda _: (
        {**said, "labels": str(values["labels"].dtype), "what is differentiated by": repr(torch.is_grad_enabled())},
        (len(values["labels"]),)))
    check_rows(caller, sizes)
