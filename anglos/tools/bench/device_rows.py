"""The rows of `--device cuda`: one step each, in PyTorch, in the types that networks are trained in."""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from anglos.losses import LOSSES
from anglos.tools.bench.problem import Problem
from anglos.tools.bench.steps import PRODUCTS, Array, Rows, Step, kept, metric_learning, products


class Arithmetic(NamedTuple):
    """How a step is computed."""

    embeddings: str
    weights: str
    products: str
    """Of the three products that others are compared to."""
    tf32: bool = False
    """Whether float32 is multiplied in TF32."""


TYPES = {
    "bfloat16": Arithmetic("bfloat16", "bfloat16", "bfloat16"),
    "amp": Arithmetic("bfloat16", "float32", "bfloat16"),
    "tf32": Arithmetic("float32", "float32", "float32", tf32=True),
    "float32": Arithmetic("float32", "float32", "float32"),
    "float16": Arithmetic("float16", "float16", "float16"),
}
"""amp: the weights of a head beside the embeddings of a network under autocast."""

OF_OTHERS = ("Liger", "QuACK", "pytorch-metric-learning")
"""How rows of other packages begin, whose steps may do what no graph can."""


def draw(problem: Problem, device: str) -> tuple[Array, Array, Array]:
    """Embeddings, weights and labels on the device, half of the embeddings near their class."""
    torch: Any = import_module("torch")
    generator, how = torch.Generator(device).manual_seed(0), TYPES[problem.dtype]
    embeddings, weights = (torch.randn(rows, problem.dimension, device=device, generator=generator)
                           for rows in (problem.batch, problem.classes))
    labels = torch.randint(problem.classes, (problem.batch,), device=device, generator=generator)
    embeddings[::2] = 0.7 * embeddings[::2] + 0.7 * weights[labels[::2]]
    return (embeddings.to(getattr(torch, how.embeddings)).requires_grad_(),
            weights.to(getattr(torch, how.weights)).requires_grad_(), labels)


def rows(problem: Problem, arrays: tuple[Array, Array, Array]) -> Rows:
    """By name, what makes a step; peers where they are installed."""
    torch: Any = import_module("torch")
    functional: Any = torch.nn.functional
    loss, how, device = LOSSES[problem.loss], TYPES[problem.dtype], arrays[0].device.type
    half = getattr(torch, how.products) if how.products != "float32" else None
    suffix = ", autocast" if half else ""

    def autocast(function: Callable[..., Any]) -> Any:
        return torch.autocast(device, half)(function) if half else function

    def multiplied() -> Step:
        factors = [array.detach().to(half or torch.float32) for array in arrays[:2]]
        step: Step = torch.no_grad()(lambda: products(*factors))
        return step

    def differentiated(function: Callable[..., Any]) -> Callable[[], Step]:
        return lambda: lambda: with_gradient(function, arrays)

    found: Rows = {PRODUCTS: multiplied}
    for name, options in kept(loss).items():
        found[name] = differentiated(partial(loss, **options))
    found["F.linear, F.cross_entropy" + suffix] = differentiated(autocast(
        lambda x, w, y: functional.cross_entropy(functional.linear(x, w), y)))
    if hasattr(torch.nn, "LinearCrossEntropyOptions"):
        found["F.linear_cross_entropy, chunked" + suffix] = differentiated(autocast(
            lambda x, w, y: functional.linear_cross_entropy(x, w, y, options=torch.nn.LinearCrossEntropyOptions())))
    if find_spec("liger_kernel"):
        found["Liger, fused linear cross entropy" + suffix] = differentiated(autocast(_liger))
    if find_spec("quack"):
        found["QuACK, chunked linear cross entropy" + suffix] = differentiated(autocast(_quack))
    if problem.loss == "arcface":
        found["PartialFC's passes" + suffix] = differentiated(partial(_partial_fc, autocast(functional.linear)))
    if (peer := metric_learning(problem, arrays)) is not None:
        found[peer[0]] = peer[1]
    return found


def with_gradient(function: Callable[..., Any], arrays: tuple[Array, Array, Array]) -> Any:
    torch: Any = import_module("torch")
    value = function(*arrays)
    return value.detach(), torch.autograd.grad(value, arrays[:2])


def _liger(x: Array, w: Array, labels: Array) -> Any:
    return import_module("liger_kernel.transformers").LigerFusedLinearCrossEntropyLoss()(w, x, labels)


def _quack(x: Array, w: Array, labels: Array) -> Any:
    return import_module("quack.linear_cross_entropy").chunked_linear_cross_entropy(x, w, labels)


def _partial_fc(linear: Callable[..., Any], x: Array, w: Array, labels: Array) -> Any:
    """ArcFace as insightface's PartialFC computes it on one device: each line is a pass over all logits.

    The angle of the label's class is replaced without a slope of its own, and past π − m the margin is dropped.
    """
    torch: Any = import_module("torch")
    functional: Any = torch.nn.functional
    margin, scale = (LOSSES["arcface"].defaults[name] for name in ("margin", "scale"))
    cosines = linear(functional.normalize(x), functional.normalize(w)).float().clamp(-1.0, 1.0)
    with torch.no_grad():
        own = cosines.gather(1, labels[:, None])
        turned = own * math.cos(margin) - (1.0 - own * own).clamp_min(0.0).sqrt() * math.sin(margin)
        moved = torch.where(own > math.cos(math.pi - margin), turned, own - margin * math.sin(margin))
    return functional.cross_entropy(scale * cosines.scatter_add(1, labels[:, None], moved - own), labels)
