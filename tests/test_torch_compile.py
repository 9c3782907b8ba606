"""torch.compile: one graph for every loss, that serves every batch and every margin, and keeps tiles."""

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from libraries import LIBRARIES, Library
from representatives import representatives
from samples import BATCH, arrays, leaves, per_class, takes_labels

import anglos
from anglos import Loss

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # Dynamo's own

torch: Any = import_module("torch")
dynamo: Any = import_module("torch._dynamo")
common: Any = import_module("torch._dynamo.backends.common")
partitioners: Any = import_module("functorch.compile")


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    dynamo.reset()
    yield
    dynamo.reset()


def batch(loss: Loss[...], rows: int, dynamic: bool = False) -> tuple[list[Any], list[Any]]:
    """Arrays for the first rows, and of them those that have a gradient; their rows as of no fixed number."""
    inputs = arrays(loss, LIBRARIES["torch"](), dtype="float32")
    inputs = [array if per_class(loss, name) else array[:rows].clone()
              for name, array in zip(loss.arrays, inputs, strict=True)]
    for name, array in zip(loss.arrays, inputs, strict=True):
        if dynamic and not per_class(loss, name):
            dynamo.mark_dynamic(array, 0)
    return inputs, [array.requires_grad_() for array in leaves(loss, inputs)]


def agree(loss: Loss[...], compiled: Any, rows: int, options: dict[str, Any], dynamic: bool = False) -> None:
    """Value and gradients as without a compiler, but for the order of sums."""
    inputs, tensors = batch(loss, rows, dynamic)
    value = compiled(options, *inputs)
    got = torch.autograd.grad(value, tensors)
    wanted = loss(*inputs, **options)
    torch.testing.assert_close(value, wanted, rtol=2e-5, atol=1e-6)
    # An element is a sum of terms as large as the largest one.
    for one, want in zip(got, torch.autograd.grad(wanted, tensors), strict=True):
        torch.testing.assert_close(one, want, rtol=2e-5, atol=2e-5 * max(1.0, float(want.abs().max())))


def margins(loss: Loss[...], *, tensors: bool) -> dict[str, float]:
    """The margins that a loss takes as a number, or as a tensor; and not integers, for which some have a short cut."""
    return {name: 1.07 * default + 0.01 for name, default in loss.defaults.items()
            if name in ("margin", "m1", "m2", "m3") and isinstance(default, float)
            and (not tensors or "" in getattr(loss.kinds[name], "shapes", ()))}


def partitioned(saved: list[int]) -> Any:
    """The backend aot_eager, which in addition tells how many numbers each output of a forward graph has."""
    def look(graph: Any, _: Any) -> Any:
        (outputs,) = graph.graph.find_nodes(op="output")[0].args
        for output in outputs:
            value = output.meta["val"]
            count = value.numel() if isinstance(value, torch.Tensor) else 1
            saved.append(count if isinstance(count, int) else count.node.hint)
        return graph

    return common.aot_autograd(fw_compiler=look, bw_compiler=partitioners.nop,
                               partition_fn=partitioners.min_cut_rematerialization_partition)


@pytest.mark.representatives(words=True)
def test_one_graph_for_all_batches_and_margins(loss: Loss[...], torch_library: Library) -> None:
    """A number of rows that Dynamo is forbidden to fix, and a margin in a tensor: nothing is compiled again.

    And nothing is kept for the gradient that is longer than the inputs: no number for every pair.
    """
    saved: list[int] = []
    compiled = torch.compile(lambda options, *inputs: loss(*inputs, **options), fullgraph=True,
                             backend=partitioned(saved))
    keep = {"keep_bytes": 0} if "keep_bytes" in loss.defaults else {}
    scheduled = margins(loss, tensors=True)

    def options(part: float) -> dict[str, Any]:
        return keep | {name: torch.tensor(part * number) for name, number in scheduled.items()}

    agree(loss, compiled, BATCH, options(1.0), dynamic=True)
    assert 0 < max(saved) <= max(array.numel() for array in batch(loss, BATCH)[0])
    with dynamo.config.patch(error_on_recompile=True):
        agree(loss, compiled, BATCH - 1, options(1.05))
        agree(loss, compiled, 3, options(1.1))


def of_one_tensor(loss: Loss[...]) -> dict[str, Any]:
    """Calls with one tensor in several places, or parts of it."""
    places = [loss.kinds[name].shapes[0] for name in loss.arrays]
    vectors = sum(shape in ("B D", "M D") for shape in places)
    labels = torch.tensor([1, 0, 1, 0, 3, 2])
    signs = [torch.tensor([1, -1, 1, -1, 1, 1])] * ("B" in places and not takes_labels(loss))
    if "C D" in places:
        return {"weights": lambda x: loss(x, x, labels)}
    if vectors > 1:
        return {"all": lambda x: loss(*[x] * vectors, *signs),
                "parts": lambda x: loss(*[x[:4], x[2:], x[1:5]][:vectors], *[one[:4] for one in signs])}
    if "reference_embeddings" in loss.defaults:
        return {"references": lambda x: loss(x, labels, reference_embeddings=x, reference_labels=labels)}
    return {}


@pytest.mark.parametrize("name", ["linear_cross_entropy", "arcface", "proxy_anchor", "info_nce", "triplet_margin",
                                  "pair_margin", "supcon", "triplet"])
def test_one_tensor_in_several_places(name: str, torch_library: Library) -> None:
    """Its gradient is the sum of what the places get."""
    several = anglos.LOSSES[name]
    calls = of_one_tensor(several)
    assert calls
    for call in calls.values():
        x = arrays(several, torch_library)[0].requires_grad_()
        value, wanted = torch.compile(call, fullgraph=True, backend="aot_eager")(x), call(x)
        torch.testing.assert_close(value, wanted)
        torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(wanted, x))


@pytest.mark.parametrize("name", ["arcface", "triplet", "info_nce", "triplet_margin", "pair_margin"])
def test_gradient_of_a_transformation(name: str, torch_library: Library) -> None:
    loss = anglos.LOSSES[name]
    inputs = arrays(loss, torch_library)
    gradient = torch.func.grad(lambda *inputs: loss(*inputs), argnums=(0, 1) if leaves(loss, inputs)[1:] else (0,))
    compiled = torch.compile(gradient, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*inputs), gradient(*inputs))


@pytest.mark.parametrize("name", ["arcface", "curricularface", "triplet", "info_nce", "center"])
def test_inductor(name: str) -> None:
    """By the compiler that is used in earnest, for every engine."""
    loss = anglos.LOSSES[name]
    agree(loss, torch.compile(lambda options, *inputs: loss(*inputs, **options), fullgraph=True), BATCH, {})


@pytest.mark.parametrize("name", ["arcface", "curricularface", "triplet", "info_nce", "center"])
def test_one_graph_where_nothing_is_differentiated(name: str) -> None:
    """As when a validation loss is computed."""
    loss = anglos.LOSSES[name]
    inputs, _ = batch(loss, BATCH)
    compiled = torch.compile(lambda *inputs: loss(*inputs), fullgraph=True, backend="aot_eager")
    with torch.no_grad():
        torch.testing.assert_close(compiled(*inputs), loss(*inputs), rtol=2e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # Dynamo's fake ones
def test_compiled_autograd_of_a_call_that_numpy_computes() -> None:
    (x, w, y), tensors = batch(anglos.arcface, BATCH)
    loss = torch.compiler.disable(anglos.arcface)

    @torch.compile(backend="aot_eager")  # type: ignore[untyped-decorator]
    def step() -> None:
        loss(x, w, y).backward()

    with dynamo.config.patch(compiled_autograd=True):
        step()
    for tensor, wanted in zip(tensors, torch.autograd.grad(anglos.arcface(x, w, y), tensors), strict=True):
        torch.testing.assert_close(tensor.grad, wanted, rtol=2e-5, atol=2e-5)


def test_a_batch_of_another_size_is_noticed_once() -> None:
    """Where Dynamo is told nothing, its second graph is for all batches to come."""
    compiled = torch.compile(lambda options, *inputs: anglos.arcface(*inputs, **options), fullgraph=True,
                             backend="aot_eager")
    agree(anglos.arcface, compiled, BATCH, {})
    agree(anglos.arcface, compiled, BATCH - 1, {})
    with dynamo.config.patch(error_on_recompile=True):
        agree(anglos.arcface, compiled, 3, {})


WITH_MARGIN = [loss for loss in anglos.LOSSES.values() if margins(loss, tensors=False)]


@pytest.mark.parametrize("with_margin", representatives(WITH_MARGIN, words=True), ids=lambda loss: loss.name)
def test_a_margin_scheduled_as_a_number(with_margin: Loss[...], torch_library: Library) -> None:
    """Compiled once more when the number is first seen to change, then never again."""
    loss = with_margin
    compiled = torch.compile(lambda options, *inputs: loss(*inputs, **options), fullgraph=True, backend="eager",
                             dynamic=True)  # numbers too are taken for variables at once
    scheduled = margins(loss, tensors=False)
    agree(loss, compiled, BATCH, scheduled)
    with dynamo.config.patch(error_on_recompile=True):
        for part in (1.05, 1.1, 1.12):
            agree(loss, compiled, BATCH, {name: part * number for name, number in scheduled.items()})


@pytest.mark.parametrize("name", ["arcface", "cosface", "circle_softmax", "sphereface_r"])
def test_a_scale_scheduled_as_a_number(name: str) -> None:
    """Too: of cosines with any scale but a large one, sums of exponentials are known to be in range."""
    loss = anglos.LOSSES[name]
    compiled = torch.compile(lambda scale, *inputs: loss(*inputs, scale=scale), fullgraph=True, backend="eager",
                             dynamic=True)
    inputs, tensors = batch(loss, BATCH)
    for scale in (30.5, 31.25, 16.75):
        with dynamo.config.patch(error_on_recompile=scale != 30.5):
            value = compiled(scale, *inputs)
        wanted = loss(*inputs, scale=scale)
        torch.testing.assert_close(value, wanted, rtol=2e-5, atol=1e-6)
        for one, want in zip(*(torch.autograd.grad(some, tensors) for some in (value, wanted)), strict=True):
            torch.testing.assert_close(one, want, rtol=2e-5, atol=2e-5 * max(1.0, float(want.abs().max())))


@pytest.mark.parametrize("variant", ["C", "A", "M"])
def test_a_bias_that_follows_numbers(variant: str) -> None:
    """And they are scheduled; or one of them is a tensor."""
    loss = anglos.sphereface2
    compiled = torch.compile(lambda options, *inputs: loss(*inputs, **options), fullgraph=True, backend="eager",
                             dynamic=True)
    for part in (1.0, 1.05, 1.1):
        options = {"variant": variant, "margin": 0.45 * part, "scale": 30.5 * part, "balance": 0.65 * part, "t": 2.7}
        with dynamo.config.patch(error_on_recompile=part != 1.0):
            agree(loss, compiled, BATCH, options)
    for name in ("margin", "t"):
        agree(loss, compiled, BATCH, options | {name: torch.tensor(options[name])})


@pytest.mark.parametrize("keep_bytes", [2**40, 0], ids=["kept", "recomputed"])
@pytest.mark.parametrize("wrt", [(0,), (1,), (0, 1)], ids=str)
def test_second_derivatives_are_refused(wrt: tuple[int, ...], keep_bytes: int) -> None:
    """By PyTorch, and as such; and not taken for 0, or for those of something that took no part."""
    inputs, tensors = batch(anglos.arcface, BATCH)
    compiled = torch.compile(lambda *inputs: anglos.arcface(*inputs, keep_bytes=keep_bytes), fullgraph=True,
                             backend="aot_eager")
    for first in tensors:
        (slopes,) = torch.autograd.grad(compiled(*inputs), first, create_graph=True)
        with pytest.raises(RuntimeError, match="does not currently support double backward"):
            torch.autograd.grad(slopes.square().sum(), [tensors[place] for place in wrt], allow_unused=True)
