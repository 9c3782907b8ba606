"""The kernels of the prototypes' gradient in Triton's interpreter, against float64: `test_triton.py` runs this."""

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

blocks: Any = importlib.import_module("anglos.backends.torch.triton.blocks")
lengths: Any = importlib.import_module("anglos.backends.torch.triton.lengths_of_rows")
pullback: Any = importlib.import_module("anglos.backends.torch.triton.weights_pullback")
short_rows: Any = importlib.import_module("anglos.backends.torch.triton.short_rows")

SIZES = [(77, 21, 24), (5, 40, 130), (1, 1, 1), (130, 3, 40)]
"""Classes, samples, and the length of a vector: no multiples of a block."""

# A GPU does not warn, as the NumPy of the interpreter does.
pytestmark = pytest.mark.filterwarnings("ignore:All-NaN slice encountered:RuntimeWarning")

WAYS = {"half, bfloat16": torch.bfloat16, "half, float16": torch.float16, "half, of float32": torch.float32,
        "tf32": torch.float32, "ieee": torch.float32, "ieee, bfloat16": torch.bfloat16}
"""How products are made, and of prototypes of which type: the interpreter makes all of them in float32."""

LEAST = 1e8 * float(np.finfo(np.float32).smallest_normal)
"""What near_rows counts as nothing."""


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, torch.dtype]:
    return request.param.partition(",")[0], WAYS[request.param]


each_kernel = pytest.mark.parametrize("way", ["half, of float32", "ieee"], indirect=True)


@pytest.fixture(params=SIZES, ids=str)
def size(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def unwarned() -> Iterator[None]:
    """Of infinities, for the same reason."""
    with np.errstate(all="ignore"):
        yield


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are several of them, and of columns too; of a row of 130, which is beyond the longest, as well."""
    monkeypatch.setattr(pullback, "LONGEST", 128)
    monkeypatch.setattr(pullback, "STRIP", 16)
    monkeypatch.setattr(pullback, "processors", lambda _: 1)
    monkeypatch.setattr(pullback, "ALIGNED", 1)
    monkeypatch.setattr(pullback, "rows_of_pass", lambda _: (4, 16))
    monkeypatch.setattr(lengths, "rows_of_pass", lambda _: (4, 16))
    monkeypatch.setattr(pullback, "block_of", lambda _, d: (blocks.Block(16, 16, 16, 4, 2), 32 if d <= 32 else 64))


def product(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """As the library makes it: float32 sums."""
    return torch.mm(a.float(), b.float(), out=out)


def terms(size: Any, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Slopes and samples, which are of the type of the product unless that is float32, and prototypes."""
    classes, samples, dimension = size
    given = dtype if dtype is torch.bfloat16 else torch.float32
    prototypes = (torch.randn(classes, dimension) * torch.rand(classes, 1).add(0.1)).to(dtype)
    return torch.rand(classes, samples).to(given), torch.randn(samples, dimension), prototypes


def numpy(tensor: torch.Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    return tensor.double().numpy()


def assert_projected(found: torch.Tensor, slopes: torch.Tensor, samples: torch.Tensor, w: torch.Tensor,
                     after: torch.Tensor | None, way: str) -> None:
    """(v − ŵ (ŵ·v)) · after, to the digits of what is multiplied and stored beside the largest number of v · after.

    The interpreter cuts bfloat16 off, and does not round.
    """
    v, direction = numpy(slopes) @ numpy(samples), numpy(w)
    last = 1.0 if after is None else numpy(after)
    length = np.linalg.norm(direction, axis=1, keepdims=True)
    direction = np.divide(direction, length, out=np.zeros_like(direction), where=length != 0.0)
    expected = (v - direction * (direction * v).sum(axis=1, keepdims=True)) * last
    digits = {torch.bfloat16: 2.0**-7, torch.float16: 2.0**-10}.get(found.dtype, 2e-6)
    limit = (max(digits, 2.0**-6) if way == "half" else digits) * np.abs(v * last).max(axis=1, keepdims=True)
    errors = np.abs(numpy(found) - expected)
    assert (errors <= limit + 2.0**-149).all(), (errors / limit).max()


@pytest.mark.parametrize(("size", "after"), [(SIZES[0], False), *((size, True) for size in SIZES)], ids=str)
def test_products_past_their_directions(size: Any, way: Any, after: bool) -> None:
    slopes, samples, w = terms(size, way[1])
    inverse = (1.0 / torch.linalg.vector_norm(w, dim=1, keepdim=True, dtype=torch.float64)).float()
    last = torch.rand(size[0], 1) + 0.5 if after else None
    found = pullback.direction_pullback(product, slopes, samples, w, inverse, last, way[0], None)
    assert found.dtype is torch.float32
    assert_projected(found, slopes, samples, w, last, way[0])


@pytest.mark.parametrize(("processors", "aligned", "by_one_kernel"), [(5, 1, True), (6, 1, False), (5, 2, False)])
def test_one_kernel_does_it_where_it_is_fast(processors: int, aligned: int, by_one_kernel: bool, way: Any,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """77 prototypes, 16 to a program, are work for five; and rows of 21 slopes begin anywhere."""
    monkeypatch.setattr(pullback, "processors", lambda _: processors)
    monkeypatch.setattr(pullback, "ALIGNED", aligned)
    slopes, samples, w = terms(SIZES[0], way[1])
    inverse, made = 1.0 / w.float().norm(dim=1, keepdim=True), []

    def watched(*factors: Any, **named: Any) -> torch.Tensor:
        made.append(factors)
        return product(*factors, **named)

    found = pullback.direction_pullback(watched, slopes, samples, w, inverse, None, way[0], None)
    assert (made == []) == (by_one_kernel and way[0] != "ieee")
    assert_projected(found, slopes, samples, w, None, way[0])


@each_kernel
def test_directions_that_are_of_length_one(size: Any, way: Any) -> None:
    """There is no factor, and the length comes after; into an array that is a part of another."""
    slopes, samples, w = terms(size, torch.float32)
    unit, last, whole = w / w.norm(dim=1, keepdim=True), torch.rand(size[0], 1), torch.full((2 * size[0], size[2]), 7.0)
    found = pullback.direction_pullback(product, slopes, samples, unit, None, last, way[0], whole[size[0]:])
    assert found.data_ptr() == whole[size[0]:].data_ptr()
    assert (whole[:size[0]] == 7.0).all()
    assert_projected(found, slopes, samples, w, last, way[0])


def test_what_is_along_the_prototype_is_gone(way: Any) -> None:
    """To the digits of the sums, whatever the operands were rounded to: the projection is of the sums themselves."""
    slopes, samples, w = terms(SIZES[0], torch.float32)
    inverse = 1.0 / w.norm(dim=1, keepdim=True)
    found = numpy(pullback.direction_pullback(product, slopes, samples, w, inverse, None, way[0], None))
    along = (numpy(w * inverse) * found).sum(axis=1)
    assert np.abs(along).max() < 1e-6 * np.linalg.norm(found, axis=1).max()


@each_kernel
@pytest.mark.parametrize("size", [0.0, 1e-29, 1e-15, 1e15, 1e30, 3e38])
def test_prototypes_of_any_size(size: float, way: Any) -> None:
    """Their factor is 0 where they have no direction."""
    slopes, samples, w = terms(SIZES[0], torch.float32)
    w[7] = torch.rand(24) * size
    inverse = lengths.inverses(w, LEAST)
    found = pullback.direction_pullback(product, slopes, samples, w, inverse, inverse, way[0], None)
    assert_projected(found, slopes, samples, w, inverse, way[0])


@each_kernel
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_prototypes_that_are_not_numbers(value: float, way: Any) -> None:
    """One of them leaves the others as they are."""
    slopes, samples, w = terms(SIZES[0], torch.float32)
    w[7, 3] = value
    inverse, others = lengths.inverses(w, LEAST), torch.arange(len(w)) != 7
    found = pullback.direction_pullback(product, slopes, samples, w, inverse, inverse, way[0], None)
    assert found[7].isnan().all()
    assert_projected(found[others], slopes[others], samples, w[others], inverse[others], way[0])


def test_samples_that_are_not_numbers_are_seen(way: Any) -> None:
    slopes, samples, w = terms(SIZES[0], way[1])
    samples[3, 5] = math.nan
    found = pullback.direction_pullback(product, slopes, samples, w, torch.ones(len(w), 1), None, way[0], None)
    assert found.isnan().all()


def test_arrays_whose_rows_are_not_dense(way: Any) -> None:
    slopes, samples, w = terms(SIZES[0], way[1])
    inverse = torch.rand(len(w), 1)
    dense = pullback.direction_pullback(product, slopes, samples, w, inverse, None, way[0], None)
    wide = torch.cat((slopes, slopes), dim=1)[:, :slopes.shape[1]], torch.cat((samples, samples), dim=1)[:, :24]
    strided = pullback.direction_pullback(product, *wide, w.T.contiguous().T, inverse, None, way[0], None)
    assert torch.equal(dense, strided)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(21, 40), (3, 7), (1, 1), (5, 16)], ids=str)
def test_lengths(shape: tuple[int, int], dtype: torch.dtype) -> None:
    w = torch.randn(shape).to(dtype)
    expected = 1.0 / np.linalg.norm(numpy(w), axis=1, keepdims=True)
    np.testing.assert_allclose(numpy(lengths.inverses(w, LEAST)), expected, rtol=3e-7)


def test_lengths_of_several_prototypes_of_a_class() -> None:
    w = torch.randn(5, 3, 40)
    found = lengths.inverses(w.transpose(0, 1), LEAST)
    torch.testing.assert_close(found, 1.0 / w.transpose(0, 1).norm(dim=-1, keepdim=True), rtol=3e-7, atol=0.0)


RANGE = [0.0, LEAST / 4, LEAST * 4, 1e-25, 1e-19, 1e-10, 1.0, 1e10, 1e19, 1e30, 1e37, 3e38]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", RANGE)
def test_lengths_of_any_size(size: float, dtype: torch.dtype) -> None:
    """Also of rows whose numbers differ so much that some have no square beside the others', in either order."""
    w = (torch.rand(6, 40) * 0.5 + 0.5).mul(size).to(dtype)
    w[1, 1:], w[2, :-1], w[3] = 0.0, 0.0, (w[3] / 40.0).cumsum(0)
    w[4, ::2], w[5, 1::2] = w[4, ::2] * 1e-9, w[5, 1::2] * 1e-20
    largest = numpy(w.abs().amax(dim=1, keepdim=True))
    expected = np.where(largest > LEAST, 1.0 / np.linalg.norm(numpy(w), axis=1, keepdims=True), 0.0)
    # 1 / 1e38 is a number with few digits.
    np.testing.assert_allclose(numpy(lengths.inverses(w, LEAST)), expected, rtol=3e-7, atol=2.0**-149)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 17, 39])
def test_lengths_that_are_not_numbers_stay(value: float, place: int) -> None:
    w = torch.randn(6, 40)
    w[2, place], w[3, :], w[3, place], w[4, :] = value, 0.0, value, value
    found = lengths.inverses(w, LEAST)
    assert found[2:5].isnan().all()
    assert found[[0, 1, 5]].isfinite().all()


@pytest.mark.parametrize("short", [(), (7,), (3, 76)], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_what_short_rows_add(short: tuple[int, ...], dtype: torch.dtype) -> None:
    slopes, _, w = terms(SIZES[0], dtype)
    factor = torch.ones(len(w), 1)
    for row in short:
        w[row], factor[row] = w[row] * 1e-20, 1e12
    made = product(slopes.T, w)
    found = short_rows.with_short_rows(made.clone(), slopes, w, factor)
    np.testing.assert_allclose(numpy(found), numpy(slopes).T @ (numpy(w) * numpy(factor)), atol=2e-5)
    assert short or torch.equal(found, made)
