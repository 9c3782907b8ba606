import gc
import os
import random
import resource
import sys
from collections.abc import Callable
from ctypes import CDLL
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

# Most of the time goes into compiling graphs that run once: half of it without these passes. Eight devices are for
# test_jax_sharding.py. Before jax is imported; a flag that jaxlib does not know ends the process.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true "
                                   "--xla_force_host_platform_device_count=8"
                      + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""))

# No worker, process or run compiles what another has compiled; what it depends on is in JAX's keys.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

# On a GPU's machine each worker takes what it needs, and not most of the memory.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

# Two workers share two cores (pyproject.toml).
os.environ.setdefault("OMP_NUM_THREADS", "1")

import host_cupy
import pytest
from libraries import LIBRARIES, REHEARSED, Library, library_of, parameters
from representatives import representatives
from samples import OF_EVERY_KIND

import anglos
from anglos.call.kinds import has_gradient
from anglos.engines import batchwise as _batchwise
from anglos.engines import rowwise as _direct
from anglos.engines.prototypes import engine as _prototypes
from anglos.engines.prototypes import linear as _linear


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--shuffle", metavar="SEED", help="run the tests in a random order, the same for every worker")
    parser.addoption("--seed", type=int, default=0, help="what PyTorch's generator starts from in every test")


def pytest_configure(config: pytest.Config) -> None:
    if REHEARSED:
        host_cupy.rehearse(config)


def is_said_by_others(item: Any) -> bool:
    """Whether a property of a loss in JAX follows from that of the same formula in NumPy, and of its kind in JAX.

    All losses' numbers in JAX have tests of their own: golden values, and both derivatives under jit.
    """
    given = item.callspec.params if hasattr(item, "callspec") else {}
    losses = [one.name for one in given.values() if isinstance(one, anglos.Loss)]
    return bool(item.path.name == "test_properties.py" and given.get("library") == "jax"
                and losses and losses[0] not in OF_EVERY_KIND)


def starts_late(item: pytest.Item) -> bool:
    """All but those of minutes, in whose time a worker does all the others, and would wait at the end."""
    marker = item.get_closest_marker("slow")
    return marker is None or not marker.kwargs.get("first")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    parts: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        parts[is_said_by_others(item)].append(item)
    items[:] = parts[False]
    config.hook.pytest_deselected(items=parts[True])
    items.sort(key=starts_late)
    seed = config.getoption("--shuffle")
    if seed is not None:
        random.Random(seed).shuffle(items)


PEAKS, CRASHES = pytest.StashKey[list[int]](), pytest.StashKey[list[str]]()

FULL, GROWTH = 1500 * 2**20, 200 * 2**20
"""The size in bytes at which a worker forgets what was compiled; and by how much it must have grown since it did."""

_after = {"bytes": 0}


def resident() -> int:
    """The memory that this process has now, where Linux says so."""
    try:
        with open("/proc/self/statm") as pages:
            return int(pages.read().split()[1]) * resource.getpagesize()
    except OSError:
        return 0


def pytest_runtest_logfinish() -> None:
    if resident() > max(FULL, _after["bytes"] + GROWTH):
        if "jax" in sys.modules:
            sys.modules["jax"].clear_caches()
        if "torch._dynamo" in sys.modules:
            sys.modules["torch._dynamo"].reset()
        gc.collect()
        if sys.platform == "linux":
            CDLL(None).malloc_trim(0)
        _after["bytes"] = resident()


def pytest_sessionfinish(session: pytest.Session) -> None:
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        output["crashes"] = sys.modules["ranks"].CRASHES if "ranks" in sys.modules else []


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    node.config.stash.setdefault(PEAKS, []).append(getattr(node, "workeroutput", {}).get("peak", 0))
    node.config.stash.setdefault(CRASHES, []).extend(getattr(node, "workeroutput", {}).get("crashes", []))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for peak in config.stash.get(PEAKS, []):
        terminalreporter.write_line(f"peak memory of a worker: {peak / 2**20:.2f} GiB")
    for function in config.stash.get(CRASHES, []):
        terminalreporter.write_line(f"a rank crashed and was run once more: {function}")


@pytest.fixture(params=parameters(*LIBRARIES))
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    return library_of(request.param, monkeypatch)


@pytest.fixture
def numpy() -> Library:
    return LIBRARIES["numpy"]()


@pytest.fixture
def torch_library() -> Library:
    return LIBRARIES["torch"]()


@pytest.fixture
def jax_library() -> Library:
    return LIBRARIES["jax"]()


@pytest.fixture
def known_constants(monkeypatch: pytest.MonkeyPatch) -> None:
    """ndonnx knows the constants of its graphs by ONNX's reference, and not by a session of onnxruntime for each."""
    pytest.importorskip("ndonnx", reason="ndonnx is not installed")  # which chooses when it is imported
    values: Any = import_module("spox._value_prop")
    monkeypatch.setattr(values, "_VALUE_PROP_BACKEND", values.ValuePropBackend.REFERENCE)


@pytest.fixture(autouse=True)
def seeded(pytestconfig: pytest.Config) -> None:
    """PyTorch's own generator, from which a Head starts: a test's numbers are the same in any order and worker."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(pytestconfig.getoption("seed"))


def roles(loss: Any) -> list[str | None]:
    """What its arrays stand for, whatever they are called."""
    return [loss.kinds[name].role for name in loss.arrays]


KINDS: dict[str, Callable[[Any], bool]] = {
    "loss": lambda loss: True,
    "head": lambda loss: loss.engine in (_prototypes, _linear) and has_gradient(loss.kinds[loss.arrays[1]]),
    "layer": lambda loss: roles(loss)[:1] == ["embeddings"] and roles(loss)[2:] == ["labels"],
    "prototype": lambda loss: loss.engine in (_prototypes, _linear),
    "kept": lambda loss: "keep_bytes" in loss.defaults,
    "tiled": lambda loss: loss.engine not in (_direct, _batchwise),
    "single": lambda loss: bool(loss.engine.SAMPLES_ARE_INDEPENDENT),
    "two_towers": lambda loss: roles(loss)[:2] == ["queries", "keys"],
    "pair": lambda loss: not loss.engine.SAMPLES_ARE_INDEPENDENT and loss.engine is not _batchwise,
    "labelled": lambda loss: "excluded_pairs" in loss.defaults,
}
"""Which losses of the registry the argument of a test stands for."""


def pytest_generate_tests(metafunc: Any) -> None:
    for name, belongs in KINDS.items():
        if name in metafunc.fixturenames:
            losses = [loss for loss in anglos.LOSSES.values() if belongs(loss)]
            if metafunc.definition.get_closest_marker("skip"):  # once is enough
                losses = losses[:1]
            elif marker := metafunc.definition.get_closest_marker("representatives"):
                losses = representatives(losses, **marker.kwargs)
            metafunc.parametrize(name, losses, ids=[loss.name for loss in losses])
