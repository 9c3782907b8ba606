"""The rows of the table: for each library, what is run and measured. A library is imported when its rows are made."""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from anglos.call.loss import Loss
from anglos.losses import LOSSES
from anglos.tools.bench.problem import Problem

Array = Any
Step = Callable[[], Any]
"""From nothing to (value, (gradient by embeddings, gradient by weights)), all of it computed on return."""
Rows = dict[str, Callable[[], Step]]
"""By name, what makes a step: copies and compilation come here, and are not measured."""

PRODUCTS = "3 products"


def products(embeddings: Array, weights: Array) -> tuple[None, tuple[Array, Array]]:
    """X Wᵀ, G W and Gᵀ x: what no loss of all classes can do without. G is the result of the first."""
    logits = embeddings @ weights.T
    return None, (logits @ weights, logits.T @ embeddings)


def kept(loss: Loss[...]) -> dict[str, dict[str, Any]]:
    """By the name of a row, the options with which logits are kept for the gradient, and computed again."""
    if "keep_bytes" not in loss.defaults:
        return {f"anglos.{loss.name}": {}}
    return {f"anglos.{loss.name}, kept": {"keep_bytes": 2**62}, f"anglos.{loss.name}, recomputed": {"keep_bytes": 0}}


def _numpy(problem: Problem, drawn: tuple[Array, ...]) -> Rows:
    loss = LOSSES[problem.loss]
    rows: Rows = {PRODUCTS: lambda: lambda: products(*drawn[:2])}
    for name, options in kept(loss).items():
        rows[name] = partial(partial, partial(loss.value_and_grad, *drawn, **options))
    return rows


def _cupy(problem: Problem, drawn: tuple[Array, ...]) -> Rows:
    import cupy
    wait = cupy.cuda.Device().synchronize
    embeddings, weights, labels = map(cupy.asarray, drawn)
    arrays = embeddings.astype(problem.dtype), weights.astype(problem.dtype), labels

    def waited(make: Callable[[], Step]) -> Any:
        result = make()()
        wait()
        return result

    return {name: partial(partial, waited, make) for name, make in _numpy(problem, arrays).items()}


def _torch(problem: Problem, drawn: tuple[Array, ...]) -> Rows:
    import torch
    from torch.nn import functional as F
    loss, dtype = LOSSES[problem.loss], getattr(torch, problem.dtype)
    embeddings, weights, labels = map(torch.from_numpy, drawn)
    arrays = tuple(array.to(dtype).requires_grad_() for array in (embeddings, weights))

    def differentiated(function: Callable[..., Any], **options: Any) -> Callable[[], Step]:
        def step() -> Any:
            value = function(*arrays, labels, **options)
            return value.detach(), torch.autograd.grad(value, arrays)

        return lambda: step

    rows = {PRODUCTS: lambda: torch.no_grad()(lambda: products(*arrays)),
            **{name: differentiated(loss, **options) for name, options in kept(loss).items()},
            f"anglos.{loss.name}.plain, autograd": differentiated(loss.plain),
            "F.linear, F.cross_entropy": differentiated(lambda x, w, y: F.cross_entropy(F.linear(x, w), y))}
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):  # without them it is the row above
        rows["F.linear_cross_entropy, chunked"] = differentiated(
            F.linear_cross_entropy, options=torch.nn.LinearCrossEntropyOptions())
    if (peer := metric_learning(problem, (*arrays, labels))) is not None:
        rows[peer[0]] = peer[1]
    return rows


_METRIC_LEARNING = {
    "arcface": ("ArcFaceLoss", {"margin": math.degrees(LOSSES["arcface"].defaults["margin"]),
                                "scale": LOSSES["arcface"].defaults["scale"]}),
    "cosface": ("CosFaceLoss", {"margin": LOSSES["cosface"].defaults["margin"],
                                "scale": LOSSES["cosface"].defaults["scale"]}),
}
"""By loss, the class of the same loss there, and the same options in its units."""


def metric_learning(problem: Problem, arrays: tuple[Array, ...]) -> tuple[str, Callable[[], Step]] | None:
    """The row of that library: its name, and what makes a step; None where it, or the loss there, is missing."""
    if problem.loss not in _METRIC_LEARNING or not find_spec("pytorch_metric_learning"):
        return None
    name, options = _METRIC_LEARNING[problem.loss]

    def make() -> Step:
        import torch
        from pytorch_metric_learning import losses
        embeddings, weights, labels = arrays
        head = getattr(losses, name)(problem.classes, problem.dimension, **options)
        head.W = torch.nn.Parameter(weights.detach().T.contiguous())

        def step() -> Any:
            value = head(embeddings, labels)
            by_embeddings, by_weights = torch.autograd.grad(value, (embeddings, head.W))
            return value.detach(), (by_embeddings, by_weights.T)

        return step

    return f"pytorch-metric-learning {name}", make


def _jax(problem: Problem, drawn: tuple[Array, ...]) -> Rows:
    jax: Any = import_module("jax")  # partly without types
    # The memory of a GPU is no part of the resident set.
    jax.config.update("jax_platforms", "cpu")
    if problem.dtype == "float64":
        jax.config.update("jax_enable_x64", True)
    loss = LOSSES[problem.loss]
    embeddings, weights, labels = map(jax.numpy.asarray, drawn)
    arrays = jax.block_until_ready((embeddings.astype(problem.dtype), weights.astype(problem.dtype), labels))

    def compiled(function: Callable[..., Any]) -> Callable[[], Step]:
        def make() -> Step:
            program = jax.jit(function).lower(*arrays).compile()
            return lambda: jax.block_until_ready(program(*arrays))

        return make

    return {PRODUCTS: compiled(lambda x, w, _: products(x, w)),
            **{f"{name}, jit": compiled(jax.value_and_grad(partial(loss, **options), argnums=(0, 1)))
               for name, options in kept(loss).items()},
            f"anglos.{loss.name}.plain, jit": compiled(jax.value_and_grad(loss.plain, argnums=(0, 1)))}


class Library(NamedTuple):
    """An array library: its rows, and the types it has products of."""

    rows: Callable[[Problem, tuple[Array, ...]], Rows]
    dtypes: tuple[str, ...]


LIBRARIES = {
    "numpy": Library(_numpy, ("float32", "float64")),
    "torch": Library(_torch, ("float32", "float64", "float16", "bfloat16")),
    "jax": Library(_jax, ("float32", "float64", "float16", "bfloat16")),
    "cupy": Library(_cupy, ("float32", "float64", "float16")),
}


def has_device(library: str) -> bool:
    """Whether the library, which is installed, finds what it computes on."""
    return library != "cupy" or bool(import_module("cupy").cuda.is_available())


def installed(dtype: str) -> list[str]:
    """The libraries that can be measured here in a type."""
    return [name for name, library in LIBRARIES.items()
            if dtype in library.dtypes and find_spec(name) and has_device(name)]
