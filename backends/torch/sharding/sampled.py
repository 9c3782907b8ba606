"""Partial class sampling where ranks share the classes: each samples its own, and all sample as many."""

from typing import Any

import torch

from anglos.training.sampling import Sampled, checked, sample

from .agreement import agree, check_rows
from .group import Group
from .rows import sharded


def sample_own(caller: str, values: dict[str, Any], mesh: Any, group: Group, check: bool) -> tuple[Sampled, int]:
    """Rows of this rank's classes, the places of its own labels among the rows of all, and how many these are.

    Which are the other ranks' own classes, all know by the labels, which are all that is sent.
    """
    own = _agreed_labels(caller, values, group) if check else values["labels"]
    values = {**values, "labels": group.gather(own), "rank": group.rank, "ranks": group.size}
    (rows, labels, log_probability), total = sample(caller, values, None)
    mine = labels[group.rank * len(own):(group.rank + 1) * len(own)]
    return Sampled(rows, mine, sharded(log_probability, mesh, total)), total


def _agreed_labels(caller: str, values: dict[str, Any], group: Group) -> torch.Tensor:
    """Those of this rank, if no rank refuses its own, and all have as many."""
    labels, refusal, said = values["labels"], None, {}
    try:
        checked(caller, values)
        said = {name: repr(value) for name, value in values.items() if name != "labels"}
        said |= {"labels": str(labels.dtype), "what is differentiated by": repr(torch.is_grad_enabled())}
    except Exception as error:  # of which the others must hear
        refusal = error
    check_rows(caller, agree(caller, group, refusal, said, 0 if refusal else len(labels)))
    found: torch.Tensor = labels
    return found
