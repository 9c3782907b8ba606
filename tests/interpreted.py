"""The kernels in Triton's interpreter, against the same in float64: `test_triton.py` runs this."""

import importlib
import math
from typing import Any

import pytest
import torch

from anglos.arrays.dispatch import backend_of
from anglos.arrays.tile import Map, Product
from anglos.engines.sums import Binary, Squares

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of what is infinite

curricularface: Any = importlib.import_module("anglos.losses.curricularface")
sphereface2: Any = importlib.import_module("anglos.losses.sphereface2")
blocks: Any = importlib.import_module("anglos.backends.torch.triton.blocks")
arguments: Any = importlib.import_module("anglos.backends.torch.triton.arguments")
rest: Any = importlib.import_module("anglos.backends.torch.triton.rest")
BACKEND: Any = backend_of(torch.zeros(1))

SIZES = [(21, 77, 24), (5, 3, 40), (1, 1, 1)]
"""Samples, classes, and the length of a vector: no multiples of a block."""

WAYS = {"half, bfloat16": torch.bfloat16, "half, float16": torch.float16,
        "tf32": torch.float32, "tf32x3": torch.float32, "ieee": torch.float32}
"""How products are made: the interpreter makes all of them in float32."""

each_kernel = pytest.mark.parametrize("way", ["half, bfloat16", "ieee"], indirect=True)


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> tuple[str, torch.dtype]:
    return request.param.partition(",")[0], WAYS[request.param]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are several of them, and of columns too."""
    monkeypatch.setattr(blocks, "of_terms", lambda *_: blocks.Block(16, 32, 16, 4, 2))
    monkeypatch.setattr(blocks, "IN_PLACE", blocks.Block(16, 32, 1, 4, 1))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))


def product_of(size: tuple[int, int, int], dtype: torch.dtype, **given: Any) -> Product:
    """With labels out of range on either side; of a tile that begins with class 2."""
    samples, classes, dimension = size
    some: Any = {
        "prototypes": torch.randn(classes, dimension), "points": torch.randn(samples, dimension), "scale": 1.25,
        "sample_factor": torch.rand(samples) + 0.5, "class_factor": torch.rand(classes, 1) * 0.2 + 0.1, "bias": None,
        "labels": torch.randint(-2, classes + 4, (samples,)), "first": 2, **given}
    return Product(**some)._replace(prototypes=some["prototypes"].to(dtype), points=some["points"].to(dtype))


def tile_of(product: Product, dtype: torch.dtype | None = torch.float32) -> Any:
    """With room for terms of a type; what is not written there stays NaN."""
    shape = len(product.prototypes), len(product.points)
    kept = None if dtype is None else torch.full(shape, math.nan, dtype=dtype)
    return BACKEND.tile_of(None, product.labels, product.first, kept=kept, scratch=kept, product=product)


def composed(product: Product) -> Any:
    """The same in float64, of which no kernel is made: by operations of the library."""
    wide: Any = (part.double() if isinstance(part, torch.Tensor) and part.is_floating_point() else part
                 for part in product)
    return tile_of(Product(*wide), torch.float64)


def assert_near(found: torch.Tensor, expected: torch.Tensor, least: float = 1e-30) -> None:
    """To the digits of float32 sums, or of what is stored: the interpreter cuts bfloat16 off, and does not round."""
    relative = 2.0**-7 if found.dtype is torch.bfloat16 else 3e-6
    torch.testing.assert_close(found.double(), expected, rtol=relative, atol=least, equal_nan=True)


@pytest.mark.parametrize("stored", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_terms_by_a_given_shift(size: Any, way: Any, stored: torch.dtype) -> None:
    product, shift = product_of(size, way[1]), torch.rand(size[0])
    agree(product, way[0], shift, stored)
    agree(product, way[0], shift, None)


@each_kernel
@pytest.mark.parametrize("stored", [None, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_terms_by_the_largest_logit(size: Any, way: Any, stored: torch.dtype | None) -> None:
    """The lowest finite number where there is none but the label's class."""
    product = product_of(size, way[1])
    product = product._replace(labels=torch.full_like(product.labels, 2)) if size[1] == 1 else product
    agree(product, way[0], None, stored)


def agree(product: Product, way: str, given: torch.Tensor | None, stored: torch.dtype | None = torch.float32,
          least: float = 1e-30) -> None:
    """The shift, the sum, and the terms if they are stored: with those of the composition by the same shift."""
    tile, reference = tile_of(product, stored), composed(product)
    shift, total = rest.rest_terms(tile, way, given)
    if given is None:
        largest, _ = BACKEND.rest_terms(composed(product))
        finite = torch.isfinite(largest)  # else the sum is NaN, whatever the shift
        lowest = torch.finfo(torch.float32).min
        torch.testing.assert_close(shift[finite].double(), largest[finite].clamp(min=lowest), rtol=3e-6, atol=3e-6)
    else:
        assert shift is given
    _, expected = BACKEND.rest_terms(reference, shift.double())
    assert_near(total, expected)
    if stored is not None:
        assert_near(tile.kept, reference.kept, least)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_shares_are_at_most_one(size: Any, way: Any) -> None:
    """Though the total be less than a logit."""
    product, total = product_of(size, way[1]), torch.rand(size[0])
    expected = BACKEND.rest_shares(composed(product), total.double())
    assert (expected == product.class_factor).any() or size[1] == 1
    tile, is_half = tile_of(product), way[0] == "half"
    shares = rest.rest_shares(tile, way[0], total)
    assert (shares is tile.scratch) == (not is_half)
    assert shares.dtype is (torch.bfloat16 if is_half else torch.float32)
    assert_near(shares, expected)
    assert_near(rest.rest_shares(tile._replace(scratch=None), way[0], total), expected)


TERMS = {"softplus": Binary.term, "half square": Squares.term}


@each_kernel
@pytest.mark.parametrize("stored", [None, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sums_of_terms(size: Any, term: str, way: Any, stored: torch.dtype | None) -> None:
    """With the slopes of them, if these are stored."""
    agree_in_sums(product_of(size, way[1]), way[0], TERMS[term], stored)


def agree_in_sums(product: Product, way: str, term: Any, stored: torch.dtype | None = torch.float32) -> None:
    """The sum, and the slopes: with those of the composition."""
    tile, reference = tile_of(product, stored), composed(product)
    assert_near(rest.rest_sums(tile, way, term.name), BACKEND.rest_sums(reference, term))
    if stored is not None:
        assert_near(tile.kept, reference.kept, least_of(term) if product.map is None else LEAST_OF_SUM)


LEAST_OF_SUM = 3e-7
"""Of a slope that may be nearer to 0 than the digits of what it is the sum of."""


def least_of(term: Any) -> float:
    return LEAST_OF_SUM if term is Squares.term else 1e-30


@each_kernel
@pytest.mark.parametrize("factor", [None, 0.75, torch.tensor(0.75), torch.linspace(0.5, 2.0, 21)], ids=str)
@pytest.mark.parametrize("term", TERMS)
def test_slopes_of_terms(term: str, factor: Any, way: Any) -> None:
    product = product_of(SIZES[0], way[1])
    expected = BACKEND.rest_slopes(composed(product), TERMS[term], factor)
    assert (expected == 0.0).sum() == ((product.labels >= 2) & (product.labels < 2 + 77)).sum() > 0
    assert_near(rest.rest_slopes(tile_of(product), way[0], TERMS[term].name, factor), expected,
                least_of(TERMS[term]))
    assert_near(rest.rest_slopes(tile_of(product, None), way[0], TERMS[term].name, factor), expected,
                least_of(TERMS[term]))


@each_kernel
@pytest.mark.parametrize("bias", [-80.0, -20.0, 20.0, 200.0])
def test_softplus_keeps_its_digits(bias: float, way: Any) -> None:
    """Where e^−|z| is nothing to 1, and where it is nothing at all."""
    agree_in_sums(product_of(SIZES[0], way[1], bias=bias), way[0], TERMS["softplus"])


FORMS: dict[str, dict[str, Any]] = {
    "numbers": {"scale": 0.25, "sample_factor": None, "class_factor": None, "bias": -0.75},
    "arrays of a number": {"scale": torch.tensor(1.5), "bias": torch.tensor([-0.75])},
    "factors of samples": {"class_factor": None, "sample_factor": torch.linspace(0.0, 0.4, 21)},
    "factors of classes": {"scale": torch.tensor([0.75]), "sample_factor": None},
    "a bias of every class": {"bias": torch.linspace(-2.0, 2.0, 77)[:, None], "first": 0},
    "several classes of a number": {"numbers": torch.arange(77) // 3, "first": 0},
    "an excluded class": {"bias": torch.where(torch.arange(77) == 40, -math.inf, 0.0)[:, None]},
}


@each_kernel
@pytest.mark.parametrize("form", FORMS)
def test_factors_and_biases(form: str, way: Any) -> None:
    """None, numbers, arrays of one number, and one of every class."""
    product = product_of(SIZES[0], way[1], **FORMS[form])
    agree(product, way[0], torch.zeros(SIZES[0][0]))
    agree(product, way[0], None)
    agree_in_sums(product, way[0], TERMS["softplus"])


@each_kernel
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("certain", [False, True], ids=["by the largest", "certain shift"])
def test_both_ways(size: Any, certain: bool, way: Any) -> None:
    """Of samples over classes, and of classes over samples; and slopes of both as one."""
    product = product_of(size, way[1])
    shifts = [torch.full((many,), 2.0) if certain else None for many in size[:2]]
    found = rest.terms_both_ways(tile_of(product), way[0], *shifts)
    wanted = BACKEND.terms_both_ways(composed(product), *[None if one is None else one.double() for one in shifts])
    for (shift, total), (of_reference, expected) in zip(found, wanted, strict=True):
        assert_near(total.double() * (shift.double() - of_reference).exp(), expected)
    by = [torch.rand(many) + offset for many in size[:2] for offset in (1.0, -0.25)]
    assert_near(rest.shares_both_ways(tile_of(product), way[0], *by), BACKEND.shares_both_ways(
        composed(product), *[one.double() for one in by]), LEAST_OF_SUM)


MAPS = {
    "power": Map("power", (2.5, 0.375), lambda backend, cos: sphereface2._rest(
        backend, cos, None, variant="C", margin=0.375, t=2.5)),
    "above a threshold": Map("above a threshold", (torch.tensor(0.25), torch.linspace(-0.5, 0.5, SIZES[0][0])),
                             lambda backend, cos: curricularface._rest(
                                 backend, cos, torch.linspace(-0.5, 0.5, SIZES[0][0]), t=0.25))}


@each_kernel
@pytest.mark.parametrize("of", MAPS)
def test_functions_of_cosines(of: str, way: Any) -> None:
    """Beyond ±1 too; their slopes multiply all that is kept, or returned."""
    product = product_of(SIZES[0], way[1], bias=-0.75, map=MAPS[of])
    reference = composed(product)
    agree(product, way[0], torch.zeros(SIZES[0][0]), least=LEAST_OF_SUM)
    agree(product, way[0], None, least=LEAST_OF_SUM)
    agree_in_sums(product, way[0], TERMS["softplus"])
    total = torch.full((SIZES[0][0],), 0.5)
    assert_near(rest.rest_shares(tile_of(product), way[0], total), BACKEND.rest_shares(reference, total.double()),
                LEAST_OF_SUM)
    assert_near(rest.rest_slopes(tile_of(product), way[0], "softplus", 0.75),
                BACKEND.rest_slopes(reference, TERMS["softplus"], 0.75), LEAST_OF_SUM)


HARD = {"zero": (0.0, 0.0), "infinite": (math.inf, 1.0), "not a number": (math.nan, 1.0),
        "endless factor": (1.0, math.inf)}
"""What a vector consists of, and 1 over its length."""


@each_kernel
@pytest.mark.parametrize("hard", HARD)
def test_hard_vectors(hard: str, way: Any) -> None:
    """Of a class, which all samples meet, and of a sample: as the composition has it, number by number."""
    value, factor = HARD[hard]
    for of_class in (True, False):
        product = product_of(SIZES[0], way[1])
        (product.prototypes if of_class else product.points)[7, :] = value
        (product.class_factor if of_class else product.sample_factor)[7] = factor  # type: ignore[index]
        agree(product, way[0], torch.zeros(SIZES[0][0]))
        agree(product, way[0], None)
        for term in TERMS.values():
            agree_in_sums(product, way[0], term)
        total, tile = torch.full((SIZES[0][0],), 3.0), tile_of(product)
        assert_near(rest.rest_shares(tile, way[0], total), BACKEND.rest_shares(composed(product), total.double()))


@each_kernel
def test_arrays_whose_rows_are_not_dense(way: Any) -> None:
    """Slices of wider arrays, transposed ones, and rows of others to put the terms in."""
    product, shift = product_of(SIZES[0], way[1]), torch.zeros(SIZES[0][0])
    dense, wide = tile_of(product), torch.cat((product.points, product.points), dim=1)
    whole = torch.full((2 * 77, 21), math.nan)
    strided = product._replace(points=wide[:, :24], prototypes=product.prototypes.T.contiguous().T)
    rest.rest_terms(dense, way[0], shift)
    rest.rest_terms(tile_of(strided)._replace(kept=whole[77:], scratch=whole[77:]), way[0], shift)
    assert torch.equal(whole[77:], dense.kept)
    assert whole[:77].isnan().all()


def test_rows_begin_where_a_kernel_reads_many_numbers_at_a_time() -> None:
    for vectors in (torch.randn(5, 7), torch.randn(32, 3).T, torch.randn(5, 48)[:, :33]):
        found = arguments.aligned(vectors)
        assert torch.equal(found, vectors)
        assert found.stride(1) == 1
        assert found.stride(0) % 16 == 0
        assert (found is vectors) == (vectors.stride() == (48, 1))
