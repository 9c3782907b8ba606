"""Transformed, exported, traced, or made of nothing: a loss goes through what PyTorch does to a function."""

import io
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import (
    BATCH,
    CLASSES,
    DIMENSION,
    arrays,
    each,
    float_arrays,
    gentle,
    hard_embeddings,
    has_several,
    leaves,
    made,
    per_class,
)

from anglos import Loss

torch: Any = import_module("torch")
make_fx: Any = import_module("torch.fx.experimental.proxy_tensor").make_fx
Head: Any = import_module("anglos.backends.torch").Head


def places(loss: Loss[...]) -> tuple[int, ...]:
    """Of its arrays those that have a gradient."""
    return tuple(loss.arrays.index(name) for name in float_arrays(loss))


def test_grad_and_vmap(loss: Loss[...], torch_library: Library) -> None:
    """Of two batches at once: values and gradients as of one after the other."""
    batches = [arrays(loss, torch_library, seed=seed) for seed in (0, 1)]
    stacked = [torch.stack(both) for both in zip(*batches, strict=True)]
    values = torch.func.vmap(loss)(*stacked)
    gradients = torch.func.vmap(torch.func.grad(lambda *a: loss(*a), argnums=places(loss)))(*stacked)
    for number, inputs in enumerate(batches):
        value, wanted = loss.value_and_grad(*inputs)
        torch.testing.assert_close(values[number], value)
        torch.testing.assert_close(tuple(gradient[number] for gradient in gradients), wanted)


def test_jacrev(loss: Loss[...], torch_library: Library) -> None:
    """Of every row's loss: its columns add up to the gradient of the sum."""
    inputs = arrays(loss, torch_library)
    rows = torch.func.jacrev(lambda *a: torch.atleast_1d(loss(*a, **each(loss))), argnums=places(loss))(*inputs)
    gradients = torch.func.grad(lambda *a: loss(*a, **each(loss, "sum")), argnums=places(loss))(*inputs)
    torch.testing.assert_close(tuple(row.sum(dim=0) for row in rows), gradients)


def test_second_order(loss: Loss[...], torch_library: Library) -> None:
    """Backward over backward, and forward over backward of `plain`: the same Hessian."""
    first, *rest = arrays(loss, torch_library)
    hessian = torch.func.jacrev(torch.func.grad(lambda a: loss(a, *rest, **gentle(loss))))(first)
    wanted = torch.func.jacfwd(torch.func.grad(lambda a: loss.plain(a, *rest, **gentle(loss))))(first)
    torch.testing.assert_close(hessian, wanted, rtol=1e-9, atol=1e-10)


def test_forward_mode_is_refused(loss: Loss[...], torch_library: Library) -> None:
    first, *rest = arrays(loss, torch_library)
    with pytest.raises(NotImplementedError, match=rf"^{loss.name}: .* wanted anglos.{loss.name}.plain"):
        torch.func.jvp(lambda a: loss(a, *rest), (first,), (first,))
    with pytest.raises(NotImplementedError, match=rf"^{loss.name}: .* wanted anglos.{loss.name}.plain"):
        torch.func.hessian(lambda a: loss(a, *rest))(first)


def hard(loss: Loss[...], library: Library, batch: int) -> list[Any]:
    """Arrays of another batch size in float32, with a zero row, a long and a short one; and prototypes likewise."""
    random, (embeddings, weights, _) = np.random.default_rng(2), hard_embeddings()
    vectors = np.concatenate([embeddings[[6, 8, 7]], random.normal(size=(batch, DIMENSION))])[:batch]
    named = {"embeddings": vectors, "weights": weights, "logits": random.normal(size=(batch, CLASSES)),
             "labels": np.arange(batch) % 3}
    named |= {name: random.normal(size=(batch, DIMENSION)) for name in ("others", "more")}
    return [library.array(array.astype("float32") if array.dtype.kind == "f" else array)
            for array in made(loss, named)]


traced = pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning", "ignore::DeprecationWarning")
"""PyTorch warns of sizes that are compared, and of what it has made since."""


@traced
def test_a_trace_serves_other_numbers_and_sizes(loss: Loss[...], torch_library: Library) -> None:
    """Of torch.jit: no number of the batch that was traced is in it, nor a branch that it took; gradients too."""
    inputs = arrays(loss, torch_library, dtype="float32")
    graph = torch.jit.trace(lambda *a: loss(*a), tuple(inputs))
    for batch in (BATCH, 9, 1):
        given = hard(loss, torch_library, batch)
        torch.testing.assert_close(graph(*given), loss(*given), rtol=1e-5, atol=1e-6)
    others = arrays(loss, torch_library, seed=1, dtype="float32")
    for array in leaves(loss, others):
        array.requires_grad_()
    gradients = torch.autograd.grad(graph(*others), leaves(loss, others))
    torch.testing.assert_close(gradients, loss.value_and_grad(*others)[1], rtol=1e-4, atol=1e-5)


class Scores(torch.nn.Module):  # type: ignore[misc]
    """The logits of a head as a module."""

    def __init__(self, loss: Loss[...]) -> None:
        super().__init__()
        several = {"prototypes_per_class": 3} if has_several(loss) else {}
        self.head = Head(loss, CLASSES, DIMENSION, **several)

    def forward(self, embeddings: torch.Tensor) -> torch.Tensor:
        return self.head.logits(embeddings)


def assert_logits_agree(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Those of a long row to the digits of its largest: nearly square to a prototype it leaves few of x·w."""
    largest = wanted.abs().amax(1, keepdim=True)
    unit = torch.where(largest > 1e6, largest, 1.0)
    torch.testing.assert_close(found / unit, wanted / unit, rtol=1e-5, atol=1e-5)


@traced
def test_traced_logits(layer: Loss[...], torch_library: Library) -> None:
    scores = Scores(layer)
    graph = torch.jit.trace(scores, torch.randn(BATCH, DIMENSION))
    for batch in (BATCH, 9, 1):
        embeddings = hard(layer, torch_library, batch)[0]
        assert_logits_agree(graph(embeddings), scores(embeddings))


@traced
@pytest.mark.slow
def test_older_onnx_exporter(layer: Loss[...], torch_library: Library) -> None:
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    scores, file = Scores(layer), io.BytesIO()
    torch.onnx.export(scores, (torch.randn(BATCH, DIMENSION),), file, dynamo=False, input_names=["embeddings"],
                      dynamic_axes={"embeddings": {0: "B"}})
    session = runtime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    for batch in (BATCH, 9, 1):
        embeddings = hard(layer, torch_library, batch)[0]
        (found,) = session.run(None, {"embeddings": embeddings.numpy()})
        assert_logits_agree(torch.tensor(found), scores(embeddings).detach())


@pytest.mark.representatives(words=True)
@pytest.mark.slow
@pytest.mark.parametrize("pre_dispatch", [False, True])
def test_make_fx_of_a_value(loss: Loss[...], torch_library: Library, pre_dispatch: bool) -> None:
    """Which NumPy would compute: no number is read, and the graph can be differentiated."""
    inputs = arrays(loss, torch_library, dtype="float32")
    graph = make_fx(lambda *a: loss(*a), pre_dispatch=pre_dispatch)(*inputs)
    given = hard(loss, torch_library, BATCH)
    torch.testing.assert_close(graph(*given), loss(*given), rtol=1e-5, atol=1e-6)
    for array in leaves(loss, given):
        array.requires_grad_()
    graph(*given).backward()


@pytest.mark.representatives(words=True)
@pytest.mark.slow
def test_make_fx(loss: Loss[...], torch_library: Library) -> None:
    """A graph of bare operations, of the gradient too, that is right for other numbers."""
    inputs, others = (arrays(loss, torch_library, seed=seed) for seed in (0, 1))
    gradient = torch.func.grad_and_value(lambda *a: loss(*a), argnums=places(loss))
    graph = import_module("torch.fx.experimental.proxy_tensor").make_fx(gradient, tracing_mode="fake")(*inputs)
    torch.testing.assert_close(graph(*others), gradient(*others))


@pytest.mark.slow
def test_tensors_without_values(loss: Loss[...], torch_library: Library) -> None:
    """On the meta device, and as FakeTensors: shapes and types as of real ones."""
    inputs = arrays(loss, torch_library, dtype="float32")
    fake = import_module("torch._subclasses.fake_tensor").FakeTensorMode()

    def seen(inputs: list[Any]) -> list[Any]:
        tensors = [array.requires_grad_() for array in leaves(loss, inputs)]
        value, gradients = loss.value_and_grad(*inputs)
        found = [value, *gradients, loss(*inputs, **each(loss)), *torch.autograd.grad(loss(*inputs), tensors)]
        return [(one.shape, one.dtype) for one in found]

    wanted = seen(inputs)
    assert seen([array.detach().to("meta") for array in inputs]) == wanted
    without_values = [fake.from_tensor(array.detach()) for array in inputs]
    with fake:
        assert seen(without_values) == wanted


def test_inference_mode(loss: Loss[...], torch_library: Library) -> None:
    wanted = loss.value_and_grad(*arrays(loss, torch_library))
    with torch.inference_mode():
        inputs = arrays(loss, torch_library)
        assert all(array.is_inference() for array in inputs)
        torch.testing.assert_close((loss(*inputs), loss.plain(*inputs)), (wanted[0], wanted[0]))
        torch.testing.assert_close(loss.value_and_grad(*inputs), wanted)


def test_deterministic(loss: Loss[...], torch_library: Library, request: pytest.FixtureRequest) -> None:
    """Nothing that PyTorch knows to be of no fixed order, for which it would raise; and twice the same."""
    request.addfinalizer(lambda: torch.use_deterministic_algorithms(False))
    torch.use_deterministic_algorithms(True)
    single = loss.engine.SAMPLES_ARE_INDEPENDENT
    inputs = [array.repeat(4096, *[1] * (array.ndim - 1)) if single and not per_class(loss, name) else array
              for name, array in zip(loss.arrays, arrays(loss, torch_library), strict=True)]
    tensors = [array.requires_grad_() for array in leaves(loss, inputs)]
    first, second = (torch.autograd.grad(loss(*inputs), tensors) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.representatives(words=True)
@pytest.mark.slow
def test_export(loss: Loss[...], torch_library: Library) -> None:
    """For batches of any size."""
    class Module(torch.nn.Module):  # type: ignore[misc]
        def forward(self, *inputs: Any) -> Any:
            return loss(*inputs)

    inputs = arrays(loss, torch_library)
    sizes = tuple({} if per_class(loss, name) else {0: torch.export.Dim.DYNAMIC} for name in loss.arrays)
    exported = torch.export.export(Module(), tuple(inputs), dynamic_shapes=(sizes,)).module()
    for rows in (list(range(BATCH)) * 2, [5, 2, 3]):
        others = [array if per_class(loss, name) else array[rows]
                  for name, array in zip(loss.arrays, inputs, strict=True)]
        torch.testing.assert_close(exported(*others), loss(*others))
