"""CuPy's backend, and its kernels' own text, on a processor: `host_cupy` stands in for CuPy."""

import re
from collections.abc import Iterator
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
from anglos.arrays.dispatch import backend_of

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
