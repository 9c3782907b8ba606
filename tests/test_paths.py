"""What the other tests say holds on every path through the tiles, not only on the one that small arrays take."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import test_golden
import test_gradients
import test_properties
from libraries import LIBRARIES, Library, library_of, parameters
from samples import arrays, leaves
from test_golden import CASES

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of
from anglos.call.plan import kept_plan

TILED = [loss for loss in anglos.LOSSES.values() if "keep_bytes" in loss.defaults]
PATHS = {"recomputed": (0, None), "kept, several tiles": (2**40, 2), "recomputed, several tiles": (0, 2)}


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Other defaults; and with several tiles the form of a tile for vectors longer than the batch."""
    keep_bytes, width = PATHS[request.param]
    for loss in TILED:
        monkeypatch.setitem(loss.defaults, "keep_bytes", keep_bytes)
    kept_plan.cache_clear()  # for calls before, which had the default
    monkeypatch.setattr(backend_of(LIBRARIES["torch"]().array(np.zeros(1))), "small", 0)
    for name in ("numpy", "torch", "jax") if width else ():
        backend: Any = backend_of(LIBRARIES[name]().array(np.zeros(1)))
        monkeypatch.setattr(backend, "class_tile_width", lambda *_: width)
        monkeypatch.setattr(backend, "makes_unit", lambda *_: False)
    yield
    kept_plan.cache_clear()


@pytest.fixture(params=parameters("numpy", "torch", "torch-cuda"))
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    """Those that change arrays in place: the paths of the others are those of `test_tiles_of_any_width`."""
    return library_of(request.param, monkeypatch)


@pytest.fixture(params=parameters("torch", "torch-cuda"))
def torch_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    return library_of(request.param, monkeypatch)


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("case", [case for case in CASES if anglos.LOSSES[case["loss"]] in TILED],
                         ids=lambda case: case["id"])
def test_golden_numbers(case: dict[str, Any], library: Library) -> None:
    test_golden.test_golden(case, library)


@pytest.mark.usefixtures("path")
def test_hard_inputs(kept: Loss[...], library: Library) -> None:
    test_properties.test_hard_inputs_are_finite(kept, library)


@pytest.mark.usefixtures("path")
def test_low_precision(head: Loss[...], library: Library) -> None:
    test_properties.test_low_precision_is_computed_in_float32(head, library)


@pytest.mark.representatives(words=True)
@pytest.mark.usefixtures("path")
def test_derivatives(kept: Loss[...], torch_library: Library) -> None:
    """Of first and second order."""
    test_gradients.test_value_and_grad_is_autodiff_of_plain(kept, torch_library)
    test_gradients.test_gradient_penalty_is_that_of_autodiff(kept, torch_library)


@pytest.mark.usefixtures("path")
def test_a_second_backward_pass_finds_what_was_kept(kept: Loss[...], torch_library: Library) -> None:
    inputs = arrays(kept, torch_library)
    floats = [array.requires_grad_() for array in leaves(kept, inputs)]
    value = kept(*inputs)
    value.backward(retain_graph=True)
    once = [array.grad.clone() for array in floats]
    value.backward()
    for array, gradient in zip(floats, once, strict=True):
        np.testing.assert_array_equal(torch_library.numpy(array.grad), 2.0 * torch_library.numpy(gradient))


@pytest.mark.slow
@pytest.mark.representatives
@pytest.mark.parametrize("width", [None, 2])
@pytest.mark.parametrize("name", ["numpy", "torch", "jax"])
def test_gradient_products_in_bfloat16(kept: Loss[...], name: str, width: int | None, monkeypatch: pytest.MonkeyPatch
                                       ) -> None:
    """The loss stays as it is; the gradient is rounded, where the library has the type, and no worse than that."""
    library = LIBRARIES[name]()
    inputs = arrays(kept, library, dtype="float32")
    backend: Any = backend_of(inputs[0])
    if name == "torch":
        monkeypatch.setattr(backend, "small", 0)
    if width:
        monkeypatch.setattr(backend, "class_tile_width", lambda *_: width)
    wanted, wanted_gradients = kept.value_and_grad(*inputs)
    value, gradients = kept.value_and_grad(*inputs, gradient_products="bfloat16")
    assert float(value) == float(wanted)
    for gradient, want in zip(gradients, map(library.numpy, wanted_gradients), strict=True):
        error = np.abs(library.numpy(gradient) - want).max()
        # Both factors and, in PyTorch, the sums of up to three tiles are rounded by 2⁻⁹; terms may cancel.
        assert error <= 2**-5 * np.abs(want).max()
        assert (error > 0) == (name != "numpy")


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_rounded_products_leave_the_labels_class_exact(name: str) -> None:
    """Near its prototype most of x̂ and ŵ_y cancels in a row's gradient: rounded, they would leave nothing of it."""
    random, library, angle = np.random.default_rng(0), LIBRARIES[name](), 1e-2
    weights, labels = random.normal(size=(500, 64)), random.integers(0, 500, 64)
    own = weights[labels] / np.linalg.norm(weights[labels], axis=1, keepdims=True)
    across = random.normal(size=own.shape)
    across -= own * np.sum(own * across, axis=1, keepdims=True)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    inputs = [library.array(one) for one in ((own + angle * across).astype("float32"), weights.astype("float32"),
                                             labels)]
    wanted = anglos.arcface.value_and_grad(*inputs)[1]
    gradients = anglos.arcface.value_and_grad(*inputs, gradient_products="bfloat16")[1]
    for gradient, want in zip(map(library.numpy, gradients), map(library.numpy, wanted), strict=True):
        error = np.abs(gradient - want).max()
        assert 0 < error <= 2**-7 * np.abs(want).max()


@pytest.mark.parametrize("keep_bytes", [0, 2**40])
def test_short_rows_have_finite_gradients(keep_bytes: int, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 / |x| is large, and so may be one over what is kept: their product is not formed."""
    random = np.random.default_rng(0)
    inputs = [library.array(one) for one in ((1e-29 * random.normal(size=(6, 4))).astype("float32"),
                                             random.normal(size=(120, 4)).astype("float32"), np.arange(6))]
    monkeypatch.setattr(backend_of(inputs[0]), "class_tile_width", lambda *_: 30)
    _, (gradient, _) = anglos.arcface.value_and_grad(*inputs, keep_bytes=keep_bytes, sample_weight=library.array(
        np.full(6, 1e5, "float32")), reduction="sum")
    assert np.isfinite(library.numpy(gradient)).all()
    assert np.abs(library.numpy(gradient)).max() > 1e30


@pytest.mark.parametrize("name", ["linear_cross_entropy", "sphereface2", "p2sgrad"])
def test_sums_over_many_classes_keep_their_digits(name: str, library: Library) -> None:
    """Added one by one, 100,000 terms would lose five of float32's seven digits."""
    random, loss = np.random.default_rng(0), anglos.LOSSES[name]
    named = random.normal(size=(8, 8)), random.normal(size=(100_000, 8)), random.integers(0, 100_000, 8)
    exact = [array.astype("float32").astype("float64") if array.dtype.kind == "f" else array for array in named]
    inputs = [array.astype("float32") if array.dtype.kind == "f" else array for array in exact]
    wanted = loss.value_and_grad(*exact)[0]
    assert abs(float(loss.value_and_grad(*map(library.array, inputs))[0]) / wanted - 1.0) < 16 * 2.0**-24


def test_threads_change_nothing(tiled: Loss[...], numpy: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = pytest.importorskip("threadpoolctl").threadpool_limits
    inputs = arrays(tiled, numpy)
    for name in ("tile_width", "class_tile_width"):
        monkeypatch.setattr(backend_of(inputs[0]), name, lambda *_: 1)
    results = []
    for threads in (1, 3):
        with limits(threads, "blas"):
            results.append(tiled.value_and_grad(*inputs))
    (value, gradients), (other, other_gradients) = results
    np.testing.assert_allclose(other, value, rtol=1e-14)
    for got, want in zip(other_gradients, gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("largest", [0.0, 60.0, 200.0, 1e4, 1e30])
def test_one_shift_for_all_tiles_is_left_when_sums_leave_their_range(largest: float, library: Library,
                                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 1,000 classes the pilots are every third: here the largest logit, and the smallest, are of others."""
    weights = np.zeros((1000, 2), "float32")
    weights[:, 0] = np.linspace(-1.0, 1.0, 1000)
    weights[1, 0] = largest
    embeddings, labels = np.asarray([[1.0, 0.0], [-1.0, 0.0]], "float32"), np.asarray([7, 8])
    inputs = [library.array(array) for array in (embeddings, weights, labels)]
    wanted = anglos.linear_cross_entropy.value_and_grad(*inputs)
    monkeypatch.setattr(backend_of(inputs[0]), "class_tile_width", lambda *_: 100)
    for keep_bytes in (0, 2**40):
        value, gradients = anglos.linear_cross_entropy.value_and_grad(*inputs, keep_bytes=keep_bytes)
        assert float(value) == pytest.approx(float(wanted[0]), rel=1e-6)
        for got, want in zip(gradients, wanted[1], strict=True):
            np.testing.assert_allclose(library.numpy(got), library.numpy(want), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("size", [1e-25, 1e-20, 1e18, 1e30])
def test_lengths_that_cannot_be_seen(size: float, torch_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where W is not looked at before it takes the place of W / |W|."""
    library, random = torch_library, np.random.default_rng(0)
    embeddings, weights = random.normal(size=(2, 8)), random.normal(size=(20, 8))
    labels = library.array(np.asarray([3, 17]))
    loss: Loss[...] = anglos.arcface
    _, wanted = loss.value_and_grad(*map(library.array, (embeddings, weights)), labels)
    inputs = [library.array(array.astype("float32")) for array in (embeddings, weights * size)]
    monkeypatch.setattr(backend_of(labels), "readable", lambda array: False)
    monkeypatch.setattr(backend_of(labels), "class_tile_width", lambda *_: 7)
    _, gradients = loss.value_and_grad(*inputs, labels)
    for got, want, factor in zip(gradients, wanted, (1.0, size), strict=True):
        want = library.numpy(want)
        np.testing.assert_allclose(library.numpy(got).astype("float64") * factor, want, rtol=0,
                                   atol=2e-5 * np.abs(want).max())


def test_an_option_without_axes_is_an_array(numpy: Library) -> None:
    """Of 1 / margin NumPy makes a number, which all the same has a slope."""
    inputs, (low, high) = arrays(anglos.sphereface_r, numpy), (1.5 - 1e-6, 1.5 + 1e-6)
    _, (slope,) = anglos.sphereface_r.value_and_grad(*inputs, variant="v2", margin=np.asarray(1.5), wrt=("margin",))
    above, below = (anglos.sphereface_r(*inputs, variant="v2", margin=margin) for margin in (high, low))
    assert float(slope) == pytest.approx(float(above - below) / (high - low), rel=1e-6)
