"""The kernels of partners as operations of PyTorch, as `operations` has those of tiles."""

from functools import partial
from typing import Any

import torch

from anglos.arrays.partners import Partners, Runs

from .operands import array_of

_PARTNERS = ("Tensor rows, Tensor? row_factor, Tensor others, Tensor? other_factor, Tensor scale, Tensor order, "
             "Tensor first, Tensor number, SymInt? own")

_operation: Any = partial(torch.library.custom_op, mutates_args=())


def partner_terms(partners: Partners) -> tuple[torch.Tensor, torch.Tensor]:
    """As `partners.partner_terms`."""
    top, total = partner_terms_of(*_arrays(partners))
    return top, total


def partner_sums(partners: Partners, of: str, above: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As `partners.partner_sums`."""
    value, slope = partner_sums_of(above, *_arrays(partners), of=of)
    return value, slope


def partner_pull(partners: Partners, of: str, above: torch.Tensor, weight: torch.Tensor | None,
                 less: torch.Tensor | None) -> Any:
    """As `partners.partner_pull`."""
    return partner_pull_of(above, weight, less, *_arrays(partners), of=of)


def _arrays(partners: Partners) -> tuple[Any, ...]:
    """All of them, with the scale as one."""
    *arrays, scale, runs = partners
    return *arrays, array_of(scale, runs.order), *runs


def _partners(arrays: tuple[Any, ...]) -> Partners:
    return Partners._make((*arrays[:5], Runs._make(arrays[5:])))


@_operation("anglos::partner_terms", schema=f"({_PARTNERS}) -> Tensor[]")
def partner_terms_of(*arrays: Any) -> list[torch.Tensor]:
    """The largest logits, and the sums."""
    from . import partners

    return [*partners.partner_terms(_partners(arrays))]


@_operation("anglos::partner_sums", schema=f"(Tensor above, {_PARTNERS}, *, str of) -> Tensor[]")
def partner_sums_of(above: torch.Tensor, *arrays: Any, of: str) -> list[torch.Tensor]:
    """Of values and of slopes."""
    from . import partners

    return [*partners.partner_sums(_partners(arrays), of, above)]


@_operation("anglos::partner_pull", schema=f"(Tensor above, Tensor? weight, Tensor? less, {_PARTNERS}, *, str of) "
                                          "-> Tensor")
def partner_pull_of(above: torch.Tensor, weight: torch.Tensor | None, less: torch.Tensor | None, *arrays: Any, of: str
                    ) -> torch.Tensor:
    """Of the vectors."""
    from . import partners

    return partners.partner_pull(_partners(arrays), of, above, weight, less)


@partner_terms_of.register_fake
def _(*arrays: Any) -> list[torch.Tensor]:
    return [_of_rows(arrays[0]) for _ in range(2)]


@partner_sums_of.register_fake
def _(above: torch.Tensor, *arrays: Any, of: str) -> list[torch.Tensor]:
    return [_of_rows(arrays[0]) for _ in range(2)]


@partner_pull_of.register_fake
def _(above: torch.Tensor, weight: torch.Tensor | None, less: torch.Tensor | None, *arrays: Any, of: str
      ) -> torch.Tensor:
    return torch.empty(arrays[0].shape, dtype=torch.float32, device=arrays[0].device)


def _of_rows(rows: torch.Tensor) -> torch.Tensor:
    return torch.empty(rows.shape[0], dtype=torch.float32, device=rows.device)
