"""torch.compile and torch.func over ranks: as without them."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import pytest
from ranks import on_ranks, tried
from samples import takes_labels

import anglos

torch: Any = import_module("torch")
dynamo: Any = import_module("torch._dynamo")

pytestmark = pytest.mark.slow

RANKS, CLASSES, DIMENSION = 2, 5, 4
# Of every engine, of several prototypes per class, of terms of several kinds.
COMPILED = ["arcface", "curricularface", "subcenter_arcface", "linear_cross_entropy", "sphereface2", "c_triplet",
            "soft_triple", "center", "proxy_anchor"]


@contextmanager
def no_cache_traced() -> Iterator[None]:
    """Dynamo's warning that it sees one is an error."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*lru_cache")
        yield


def layer_of(name: str) -> Any:
    loss = anglos.LOSSES[name]
    several = {"prototypes_per_class": 3} if "K" in loss.kinds[loss.arrays[1]].shapes[0] else {}
    mesh = import_module("torch.distributed.device_mesh").init_device_mesh("cpu", (RANKS,))
    return import_module("anglos.backends.torch").Head(loss, CLASSES, DIMENSION, mesh=mesh, seed=0,
                                                       dtype=torch.float64, **several)


def batch_of(rank: int, rows: int) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(rank)
    x = torch.randn(rows, DIMENSION, generator=generator, dtype=torch.float64)
    return x.requires_grad_(), torch.randint(0, CLASSES, (rows,), generator=generator)


def step(layer: Any, call: Callable[..., Any], x: Any, labels: Any) -> list[Any]:
    value = call(x, labels)
    return [value.detach(), *(getattr(one, "to_local", lambda one=one: one)()
                              for one in torch.autograd.grad(value, (x, layer.weight)))]


def compiled(rank: int, name: str, backend: str) -> None:
    layer = layer_of(name)
    call = torch.compile(lambda x, labels: layer(x, labels), fullgraph=True, backend=backend)
    x, labels = batch_of(rank, 6)
    dynamo.mark_dynamic(x, 0)
    dynamo.mark_dynamic(labels, 0)
    with no_cache_traced():
        torch.testing.assert_close(step(layer, call, x, labels), step(layer, layer, x, labels))
        with dynamo.config.patch(error_on_recompile=True):
            for rows in (5, 3):
                batch = batch_of(rank, rows)
                torch.testing.assert_close(step(layer, call, *batch), step(layer, layer, *batch))
    with torch.no_grad():
        torch.testing.assert_close(torch.compile(layer, fullgraph=True, backend=backend)(x, labels), layer(x, labels))


@pytest.mark.parametrize("name", COMPILED)
def test_one_graph_for_all_batches(name: str) -> None:
    """Of weights that are DTensors; the ranks are not compared, since a graph is for other calls."""
    on_ranks(compiled, RANKS, name, "aot_eager", timeout=200.0)


def compiled_pairs(rank: int, name: str) -> None:
    loss = import_module("anglos.backends.torch").batch_sharded(anglos.LOSSES[name])
    x, labels = batch_of(rank, 6)
    call = torch.compile(lambda x, *others: loss(x, *others), fullgraph=True, backend="aot_eager")
    others = [labels] if takes_labels(loss) else [x]  # a tensor in two places
    got, wanted = call(x, *others), loss(x, *others)
    torch.testing.assert_close(got, wanted)
    torch.testing.assert_close(torch.autograd.grad(got, x), torch.autograd.grad(wanted, x))


@pytest.mark.parametrize("name", ["info_nce", "clip", "supcon", "triplet"])
def test_pairs(name: str) -> None:
    on_ranks(compiled_pairs, RANKS, name, timeout=200.0)


def test_inductor() -> None:
    on_ranks(compiled, RANKS, "arcface", "inductor", timeout=200.0)


REFUSED = {"vmap": "was mapped over by torch.func.vmap over ranks; wanted a call for each",
           "jacfwd": "was differentiated in forward mode over ranks; wanted torch.autograd.grad, torch.func.grad or "
                     "torch.func.vjp"}
DTENSOR = ("arcface: weights was a DTensor inside torch.func; wanted torch.autograd.grad, or this rank's part of it, "
           "with num_classes")


def transformed(rank: int, maker: str, name: str) -> None:
    layer, (x, labels), sharding = layer_of("arcface"), batch_of(rank, 6), import_module("anglos.backends.torch")
    loss, x = anglos.LOSSES[name], x.detach()
    rest: tuple[Any, ...]
    if maker == "class_sharded":
        loss, rest = sharding.class_sharded(loss, num_classes=CLASSES), (layer.weight.detach().to_local(), labels)
        found = tried(lambda: torch.func.grad(lambda x: layer(x, labels))(x))
        assert found[:2] == ("NotImplementedError", DTENSOR)
    else:
        loss, rest = sharding.batch_sharded(loss), (x.flip(0),)

    def value(x: Any) -> Any:
        return loss(x, *rest)

    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(torch.func.grad(value)(x), torch.autograd.grad(value(leaf), leaf)[0])
    for transform, message in REFUSED.items():
        refused = tried(partial(getattr(torch.func, transform)(value), x[None]))
        assert refused[:2] == ("NotImplementedError", f"{name}: {message}")


@pytest.mark.parametrize(("maker", "name"), [("class_sharded", "arcface"), ("batch_sharded", "info_nce")])
def test_transformations(maker: str, name: str) -> None:
    """Those with backward passes go through; others are refused by their names."""
    on_ranks(transformed, RANKS, maker, name)
