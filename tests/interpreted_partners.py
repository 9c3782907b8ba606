"""The kernel of partners in Triton's interpreter, against the same in float64: `test_triton.py` runs this."""

import importlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from anglos.arrays.dispatch import backend_of
from anglos.arrays.partners import Partners
from anglos.engines.pairs.partners import BY_PARTNERS
from anglos.engines.pairs.positives import runs_of

kernels: Any = importlib.import_module("anglos.backends.torch.triton.partners")
operations: Any = importlib.import_module("anglos.backends.torch.triton.partner_operations")
BACKEND: Any = backend_of(torch.zeros(1))
TERMS = {reduction.term.name: reduction.term for reduction in BY_PARTNERS.values()}


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """As a GPU is of what is infinite."""
    with np.errstate(all="ignore"):
        yield


def some(dtype: torch.dtype, own: int | None, factors: bool, ignore_index: int | None = None) -> Partners:
    """Rows that lie apart, of classes of 1 to 11 samples; one has a label that nobody else has, or that is ignored."""
    labels = torch.randint(-2, 9, (45,)) * 7
    of_rows = labels[own:own + 37] if own is not None else torch.cat([labels[4:40], torch.tensor([1000])])
    x, v = torch.randn(len(of_rows), 60).to(dtype)[:, :43], torch.randn(len(labels), 50).to(dtype)[:, :43]
    a, u = (torch.rand(len(of_rows)), torch.rand(len(labels), 1)) if factors else (None, None)
    runs = runs_of(BACKEND.xp, of_rows, labels, ignore_index, own)
    return Partners(x, a, v, u, torch.tensor(0.4) if factors else 0.3, runs)


def wide(partners: Partners) -> Partners:
    numbers = (one.double() if isinstance(one, torch.Tensor) else one for one in partners[:-1])
    return Partners._make((*numbers, partners.runs))


def agree(partners: Partners) -> None:
    """All that is asked of partners."""
    above, weight = torch.randn(len(partners.rows)), torch.randn(len(partners.others))
    of_others = torch.randn(len(partners.others))
    near(*(torch.where(total == 0.0, total, shift + total.log()) for shift, total in (
        kernels.partner_terms(partners), BACKEND.partner_terms(wide(partners)))))
    for one, want in zip(kernels.partner_sums(partners, "softplus", above),
                         BACKEND.partner_sums(wide(partners), TERMS["softplus"], above.double()), strict=True):
        near(one, want)
    for (name, term), lacks in itertools.product(TERMS.items(), (False, True)):
        less, of_less = (torch.rand(len(one)) if lacks else None for one in (above, of_others))
        near(kernels.partner_pull(partners, name, above, None, less),
             BACKEND.partner_pull(wide(partners), term, above.double(), None, less))
        near(kernels.partner_pull(partners, name, of_others, weight, of_less),
             BACKEND.partner_pull(wide(partners), term, of_others.double(), weight.double(), of_less))


def near(found: torch.Tensor, wanted: torch.Tensor) -> None:
    finite = wanted[wanted.isfinite()]
    largest = float(finite.abs().max()) if len(finite) else 0.0
    torch.testing.assert_close(found.double(), wanted, rtol=3e-6, atol=1e-6 * largest, equal_nan=True)


@pytest.mark.parametrize("factors", [False, True])
@pytest.mark.parametrize("own", [None, 0, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_partners(dtype: torch.dtype, own: int | None, factors: bool) -> None:
    """Of one set, of a part of it, and of two sets."""
    agree(some(dtype, own, factors))
    agree(some(dtype, own, factors, ignore_index=7))


@pytest.mark.parametrize("hard", [math.inf, math.nan])
@pytest.mark.parametrize("of_row", [False, True])
def test_what_is_not_finite_is_met_by_its_partners_alone(hard: float, of_row: bool) -> None:
    partners, above, weight = some(torch.float32, None, True), torch.randn(37), torch.rand(45)
    plain = results(kernels, partners, above, weight)
    (partners.rows if of_row else partners.others)[5, 3:] = hard
    order, first, number, _ = partners.runs
    (place,) = (order == 5).nonzero()[0]
    meets = torch.arange(37) == 5 if of_row else (first <= place) & (place < first + number)
    assert 0 < meets.sum() < 20
    for found, before in zip(results(kernels, partners, above, weight), plain, strict=True):
        assert torch.equal(found[~meets], before[~meets])
        assert not found[meets].reshape(int(meets.sum()), -1).isfinite().all(dim=1).any()


def results(of: Any, partners: Partners, above: torch.Tensor, weight: torch.Tensor) -> list[torch.Tensor]:
    return [of.partner_terms(partners)[1], *of.partner_sums(partners, "softplus", above),
            *(of.partner_pull(partners, name, above, None, None) for name in TERMS),
            *(of.partner_pull(partners, name, weight, weight, weight) for name in TERMS)]


@pytest.mark.parametrize("own", [None, 0])
def test_operations_of_a_graph_launch_the_same(own: int | None) -> None:
    given = some(torch.bfloat16, own, True), torch.randn(45), torch.rand(45)
    for found, wanted in zip(results(operations, *given), results(kernels, *given), strict=True):
        assert torch.equal(found, wanted)


def test_rows_longer_than_a_program_has_room_for_two_of() -> None:
    partners = some(torch.float32, 0, False)
    more = torch.randn(2, 45, 2500)
    agree(partners._replace(rows=more[0, :37], others=more[1]))


def test_runs_are_where_equal_labels_are() -> None:
    order, first, number, _ = runs_of(BACKEND.xp, torch.tensor([5, -3, 9, 2]), torch.tensor([2, 5, 9, 5, 5, 2]), 9)
    assert order.tolist() == [0, 5, 1, 3, 4, 2]
    assert first[[0, 3]].tolist() == [2, 0]
    assert number.tolist() == [3, 0, 0, 2]
