"""What PyTorch does to a function, done to a loss."""

from importlib import import_module
from typing import Any

import pytest
from libraries import Library
from samples import (
    BATCH,
    CLASSES,
    arrays,
    float_arrays,
    gentle,
    hard_embeddings,
    has_several,
    leaves,
    made,
    per_class,
    rowwise,
    takes_labels,
)

import anglos
from anglos import Loss

torch: Any = import_module("torch")
adapter: Any = import_module("anglos.backends.torch")


def float32_inputs(loss: Loss[...], library: Library) -> tuple[list[Any], list[Any]]:
    inputs = arrays(loss, library, dtype="float32")
    return inputs, [array.requires_grad_() for array in leaves(loss, inputs)]


def test_what_is_imported_late_is_listed() -> None:
    assert sorted(adapter.__all__) == dir(adapter)


def test_a_default_goes_by_the_number_of_classes_of_this_call(head: Loss[...], torch_library: Library) -> None:
    embeddings, weights, labels = arrays(head, torch_library)
    for prototypes in (weights, torch.cat([weights, -weights]), weights):
        inputs = [embeddings, prototypes, labels]
        floats = [array.requires_grad_() for array in leaves(head, inputs)]
        got, wanted = (torch.autograd.grad(value, floats) for value in (head(*inputs), head.plain(*inputs)))
        torch.testing.assert_close(head(*inputs), head.plain(*inputs), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)


def test_autocast_leaves_the_arithmetic_alone(loss: Loss[...], torch_library: Library) -> None:
    """Loss in float32, gradients in the inputs' types, both as without autocast."""
    inputs, tensors = float32_inputs(loss, torch_library)
    value = loss(*inputs)
    wanted = torch.autograd.grad(value, tensors)
    with torch.autocast("cpu", torch.bfloat16):
        cast, plain = loss(*inputs), loss.plain(*inputs)
        explicit, gradients = loss.value_and_grad(*inputs)
        inside = torch.autograd.grad(loss(*inputs), tensors)
    for one in (cast, plain, explicit):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, value)
    for got in (torch.autograd.grad(cast, tensors), gradients, inside):
        torch.testing.assert_close(got, wanted)


def test_mixed_types_as_autocast_makes_them(head: Loss[...], torch_library: Library,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 embeddings from the backbone, float32 weights in the head."""
    monkeypatch.setattr(adapter.backend, "small", 0)  # NumPy, which computes small calls, rounds in other places
    embeddings, weights, labels = arrays(head, torch_library, dtype="float32")
    low = embeddings.to(torch.bfloat16).requires_grad_()
    weights.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        loss = head(low, weights, labels)
    d_low, d_weights = torch.autograd.grad(loss, [low, weights])
    assert (loss.dtype, d_low.dtype, d_weights.dtype) == (torch.float32, torch.bfloat16, torch.float32)
    rounded = low.detach().float().requires_grad_()
    wanted = torch.autograd.grad(head(rounded, weights, labels), [rounded, weights])
    torch.testing.assert_close(d_low, wanted[0].to(torch.bfloat16), rtol=0, atol=0)
    torch.testing.assert_close(d_weights, wanted[1], rtol=0, atol=0)


@pytest.mark.parametrize("keep_bytes", [0, 2**28])
def test_what_is_saved(head: Loss[...], keep_bytes: int) -> None:
    """One array of the size of the logits, or none."""
    if "keep_bytes" not in head.defaults:
        pytest.skip("keeps nothing")
    saved: list[int] = []
    batch, classes, dimension = 32, 5000, 8
    embeddings = torch.randn(batch, dimension, requires_grad=True)
    weights = torch.randn(classes, dimension, requires_grad=True)

    def pack(tensor: Any) -> Any:
        saved.append(tensor.numel())
        return tensor

    if has_several(head):
        weights = weights.reshape(classes // 2, 2, dimension)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        head(embeddings, weights, torch.arange(batch), keep_bytes=keep_bytes)
    kept = classes * batch if keep_bytes else 0
    assert max(saved) == max(classes * dimension, kept)
    assert sum(saved) < classes * dimension + 20 * batch * dimension + kept


def test_nothing_of_the_size_of_all_pairs_is_saved(pair: Loss[...]) -> None:
    saved: list[int] = []
    batch, dimension = 512, 8
    floats = [torch.randn(batch, dimension, requires_grad=True) for _ in float_arrays(pair)]
    labels = [torch.arange(batch) // 2] if takes_labels(pair) or "targets" in pair.arrays else []

    def pack(tensor: Any) -> Any:
        saved.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        pair(*floats, *labels, **({"keep_bytes": 0} if "keep_bytes" in pair.defaults else {}))
    assert max(saved) == batch * dimension
    assert sum(saved) < 5 * batch * dimension


def test_frozen_inputs_get_no_gradient(head: Loss[...], torch_library: Library) -> None:
    for frozen in ("embeddings", "weights"):
        inputs = arrays(head, torch_library)
        leaves = {name: array for name, array in zip(head.arrays, inputs, strict=True) if name != "labels"}
        for name, leaf in leaves.items():
            leaf.requires_grad_(name != frozen)
        head(*inputs).backward()
        assert leaves.pop(frozen).grad is None
        assert all(leaf.grad is not None for leaf in leaves.values())


def test_checkpoint_unpacks_a_tensor_once(loss: Loss[...], torch_library: Library) -> None:
    inputs, tensors = float32_inputs(loss, torch_library)
    wanted = torch.autograd.grad(loss(*inputs), tensors)
    value = import_module("torch.utils.checkpoint").checkpoint(loss, *inputs, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(value, tensors), wanted)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_autograd_at_hard_inputs(head: Loss[...], torch_library: Library, dtype: str,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """What autograd gives there is finite, and what value_and_grad gives."""
    named = dict(zip(("embeddings", "weights", "labels"), hard_embeddings(), strict=True))
    inputs = [torch_library.array(array) for array in made(head, named)]
    inputs = [array.to(getattr(torch, dtype)).requires_grad_() if array.is_floating_point() else array
              for array in inputs]
    for got in torch.autograd.grad(head(*inputs), inputs[:2]):
        assert torch.isfinite(got).all()
    monkeypatch.setattr(adapter.backend, "small", 0)  # NumPy, which computes small calls, rounds in other places
    _, gradients = head.value_and_grad(*inputs)
    for got, want in zip(torch.autograd.grad(head(*inputs), inputs[:2]), gradients, strict=True):
        assert torch.isfinite(got).all()
        torch.testing.assert_close(got, want, rtol=1e-6, atol=0)


def test_a_second_backward_is_the_same(loss: Loss[...], torch_library: Library) -> None:
    inputs, tensors = float32_inputs(loss, torch_library)
    value = loss(*inputs)
    first = torch.autograd.grad(value, tensors, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(value, tensors), first, rtol=0, atol=0)


def test_func_transforms(single: Loss[...], torch_library: Library) -> None:
    """torch.func.grad, and one gradient per sample by vmap."""
    loss = single
    inputs, tensors = float32_inputs(loss, torch_library)
    wanted = torch.autograd.grad(loss(*inputs, **rowwise(loss)), tensors)
    detached = [array.detach() for array in inputs]
    places = tuple(range(len(tensors)))
    torch.testing.assert_close(torch.func.grad(lambda *a: loss(*a, **rowwise(loss)), argnums=places)(*detached), wanted)

    def of_one(first: Any, *rest: Any) -> Any:
        one = (array if per_class(loss, name) else array[None]
               for name, array in zip(loss.arrays[1:], rest, strict=True))
        return loss(first[None], *one, **rowwise(loss))

    per_sample = [None if per_class(loss, name) else 0 for name in loss.arrays]
    gradients = torch.func.vmap(torch.func.grad(of_one), in_dims=tuple(per_sample))(*detached)
    torch.testing.assert_close(gradients / len(gradients), wanted[0], rtol=2e-5, atol=1e-6)


def test_forward_mode_through_plain(loss: Loss[...], torch_library: Library) -> None:
    inputs = arrays(loss, torch_library)
    (direction, *_) = arrays(loss, torch_library, seed=1)
    _, (gradient, *_) = loss.value_and_grad(*inputs, **gentle(loss))
    _, slope = torch.func.jvp(lambda first: loss.plain(first, *inputs[1:], **gentle(loss)), (inputs[0],), (direction,))
    torch.testing.assert_close(slope, (gradient * direction).sum(), rtol=1e-11, atol=1e-12)


def test_value_and_grad_records_nothing(loss: Loss[...], torch_library: Library) -> None:
    inputs, _ = float32_inputs(loss, torch_library)
    value, gradients = loss.value_and_grad(*inputs)
    assert not any(result.requires_grad for result in (value, *gradients))


COMPILES = pytest.mark.skipif(torch.__version__ < (2, 12), reason="torch.compile takes a loss from PyTorch 2.12 on")


@COMPILES
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
@pytest.mark.parametrize("width", [None, 40])
def test_compiled_in_one_graph(width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if width:
        monkeypatch.setattr(adapter.backend, "class_tile_width", lambda *_: width)
    weights, labels = torch.randn(100, 8, dtype=torch.float64), torch.arange(6)
    embeddings = torch.randn(6, 8, dtype=torch.float64, requires_grad=True)
    wanted = torch.autograd.grad(anglos.arcface(embeddings, weights, labels), embeddings)
    compiled = torch.compile(lambda x: anglos.arcface(x, weights, labels), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(embeddings), embeddings), wanted)


def test_small_calls_share_no_memory_with_their_result(single: Loss[...], torch_library: Library) -> None:
    inputs, tensors = float32_inputs(single, torch_library)
    wanted = torch.autograd.grad(single(*inputs, reduction="none"), tensors, torch.ones(BATCH))
    rows = single(*inputs, reduction="none")
    rows.detach().zero_()
    torch.testing.assert_close(torch.autograd.grad(rows, tensors, torch.ones(BATCH)), wanted, rtol=1e-4, atol=1e-6)


def test_what_is_kept_is_what_hooks_keep(single: Loss[...], torch_library: Library, monkeypatch: pytest.MonkeyPatch
                                         ) -> None:
    """Hooks that keep copies, as for offloading: changing an input afterwards changes no gradient."""
    monkeypatch.setattr(adapter.backend, "small", 0)
    inputs, tensors = float32_inputs(single, torch_library)
    wanted = torch.autograd.grad(single(*inputs), tensors)
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor.clone(), lambda tensor: tensor):
        value = single(*inputs)
    with torch.no_grad():
        for tensor in tensors:
            tensor.mul_(2.0)
    torch.testing.assert_close(torch.autograd.grad(value, tensors), wanted, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("width", [CLASSES, 2])
def test_many_gradients_at_once(width: int, torch_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter.backend, "class_tile_width", lambda *_: width)
    inputs = arrays(anglos.arcface, torch_library)
    tensors = [array.requires_grad_() for array in leaves(anglos.arcface, inputs)]
    rows = anglos.arcface(*inputs, reduction="none")
    each = torch.eye(BATCH, dtype=torch.float64)
    batched = torch.autograd.grad(rows, tensors, each, is_grads_batched=True, retain_graph=True)
    for number in range(BATCH):
        one_by_one = torch.autograd.grad(rows[number], tensors, retain_graph=True)
        torch.testing.assert_close([gradient[number] for gradient in batched], list(one_by_one))


@pytest.mark.filterwarnings("ignore::UserWarning")  # of layouts that may change
def test_tensors_that_are_no_arrays_of_numbers(torch_library: Library) -> None:
    """Each is refused by what it is and what it should be, after a dense one of the same shape and type too."""
    x, w, y = arrays(anglos.arcface, torch_library, dtype="float32")
    anglos.arcface(x, w, y)
    rows = [x[:2], x[2:3]]
    for weights, message in (
            (w.to_sparse(), r"was a tensor of torch\.sparse_coo; wanted a dense one: to_dense\(\)"),
            (w.to_sparse_csr(), r"was a tensor of torch\.sparse_csr; wanted a dense one: to_dense\(\)"),
            (w.to_mkldnn(), r"was a tensor of torch\._mkldnn; wanted a dense one: to_dense\(\)"),
            (w.to(torch.complex64), r"was of dtype torch\.complex64; wanted an array of real floating dtype .*"),
            (w.to(torch.float8_e4m3fn), r"was a tensor of torch\.float8_e4m3fn; wanted one of a type that .*float\(\)"),
            (torch.nested.nested_tensor(rows), r"was a nested tensor; wanted a dense tensor: to_padded_tensor\(\), .*"),
            (torch.nested.nested_tensor(rows, layout=torch.jagged),
             r"was a .*NestedTensor; wanted a dense tensor: to_padded_tensor\(\), or values\(\) of a jagged one"),
            (torch.nn.UninitializedParameter(), r"was a .*UninitializedParameter; wanted it with a shape: .*"),
            (torch.float32, r"was a torch\.dtype; wanted an array of .*"), (w.shape, r"was a torch\.Size; wanted .*")):
        with pytest.raises(TypeError, match=rf"^arcface: weights {message}$"):
            anglos.arcface(x, weights, y)


def test_tensors_of_other_types(torch_library: Library) -> None:
    x, w, y = arrays(anglos.arcface, torch_library)
    value = anglos.arcface(x, w, y)
    for kind in (torch.nn.Buffer, type("Own", (torch.nn.Parameter,), {}), lambda one: torch._neg_view(-one)):
        weights = kind(w)
        torch.testing.assert_close(anglos.arcface(x, weights, y), value, check_dtype=False)
    assert anglos.arcface(x.to("meta"), w.to("meta"), y.to("meta")).is_meta


@COMPILES
def test_a_size_that_may_change_as_a_scale(torch_library: Library) -> None:
    """Exported without a look at the Python code, where it is a SymInt; and compiled again for another integer."""
    x, w, y = arrays(anglos.arcface, torch_library)

    class Module(torch.nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, w: Any, y: Any) -> Any:
            return anglos.arcface(x, w, y, scale=x.shape[0])

    batch = torch.export.Dim("batch", min=2, max=100)
    for strict in (False, True):
        shapes = {0: batch}, None, {0: batch}
        exported = torch.export.export(Module(), (x, w, y), dynamic_shapes=shapes, strict=strict)
        torch.testing.assert_close(exported.module()(x[:4], w, y[:4]), anglos.arcface(x[:4], w, y[:4], scale=4))
