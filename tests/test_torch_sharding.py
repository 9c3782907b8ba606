"""PyTorch's class_sharded: ranks that share classes and rows get what one process gets of all."""

from importlib import import_module
from typing import Any

import pytest
from ranks import NCCL, TWO_DEVICES, on_ranks
from sharded import (
    Case,
    Found,
    Setting,
    class_sharded,
    error,
    errors,
    first_order,
    given_by,
    joined,
    local,
    mesh_of_all,
    of_one_process,
    tiles_of,
    total,
)

torch: Any = import_module("torch")

pytestmark = pytest.mark.slow

TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 2.0**-7}  # rounded twice

# Shards of 6 and 5, of one class and none, of 4, 4 and 3, of 2, 2 and none, of 3, 3, 3 and none.
SETTINGS = [Setting(2, 11), Setting(2, 1, "float32", few=2), Setting(3, 11, width=2), Setting(3, 4, "bfloat16", few=2),
            Setting(4, 9, "float32", width=2, few=1),
            pytest.param(Setting(2, 11, backend=NCCL), marks=TWO_DEVICES)]


@pytest.fixture(scope="module", params=SETTINGS, ids=repr)
def visit(request: pytest.FixtureRequest) -> tuple[Setting, list[tuple[Case, list[Found]]]]:
    """A setting, and of all its calls what every rank found."""
    setting: Setting = request.param
    cases = setting.cases()
    found = on_ranks(first_order, setting.ranks, cases, setting.width, timeout=300.0, backend=setting.backend)
    return setting, [(case, list(of_case)) for case, *of_case in zip(cases, *found, strict=True)]


def test_value_and_gradients_are_those_of_one_process(visit: tuple[Setting, list[tuple[Case, list[Found]]]]) -> None:
    setting, every = visit
    with tiles_of(setting.width):
        wrong = {(case.loss.name, str(case.options), name): error for case, found in every
                 for name, error in errors(case, found).items() if not error < TOLERANCE[setting.dtype]}
    assert not wrong


def test_ranks_say_the_same_in_the_same_order(visit: tuple[Setting, list[tuple[Case, list[Found]]]]) -> None:
    for case, (first, *others) in visit[1]:
        assert len(first.said) > 3
        for other in others:
            assert other.said == first.said, (case.loss.name, case.options)


def second_order(value: Any, free: dict[str, Any], factors: dict[str, float], shares: dict[str, float]
                 ) -> dict[str, Any]:
    """∂(Σ |∂ℓ/∂a|²)/∂a. Factors: to gradients as the ranks see them; shares: of a rank in what all have."""
    first = torch.autograd.grad(value, list(free.values()), create_graph=True)
    penalty = sum(shares[name] * ((one.to_local() if hasattr(one, "to_local") else one) * factors[name]).square().sum()
                  for name, one in zip(free, first, strict=True))
    second = torch.autograd.grad(penalty, list(free.values()), allow_unused=True, materialize_grads=True)
    return {name: local(one * factors[name]) for name, one in zip(free, second, strict=True)}


def second_of_ranks(rank: int, cases: list[Case], form: str) -> list[dict[str, Any]]:
    mesh, found = mesh_of_all(), []
    for case in cases:
        given = given_by(rank, case, mesh)
        free = {name: one for name, one in given.items() if one.requires_grad}
        value = case.call(getattr(class_sharded(case.loss, mesh), form), given)
        found.append(second_order(value.sum(), free, dict.fromkeys(free, 1.0),
                                  {name: 1.0 if one.ndim else 1.0 / case.ranks for name, one in free.items()}))
    return found


@pytest.mark.parametrize("setting", [Setting(2, 11, few=3), Setting(3, 4, few=3)], ids=str)
@pytest.mark.parametrize("form", ["__call__", "plain"])
def test_second_derivatives_are_those_of_one_process(setting: Setting, form: str) -> None:
    wrong: dict[Any, float] = {}
    cases = setting.cases()
    found = on_ranks(second_of_ranks, setting.ranks, cases, form, timeout=300.0)
    for case, *of_case in zip(cases, *found, strict=True):
        values, free = of_one_process(case)
        factors = {name: 1.0 if case.is_of_rows(name) else 1.0 / case.ranks for name in free}
        right = second_order(total(values), free, factors, dict.fromkeys(free, 1.0))
        # That of an option is a sum over all samples, in which numbers as large as those of the arrays may cancel.
        least = max(1.0, 1e-3 * max(float(one.abs().max()) for one in right.values() if one.numel()))
        wrong |= {(case.loss.name, str(case.options), name): far for name in free
                  if not (far := error(joined(case, name, [one[name] for one in of_case]), right[name], least)) < 1e-9}
    assert not wrong


def values_and_gradients(rank: int, cases: list[Case]) -> list[Found]:
    """By `value_and_grad`, with respect to all that has a gradient."""
    mesh, found = mesh_of_all(), []
    for case in cases:
        given = given_by(rank, case, mesh)
        names = tuple(name for name in given if case.is_learnt(name))
        value, gradients = case.call(class_sharded(case.loss, mesh).value_and_grad,
                                     {name: one.detach() for name, one in given.items()}, wrt=names)
        found.append(Found(local(value), dict(zip(names, map(local, gradients), strict=True)), []))
    return found


@pytest.mark.parametrize("setting", [Setting(2, 11, few=3), Setting(3, 4, width=2, few=3)], ids=str)
def test_value_and_grad(setting: Setting) -> None:
    cases = setting.cases()
    found = on_ranks(values_and_gradients, setting.ranks, cases, timeout=300.0)
    wrong = {(case.loss.name, str(case.options), name): far for case, *of_case in zip(cases, *found, strict=True)
             for name, far in errors(case, of_case).items() if not far < TOLERANCE[setting.dtype]}
    assert not wrong
