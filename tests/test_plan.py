"""The plan of a call: one for all calls of a form, and nothing in it that belongs to one of them."""

import weakref
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library

import anglos
from anglos.arrays.dispatch import spec_of
from anglos.call.plan import Plan, kept_plan, make_plan

X, W, Y = np.random.default_rng(0).standard_normal((6, 4)), np.eye(5, 4), np.asarray([0, 3, 0, 1, 4, 3])


def plan_of(*arrays: Any, loss: Any = anglos.arcface, **options: Any) -> Plan:
    plan: Plan = loss._prepare(arrays, options).plan
    return plan


@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_one_for_all_numbers(name: str) -> None:
    """And another for another shape, type or option."""
    x, w, y = (LIBRARIES[name]().array(array) for array in (X, W, Y))
    plan = plan_of(x, w, y, margin=0.25)
    assert plan_of(x + 1.0, 2.0 * w, y, margin=0.25) is plan
    assert plan.row is not None
    others = [plan_of(x[:3], w, y[:3], margin=0.25), plan_of(x, w[:4], y % 4, margin=0.25), plan_of(x, w, y),
              plan_of(x, w, y, margin=0.25, reduction="sum"), plan_of(x, w, y, margin=0.25, loss=anglos.cosface)]
    assert all(other != plan for other in others)


def test_equal_by_value() -> None:
    """As frameworks compare what is static."""
    made = [make_plan(anglos.arcface, None, 3, ("margin",), *map(spec_of, (X, W, Y)), 0.25) for _ in range(2)]
    assert made[0] is not made[1]
    assert made[0] == made[1]
    assert hash(made[0]) == hash(made[1])
    assert made[0] != make_plan(anglos.arcface, (), 3, ("margin",), *map(spec_of, (X, W, Y)), 0.25)


def test_equal_values_of_two_types_are_two() -> None:
    """1 is a margin, and True is none, whichever came first."""
    assert plan_of(X, W, Y, margin=1) == plan_of(X, W, Y, margin=1.0)
    with pytest.raises(TypeError, match=r"^arcface: margin was True"):
        plan_of(X, W, Y, margin=True)
    assert ("margin", 1.0) in plan_of(X, W, Y, margin=1).options


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_no_array_is_kept(name: str) -> None:
    library = LIBRARIES[name]()
    x, w, y, scale = (library.array(array) for array in (X, W, Y, np.asarray(9.0)))
    held = [weakref.ref(array) for array in (x, w, y, scale)]
    anglos.arcface(x, w, y, scale=scale)
    del x, w, y, scale
    assert [one() for one in held] == [None] * 4


def test_traces_share_it(jax_library: Library) -> None:
    """Under jit, vmap and grad too: a tracer has a shape and a type, which are all that is asked of it."""
    jax: Any = import_module("jax")
    x, w, y = (jax_library.array(array) for array in (X, W, Y))
    jax.jit(anglos.arcface)(x, w, y)
    before = kept_plan.cache_info().currsize
    jax.clear_caches()
    jax.jit(anglos.arcface)(x + 1.0, w, y)
    assert kept_plan.cache_info().currsize == before


def test_a_value_alone_keeps_nothing() -> None:
    call = anglos.arcface._prepare((X, W, Y), {})
    _, kept = call.plan.forward(call.arrays)
    _, alone = call.plan.value(call.arrays)
    logits = len(W) * len(X)
    assert max(one.size for one in kept) >= logits
    assert all(one.shape[:2] != (len(W), len(X)) for one in alone)
