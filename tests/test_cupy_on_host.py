"""CuPy's backend, and its kernels' own text, on a processor: `host_cupy` stands in for CuPy."""

import math
import re
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import host_cupy
import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import array_options, arrays, fitting, float_arrays, other_options

from anglos import Loss
from anglos.__main__ import main
from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of
from anglos.arrays.library import largest_finite
from anglos.arrays.tile import Product

pytestmark = pytest.mark.slow


@pytest.fixture
def cupy() -> Iterator[Any]:
    pytest.importorskip("cupy", reason="CuPy is not installed")
    with host_cupy.in_place_of_cupy() as cupy:
        host_cupy.WAITS.clear()
        yield cupy


@pytest.fixture
def library(cupy: Any) -> Library:
    return LIBRARIES["cupy"]()


@pytest.fixture
def backend(cupy: Any) -> Any:
    return import_module("anglos.backends.cupy").backend


def test_the_stand_in_refuses_what_cupy_refuses(cupy: Any) -> None:
    array = cupy.asarray(np.arange(3.0))
    for refused in (lambda: np.asarray(array), lambda: array + np.ones(3), lambda: np.ones(3) * array,
                    lambda: cupy.where(array > 1.0, np.ones(3), array), lambda: np.exp(array),
                    lambda: cupy.ElementwiseKernel("T x, T y", "T out", "out = x + y", "sum")(
                        array, array.astype("float32"), array)):
        with pytest.raises(TypeError):
            refused()
    assert not host_cupy.WAITS
    assert float(array[1]) == 1.0
    assert len(array[array > 1.0]) == 1
    assert host_cupy.WAITS == ["float", "a mask"]


@pytest.mark.parametrize("keep_bytes", [0, 1 << 20])
@pytest.mark.parametrize("width", [None, 2])
def test_losses_as_numpy_has_them(loss: Loss[...], library: Library, numpy: Library, keep_bytes: int, width: int | None,
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    """With every choice; and nothing waits for the GPU."""
    inputs, same = arrays(loss, library), arrays(loss, numpy)
    if width is not None:
        for name in ("tile_width", "class_tile_width"):
            monkeypatch.setattr(backend_of(inputs[0]), name, lambda *_: width)
    keep = {"keep_bytes": keep_bytes} if "keep_bytes" in loss.defaults else {}
    as_arrays = {name: np.asarray(values[0]) for name, values in array_options(loss).items()}
    for options in [{}, as_arrays, *other_options(loss)]:
        wrt = (*float_arrays(loss), *(as_arrays if options is as_arrays else ()))
        host_cupy.WAITS.clear()
        value, gradients = loss.value_and_grad(*fitting(inputs, options), wrt=wrt, **keep, **{
            name: library.array(option) if isinstance(option, np.ndarray) else option
            for name, option in options.items()})
        assert not host_cupy.WAITS
        wanted, wanted_gradients = loss.value_and_grad(*fitting(same, options), wrt=wrt, **keep, **options)
        np.testing.assert_allclose(library.numpy(value), wanted, rtol=1e-13)
        for got, want in zip(gradients, wanted_gradients, strict=True):
            np.testing.assert_allclose(library.numpy(got), want, rtol=1e-11, atol=1e-13)


def product_of(random: np.random.Generator, classes: int, samples: int, *, first: int, of_each: int = 0,
               **factors: Any) -> Product:
    """In float64, with a label of every kind: in the tile, beside it, and none."""
    shapes: dict[str, tuple[int, ...]] = {"one": (), "samples": (samples,), "classes": (classes, 1)}

    def drawn(kind: Any) -> Any:
        return random.uniform(0.5, 2.0, shapes[kind]) if isinstance(kind, str) else kind

    labels = random.integers(first - 3, first + classes + 3, samples)
    labels[:1], labels[1:2] = first, -100
    s, a, u, b = (drawn(factors.get(name)) for name in "saub")
    numbers = np.arange(classes) // of_each if of_each else None
    return Product(random.normal(size=(classes, 5)), random.normal(size=(samples, 5)), s, a, u, b, labels, first,
                   numbers=numbers)


def of(backend: Any, product: Product, library: Library, dtype: str) -> Product:
    """The same in a library and a type."""
    return Product(*(library.array(np.asarray(part, dtype if part.dtype.kind == "f" else None))
                     if isinstance(part, np.ndarray) else part for part in product))


CASES: dict[str, dict[str, Any]] = {
    "plain": {"s": 2.0, "first": 0},
    "normalised": {"s": 4.0, "u": "classes", "first": 0},
    "of samples": {"s": 2.0, "a": "samples", "u": "classes", "b": -1.5, "first": 7},
    "arrays of one": {"s": "one", "b": "one", "first": 7},
    "classes of a number": {"s": 2.0, "b": "classes", "first": 0, "of_each": 3},
    "class bias": {"s": 1.0, "a": "samples", "b": "classes", "first": 1},
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("classes", "samples"), [(1, 1), (3, 5), (32, 32), (33, 128), (70, 129), (131, 40)])
@pytest.mark.parametrize("case", CASES)
def test_the_softmax_kernel(case: str, classes: int, samples: int, dtype: str, backend: Any, library: Library) -> None:
    """Against what it replaces, in float64: sizes that are no multiple of a block; terms kept or not."""
    random = np.random.default_rng(classes * samples)
    plain, product = Backend("numpy", np), product_of(random, classes, samples, **CASES[case])
    here, eps = of(backend, product, library, dtype), float(np.finfo(dtype).eps)
    largest = np.abs(plain.logits(plain.tile_of(None, product.labels, product=product))).max()
    close = partial(np.testing.assert_allclose, rtol=16 * eps * (1.0 + largest), atol=np.finfo(dtype).tiny)
    for shift in (None, random.normal(size=samples)):
        kept = np.empty((classes, samples))
        wanted_shift, wanted = plain.rest_terms(
            plain.tile_of(None, product.labels, product.first, kept=kept, product=product), shift)
        wanted_shift = np.maximum(wanted_shift, -largest_finite(np, np.dtype(dtype)))
        for keeps in (False, True):
            room = backend.scratch(here.points, classes, samples) if keeps else None
            got_shift, total = backend.rest_terms(
                backend.tile_of(None, here.labels, here.first, kept=room, product=here),
                None if shift is None else library.array(shift.astype(dtype)))
            np.testing.assert_allclose(library.numpy(got_shift), wanted_shift, rtol=4 * eps, atol=8 * eps * largest)
            close(library.numpy(total), wanted)
            if keeps:
                close(library.numpy(room), kept)
    total = random.normal(size=samples) - 3.0  # less than some logits: shares are clipped
    shares = plain.rest_shares(plain.tile_of(None, product.labels, product.first, product=product), total)
    got = backend.rest_shares(backend.tile_of(None, here.labels, here.first, product=here),
                              library.array(total.astype(dtype)))
    close(library.numpy(got), shares)
    if product.class_factor is None:
        assert (library.numpy(got) <= 1.0).all()


@pytest.mark.parametrize("hard", [0.0, math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_the_softmax_kernel_of_hard_numbers(hard: float, backend: Any, library: Library) -> None:
    random = np.random.default_rng(0)
    plain = Backend("numpy", np)
    product = product_of(random, 37, 6, **CASES["of samples"])
    for place in ((product.prototypes, 2), (product.points, 3)):
        place[0][place[1]] = hard
    here, numbers = of(backend, product, library, "float64"), random.normal(size=6)
    with np.errstate(all="ignore"):
        for shift in (None, numbers):
            wanted = plain.rest_terms(plain.tile_of(None, product.labels, product.first, product=product), shift)
            got = backend.rest_terms(backend.tile_of(None, here.labels, here.first, product=here),
                                     None if shift is None else library.array(shift))
            for one, other in zip(got, wanted, strict=True):
                np.testing.assert_allclose(library.numpy(one), other, rtol=1e-12)
        shares = plain.rest_shares(plain.tile_of(None, product.labels, product.first, product=product), numbers)
        got = backend.rest_shares(backend.tile_of(None, here.labels, here.first, product=here), library.array(numbers))
    np.testing.assert_allclose(library.numpy(got), shares, rtol=1e-12)


def test_the_kernel_writes_nothing_beside_its_terms(backend: Any, library: Library) -> None:
    product = of(backend, product_of(np.random.default_rng(0), 37, 6, **CASES["normalised"]), library, "float64")
    room = library.array(np.full((41, 6), 7.0))
    backend.rest_terms(backend.tile_of(None, product.labels, 0, kept=room[2:39], product=product))
    assert (library.numpy(room)[[0, 1, 39, 40]] == 7.0).all()
    assert (library.numpy(room)[2:39] != 7.0).all()
    untouched = room.copy()
    backend.rest_terms(backend.tile_of(None, product.labels, 0, product=product))
    np.testing.assert_array_equal(library.numpy(untouched), library.numpy(room))


def test_products_of_float16_keep_their_sums(cupy: Any, backend: Any, library: Library) -> None:
    """However the operands lie, and in a given array."""
    random = np.random.default_rng(0)
    a, b = (random.normal(size=shape).astype("float16") for shape in ((7, 40), (40, 5)))
    wanted = a.astype("float64") @ b.astype("float64")
    left, right = ([library.array(one), library.array(np.ascontiguousarray(one.T)).T,
                    library.array(np.repeat(one, 2, axis=1))[:, ::2]] for one in (a, b))
    for one in left:
        for other in right:
            out = cupy.empty((7, 5), np.float32)
            for got in (backend.product(one, other), backend.product(one, other, out=out), out):
                assert got.dtype == np.float32
                np.testing.assert_allclose(library.numpy(got), wanted, rtol=1e-5, atol=1e-5)
    assert not library.numpy(backend.product(left[0][:, :0], right[0][:0])).any()


def test_the_softmax_of_float16_loses_nothing(backend: Any, library: Library) -> None:
    """Against the same numbers in float64; what is not multiplied is float32."""
    plain, whole = Backend("numpy", np), product_of(np.random.default_rng(0), 37, 6, **CASES["normalised"])
    w, x = (array.astype("float16") for array in whole[:2])
    product = whole._replace(prototypes=w.astype("float64"), points=x.astype("float64"))
    here = of(backend, whole, library, "float32")._replace(prototypes=library.array(w), points=library.array(x))
    assert backend.multiplies_as_is(here.prototypes, here.points)
    wanted = plain.rest_terms(plain.tile_of(None, product.labels, product=product))
    got = backend.rest_terms(backend.tile_of(None, here.labels, product=here))
    for one, other in zip(got, wanted, strict=True):
        np.testing.assert_allclose(library.numpy(one), other, rtol=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_lengths_take_one_read(dtype: str, backend: Any, library: Library) -> None:
    """Of rows whose squares would overflow or vanish too; what is nearly nothing has none."""
    rows = np.random.default_rng(0).normal(size=(6, 40))
    rows[1:4] *= np.asarray((1e3, 1e-4, 0.0) if dtype == "float16" else (1e30, 1e-28, 1e-33))[:, None]
    rows[4, 3], rows[5, 3] = math.inf, math.nan
    rows = rows.astype(dtype)
    got = library.numpy(backend.inverse_lengths(library.array(rows)))
    assert got.dtype == np.float32
    assert got.shape == (6, 1)
    np.testing.assert_allclose(got[:3, 0], 1.0 / np.linalg.norm(rows[:3].astype("float64"), axis=1), rtol=1e-6)
    assert got[3, 0] == 0.0
    with np.errstate(invalid="ignore"):
        assert np.isnan(rows.astype("float64") * got).any(axis=1).tolist() == [False] * 4 + [True] * 2
    assert backend.inverse_lengths(library.array(rows.astype("float64"))) is None


@pytest.mark.parametrize("keep_bytes", [0, 1 << 20])
@pytest.mark.parametrize("width", [None, 2])
def test_float16_is_multiplied_as_it_is(head: Loss[...], library: Library, numpy: Library, keep_bytes: int,
                                        width: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values are float32's; gradients, and the slopes that they are made of, are off by a rounding of float16."""
    inputs, same = arrays(head, library, dtype="float16"), arrays(head, numpy, dtype="float16")
    if width is not None:
        monkeypatch.setattr(backend_of(inputs[0]), "class_tile_width", lambda *_: width)
    keep = {"keep_bytes": keep_bytes} if "keep_bytes" in head.defaults else {}
    value, gradients = head.value_and_grad(*inputs, reduction="none", **keep)
    wanted, wanted_gradients = head.value_and_grad(*[
        array.astype("float64") if array.dtype == np.float16 else array for array in same], reduction="none")
    np.testing.assert_allclose(library.numpy(value), wanted, rtol=2e-5, atol=1e-6)
    for got, want in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(library.numpy(got), want, rtol=2.0**-9, atol=2.0**-9 * np.abs(want).max())


def test_slopes_keep_the_range_of_float32(backend: Any, library: Library) -> None:
    """And the digits of float16."""
    random = np.random.default_rng(0)
    slopes = (1e-20 * random.normal(size=(7, 40))).astype("float32")
    points = random.normal(size=(40, 5)).astype("float16")
    wanted = slopes.astype("float64") @ points.astype("float64")
    got = library.numpy(backend.slope_product(library.array(slopes), library.array(points), np.float16))
    assert got.dtype == np.float32
    error = np.linalg.norm(got - wanted) / np.linalg.norm(wanted)
    assert 1e-5 < error < 2.0**-10


@pytest.mark.parametrize("trailing", [(), (4,), (3, 4)])
def test_rows_are_added_in_their_order(trailing: tuple[int, ...], backend: Any, library: Library) -> None:
    """Of samples with one label too; the same sums every time, whatever order the threads have."""
    random = np.random.default_rng(0)
    labels = np.asarray([9, 5, 5, -100, 8, 5, 4, 12, 2**62, 9])
    values, whole = random.normal(size=(10, *trailing)), random.normal(size=(6, *trailing))
    wanted = whole.copy()
    inside = (labels >= 5) & (labels < 11)
    np.add.at(wanted, labels[inside] - 5, values[inside])
    got = backend.add_at_labels(library.array(labels), 5, library.array(whole), library.array(values))
    np.testing.assert_allclose(library.numpy(got), wanted, rtol=1e-15)
    nothing = backend.add_at_labels(library.array(labels[:0]), 5, library.array(whole), library.array(values[:0]))
    np.testing.assert_array_equal(library.numpy(nothing), whole)


def test_the_demo_learns(cupy: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And waits for the GPU where it says how it goes: at the end of an epoch, and of the training."""
    main(["demo", "--backend=cupy", "--loss=arcface", "--epochs=3", f"--out={tmp_path / 'demo.png'}"])
    accuracy = re.search(r"arcface .* ([0-9.]+)%", capsys.readouterr().out)
    assert accuracy is not None
    assert float(accuracy.group(1)) > 60.0
    assert 3 <= len(host_cupy.WAITS) <= 6
