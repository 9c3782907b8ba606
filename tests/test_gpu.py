"""What only a GPU can show: the rounding of its products, the same bits every time, and that nothing waits for it.

All that holds in any library runs there too: `torch-cuda`, `jax-gpu` and `cupy` in libraries.py.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import test_golden
import test_properties
from libraries import HAS_GPU, LIBRARIES, REHEARSED, Array, Library, as_on_a_gpu, library_of, parameters
from operations import NothingRead, watched
from samples import arrays, has_several, is_labels, leaves, made, rowwise, takes_labels

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of

SIZES = {"B": 128, "C": 2003, "D": 128}

# Of the loss and of its gradients, ‖got − wanted‖ / ‖wanted‖, for vectors as they are stored in a type: what was
# measured, a few times over (docs/performance.md). Of numbers of 16 bits the slopes are rounded to bfloat16, by up to
# 2⁻⁹ each, which weighs more where they cancel; no loss is.
BOUNDS = {"float32": (4e-6, 4e-6), "tf32": (2e-4, 2e-3), "bfloat16": (4e-6, 2**-7), "float16": (4e-6, 2**-7)}

CHOOSE = ("curricularface", "inter_topk", "mv_softmax")
"""Heads that choose classes by their cosines: of two that are closer than TF32 can tell, the gradient has a jump."""

GOLDEN_BOUNDS = {name: BOUNDS[name] for name in ("float32", "bfloat16", "float16")}


def stored(type_: str) -> str:
    return "float32" if type_ == "tf32" else type_


@contextmanager
def products_in(type_: str, library: Library) -> Iterator[None]:
    """TF32 where it is asked for; a rehearsal rounds the factors itself, to 10 bits after the first."""
    if type_ != "tf32":
        yield
    elif library.name == "jax":
        with import_module("jax").default_matmul_precision("tensorfloat32"):
            yield
    elif REHEARSED:
        with rounded_products(library, bits=10):
            yield
    else:
        torch: Any = import_module("torch")
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("high")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)


@contextmanager
def rounded_products(library: Library, bits: int) -> Iterator[None]:
    """Products of factors that keep so many bits after their first, as matrix units round them."""
    torch: Any = import_module("torch")
    backend: Any = backend_of(library.array(np.zeros(1)))
    product, dropped = backend.product, 23 - bits

    def rounded(a: Array) -> Array:
        if a.dtype != torch.float32:
            return a
        half, kept = 1 << (dropped - 1), -1 << dropped
        return ((a.contiguous().view(torch.int32) + half) & kept).view(torch.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "product", lambda a, b, out=None: product(rounded(a), rounded(b), out=out))
        yield


def on_a_gpu(test: Any) -> Any:
    """Marked as such, and skipped where there is none."""
    return pytest.mark.gpu(test if HAS_GPU else pytest.mark.skip(reason="no CUDA device")(test))


@pytest.fixture(params=parameters("torch-cuda", "jax-gpu", "cupy"))
def anywhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    return library_of(request.param, monkeypatch)


@pytest.fixture(params=parameters("torch-cuda"))
def tensors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    return library_of(request.param, monkeypatch)


def unit(vectors: np.ndarray) -> np.ndarray:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True))


@lru_cache(2)
def drawn(several: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples at 25° to 53° from their class, two of one class; lengths from 15 to 30, and of prototypes ½ to 2."""
    random, (batch, classes, dimension) = np.random.default_rng(0), SIZES.values()
    weights, labels = unit(random.standard_normal((classes, dimension))), random.integers(0, classes, batch)
    labels[1] = labels[0]
    cos, across = random.uniform(0.6, 0.9, (batch, 1)), random.standard_normal((batch, dimension))
    across = unit(across - weights[labels] * np.sum(weights[labels] * across, axis=1, keepdims=True))
    embeddings = (cos * weights[labels] + np.sqrt(1.0 - cos**2) * across) * random.uniform(15.0, 30.0, (batch, 1))
    if several:
        weights = np.stack([weights, *(unit(random.standard_normal(weights.shape)) for _ in range(2))], axis=1)
    return embeddings, weights * random.uniform(0.5, 2.0, (classes, *[1] * (weights.ndim - 1))), labels


def given(head: Loss[...], library: Library, dtype: str) -> list[Array]:
    return [library.array(array) if is_labels(head, name) else library.cast(library.array(array), dtype)
            for name, array in zip(head.arrays, drawn(has_several(head)), strict=True)]


def call(head: Loss[...], inputs: list[Array], **options: Any) -> list[Array]:
    """The sum, whose gradient no division makes small, and the gradients."""
    value, gradients = head.value_and_grad(*inputs, **rowwise(head), reduction="sum", **options)
    return [value, *gradients]


def errors(head: Loss[...], library: Library, dtype: str, **options: Any) -> list[float]:
    """‖got − wanted‖ / ‖wanted‖ of the value and of each gradient; wanted is float64's of the numbers as stored."""
    inputs = given(head, library, dtype)
    exact = call(head, [library.numpy(array) if is_labels(head, name) else library.numpy(array).astype("float64")
                        for name, array in zip(head.arrays, inputs, strict=True)], **options)
    found = [library.numpy(one).astype("float64") for one in call(head, inputs, **options)]
    return [float(np.linalg.norm(got - want) / np.linalg.norm(want)) for got, want in zip(found, exact, strict=True)]


PATHS = [(keep_bytes, width) for keep_bytes in (2**40, 0) for width in (None, 700)]


@contextmanager
def on_path(path: tuple[int, int | None], head: Loss[...], library: Library) -> Iterator[dict[str, Any]]:
    """The options of a call that keeps its logits or computes them again, in one tile or several."""
    keep_bytes, width = path
    with pytest.MonkeyPatch.context() as patch:
        if width:
            patch.setattr(backend_of(library.array(np.zeros(1))), "class_tile_width", lambda *_: width)
        yield {"keep_bytes": keep_bytes} if "keep_bytes" in head.defaults else {}


@on_a_gpu
@pytest.mark.parametrize("type_", BOUNDS)
def test_rounding_is_that_of_the_type(head: Loss[...], type_: str, anywhere: Library) -> None:
    """In value and gradient, kept and recomputed."""
    dtype = stored(type_)
    if dtype not in ("float32", *anywhere.low_precision) or (type_ == "tf32" and anywhere.name == "cupy"):
        pytest.skip("not in this library, or by a variable of the environment")
    bounds = np.asarray([BOUNDS[type_][0], *[BOUNDS[type_][1]] * len(leaves(head, [*head.arrays]))])
    if type_ == "tf32" and head.name in CHOOSE:
        bounds[1:] *= 10
    for path in PATHS:
        with on_path(path, head, anywhere) as options, products_in(type_, anywhere):
            found = errors(head, anywhere, dtype, **options)
        assert (found <= bounds).all(), (path, found)


def test_the_bounds_tell_types_apart(torch_library: Library) -> None:
    """Products of rounded factors are no float32's, and those of bfloat16 no TF32's."""
    for head in (anglos.arcface, anglos.sphereface2, anglos.linear_cross_entropy):
        for bits, within, beyond in ((10, "tf32", "float32"), (7, None, "tf32")):
            with rounded_products(torch_library, bits):
                loss, *gradients = errors(head, torch_library, "float32")
            assert loss > BOUNDS[beyond][0] or max(gradients) > BOUNDS[beyond][1]
            assert within is None or (loss <= BOUNDS[within][0] and max(gradients) <= BOUNDS[within][1])


@pytest.mark.parametrize("type_", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["linear_cross_entropy", "l2_softmax", "arcface"])
def test_no_loss_is_a_sum_of_rounded_terms(name: str, type_: str, torch_library: Library,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Where those that are kept are; always rehearsed."""
    as_on_a_gpu(torch_library, monkeypatch)
    assert errors(anglos.LOSSES[name], torch_library, type_, keep_bytes=2**40)[0] <= BOUNDS[type_][0]


@on_a_gpu
@pytest.mark.parametrize("type_", BOUNDS)
def test_three_runs_have_the_same_bits(head: Loss[...], type_: str, tensors: Library) -> None:
    """Two samples are of one class, whose gradient then is a sum in some order."""
    inputs = given(head, tensors, stored(type_))
    for path in PATHS:
        with on_path(path, head, tensors) as options, products_in(type_, tensors):
            first, *others = ([tensors.numpy(one) for one in call(head, inputs, **options)] for _ in range(3))
        for other in others:
            for got, want in zip(other, first, strict=True):
                np.testing.assert_array_equal(got, want, err_msg=str(path))


@on_a_gpu
def test_three_runs_of_pairs_have_the_same_bits(pair: Loss[...], tensors: Library) -> None:
    random = np.random.default_rng(0)
    embeddings, weights = (random.standard_normal((count, 64), np.float32) for count in (96, 20))
    named: dict[str, np.ndarray] = {"embeddings": embeddings, "weights": weights, "labels": random.integers(0, 20, 96)}
    inputs = [tensors.array(array) for array in made(pair, named)]
    first, *others = ([tensors.numpy(one) for one in (value, *gradients)] for value, gradients in
                      (pair.value_and_grad(*inputs) for _ in range(3)))
    for other in others:
        for got, want in zip(other, first, strict=True):
            np.testing.assert_array_equal(got, want)


@contextmanager
def waiting_refused() -> Iterator[None]:
    """By PyTorch's own word; a rehearsal goes by the operations."""
    if REHEARSED:
        with watched(NothingRead()):
            yield
        return
    cuda: Any = import_module("torch").cuda
    cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        cuda.set_sync_debug_mode("default")


@on_a_gpu
@pytest.mark.parametrize("type_", ["float64", "float32", "bfloat16"])
def test_a_step_waits_for_nothing(loss: Loss[...], type_: str, tensors: Library) -> None:
    """From the arguments to the gradients, by autograd and without it."""
    inputs = [array if is_labels(loss, name) else tensors.cast(array, type_)
              for name, array in zip(loss.arrays, arrays(loss, tensors), strict=True)]
    floats = [array.requires_grad_() for array in leaves(loss, inputs) if array.is_floating_point()]

    def step() -> None:
        for array in floats:
            array.grad = None
        loss(*inputs).backward()
        loss.value_and_grad(*inputs)

    step()  # kernels are compiled
    with waiting_refused():
        step()
    assert all(array.grad is not None for array in floats)


@on_a_gpu
@pytest.mark.parametrize("type_", ["float32", "bfloat16"])
def test_a_head_trains_without_waiting(type_: str, tensors: Library) -> None:
    """With its optimizer, and as parts of a network under autocast hand it their vectors."""
    torch: Any = import_module("torch")
    embeddings, _, labels = given(anglos.arcface, tensors, type_)
    head = import_module("anglos.backends.torch").Head(anglos.arcface, SIZES["C"], SIZES["D"]).to(embeddings.device)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.5)

    def step() -> Any:
        optimizer.zero_grad()
        value = head(embeddings, labels)
        value.backward()
        optimizer.step()
        return value.detach()

    first = step()
    with waiting_refused():
        others = [step() for _ in range(4)]
    assert float(others[-1]) < float(first)


@on_a_gpu
def test_waiting_is_noticed(tensors: Library) -> None:
    number = tensors.array(np.ones(()))
    for wait in (float, bool, lambda tensor: tensor.item(), lambda tensor: tensor.nonzero()):
        with pytest.raises((AssertionError, RuntimeError), match=r"wait|synchroniz"), waiting_refused():
            wait(number)


@on_a_gpu
@pytest.mark.parametrize("type_", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("case", test_golden.CASES, ids=lambda case: case["id"])
def test_golden_cases_as_they_are_stored(case: dict[str, Any], type_: str, tensors: Library) -> None:
    """Against float64, which test_golden.py holds to 13 digits, of the same rounded numbers."""
    loss, numpy = anglos.LOSSES[case["loss"]], LIBRARIES["numpy"]()
    named, options = test_golden.arguments(case, tensors)

    def as_stored(one: Any) -> Any:
        return tensors.cast(one, type_) if hasattr(one, "is_floating_point") and one.is_floating_point() else one

    def exact(one: Any) -> Any:
        array = tensors.numpy(one) if hasattr(one, "is_floating_point") else one
        return numpy.array(array.astype("float64") if array.dtype.kind == "f" else array) if hasattr(
            array, "dtype") else array

    named, options = [*map(as_stored, named)], {name: as_stored(value) for name, value in options.items()}
    wrt = tuple(case["grads"])
    value, gradients = loss.value_and_grad(*named, **options, wrt=wrt)
    wanted, others = loss.value_and_grad(*map(exact, named), wrt=wrt,
                                         **{name: exact(value) for name, value in options.items()})
    assert float(value) == pytest.approx(float(wanted), rel=GOLDEN_BOUNDS[type_][0])
    for got, want in zip(gradients, others, strict=True):
        error = np.linalg.norm(tensors.numpy(got).astype("float64") - want)
        assert error <= GOLDEN_BOUNDS[type_][1] * np.linalg.norm(want)


@on_a_gpu
def test_hard_inputs_in_tf32(loss: Loss[...], tensors: Library) -> None:
    with products_in("tf32", tensors):
        test_properties.test_hard_inputs_are_finite(loss, tensors)


@on_a_gpu
@pytest.mark.parametrize("type_", BOUNDS)
def test_hard_rows_spoil_no_others(head: Loss[...], type_: str, tensors: Library) -> None:
    """Zero, tiny and huge vectors are finite; a label out of range is NaN, and ignored is 0; the rest are as before."""
    if not takes_labels(head):
        pytest.skip("takes no labels")
    embeddings, weights, labels = (array.copy() for array in drawn(has_several(head)))
    classes, far = len(weights), (1e-3, 30.0) if type_ == "float16" else (1e-15, 1e15)
    unused = np.setdiff1d(np.arange(classes), labels)[:3]
    weights[unused] *= np.asarray([0.0, *far]).reshape(3, *[1] * (weights.ndim - 1))
    hard, spoilt = embeddings.copy(), labels.copy()
    hard[:3] *= np.asarray([[0.0], [far[0]], [far[1]]])
    spoilt[3:5] = -100, classes
    dtype, options = stored(type_), {**rowwise(head), "reduction": "none"}
    rows, slopes = [], []
    with products_in(type_, tensors):
        for x, y in ((embeddings, labels), (hard, spoilt), (hard, np.where(spoilt == classes, 0, spoilt))):
            value, gradients = head.value_and_grad(*(
                tensors.cast(tensors.array(x), dtype), tensors.cast(tensors.array(weights), dtype), tensors.array(y)),
                **options)
            rows.append(tensors.numpy(value))
            slopes.append([tensors.numpy(gradient) for gradient in gradients])
    assert np.flatnonzero(np.isnan(rows[1])).tolist() == [4]
    assert rows[1][3] == 0.0
    assert np.isfinite(np.delete(rows[1], 4)).all()
    for other in (rows[1], slopes[1][0], rows[2], slopes[2][0]):
        np.testing.assert_array_equal(other[5:], (rows if other.ndim == 1 else [one[0] for one in slopes])[0][5:])
    assert not slopes[2][0][3].any()
    # Sums over samples may leave float16; means, of test_hard_inputs_are_finite, do not.
    assert type_ == "float16" or all(np.isfinite(slope).all() for slope in slopes[2])
