import os
from typing import Any

# Most of the time goes into compiling graphs that run once: half of it without these passes. Before jax is imported.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
                                   "--xla_cpu_use_fusion_emitters=false")

# Two workers share two cores (pyproject.toml).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from libraries import LIBRARIES, Library

import anglos


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.gpu) if name == "cupy" else name for name in LIBRARIES])
def library(request: pytest.FixtureRequest) -> Library:
    return LIBRARIES[request.param]()


@pytest.fixture
def numpy() -> Library:
    return LIBRARIES["numpy"]()


@pytest.fixture
def torch_library() -> Library:
    return LIBRARIES["torch"]()


@pytest.fixture
def jax_library() -> Library:
    return LIBRARIES["jax"]()


def pytest_generate_tests(metafunc: Any) -> None:
    """`loss` stands for every loss of the registry, `head` for those with class prototypes."""
    if "loss" in metafunc.fixturenames:
        metafunc.parametrize("loss", list(anglos.LOSSES.values()), ids=list(anglos.LOSSES))
    if "head" in metafunc.fixturenames:
        heads = [loss for loss in anglos.LOSSES.values() if "weights" in loss.arrays]
        metafunc.parametrize("head", heads, ids=[loss.name for loss in heads])
