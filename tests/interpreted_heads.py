"""Losses by the kernels in Triton's interpreter, through the whole engine: `test_triton.py` runs this."""

import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_properties
import torch
from conftest import KINDS
from libraries import LIBRARIES
from operations import as_on_cuda
from samples import CLASSES, arrays, fitting, leaves, other_options

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of
from anglos.call.plan import kept_plan

blocks: Any = importlib.import_module("anglos.backends.torch.triton.blocks")
choice: Any = importlib.import_module("anglos.backends.torch.triton.choice")
labels: Any = importlib.import_module("anglos.backends.torch.triton.labels")
lengths: Any = importlib.import_module("anglos.backends.torch.triton.lengths_of_rows")
pullback: Any = importlib.import_module("anglos.backends.torch.triton.weights_pullback")
turned: Any = importlib.import_module("anglos.backends.torch.triton.turned")
rest: Any = importlib.import_module("anglos.backends.torch.triton.rest")
BACKEND: Any = backend_of(torch.zeros(1))


@pytest.fixture(autouse=True)
def launches(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The adapter believes that a GPU computes; which way products are made, launch by launch."""
    made, seen = rest.Terms.made, []

    def watched(terms: Any, *given: Any, **named: Any) -> Any:
        seen.append(terms.way)
        with np.errstate(all="ignore"):  # a device says nothing
            return made(terms, *given, **named)

    monkeypatch.setattr(rest.Terms, "made", watched)
    monkeypatch.setattr(blocks, "of_terms", lambda *_: blocks.Block(16, 16, 16, 4, 2))
    monkeypatch.setattr(choice, "capability_of", lambda _: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))
    monkeypatch.setattr(pullback, "processors", lambda _: 1)
    monkeypatch.setattr(pullback, "ALIGNED", 1)
    with as_on_cuda(), pytest.MonkeyPatch.context() as inside:
        inside.setenv("ANGLOS_TRITON", "1")
        yield seen


@pytest.fixture(autouse=True)
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of rows, and of the prototypes' gradient, too."""
    for module, name in ((lengths, "inverses"), (lengths, "units"), (lengths, "scaled"), (labels, "label_directions"),
                         (turned, "turned"), (pullback, "unit_pullback"), (pullback, "direction_pullback")):
        monkeypatch.setattr(module, name, unwarned(getattr(module, name)))


def unwarned(function: Callable[..., Any]) -> Callable[..., Any]:
    def silently(*given: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*given)

    return silently


@pytest.fixture(params=["kept", "several tiles"])
def keep_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The default of all losses; several tiles are recomputed."""
    if request.param == "several tiles":
        monkeypatch.setattr(BACKEND, "class_tile_width", lambda *_: 3)
    keep_bytes = 2**40 if request.param == "kept" else 0
    for loss in anglos.LOSSES.values():
        if "keep_bytes" in loss.defaults:
            monkeypatch.setitem(loss.defaults, "keep_bytes", keep_bytes)
    kept_plan.cache_clear()  # for calls before, which had the default
    yield keep_bytes
    kept_plan.cache_clear()


BY_OPERATIONS = frozenset((
    "airface", "arcnegface", "batch_coco", "c_contrastive", "c_triplet", "circle_softmax", "inter_topk", "mv_softmax",
    "sface", "soft_triple", "subcenter_arcface"))
"""Losses that ask more of the other classes than sums of terms, with slopes times 1 / |w|, or of several prototypes."""


SERVED = [loss for loss in anglos.LOSSES.values() if KINDS["head"](loss) and loss.name not in BY_OPERATIONS]

each_served = pytest.mark.parametrize("served", SERVED, ids=[loss.name for loss in SERVED])

each_kind = pytest.mark.parametrize("name", ["arcface", "l2_softmax", "linear_cross_entropy", "magface", "p2sgrad",
                                             "sphereface", "uniface"])
"""Of cosines and of products, with lengths that are free or not; of exponentials and of other terms."""


def test_losses(kept: Loss[...], keep_bytes: int, launches: list[str]) -> None:
    """Kernels serve those that ask for nothing but exponentials, or other sums."""
    agree(kept, {})
    assert (launches == []) == (kept.name in BY_OPERATIONS)
    if keep_bytes > 0 and launches:
        for options in other_options(kept):
            agree(kept, options)
    assert set(launches) <= {"ieee"}


def test_docs_name_all_that_take_part() -> None:
    text = (Path(__file__).parents[1] / "docs/performance.md").read_text()
    listed = text.partition("These losses take part")[2].partition("\n\n")[0]
    names = [loss.name for loss in anglos.LOSSES.values() if KINDS["kept"](loss)]
    assert re.findall("`([a-z0-9_]+)`", listed) == sorted({*names} - BY_OPERATIONS)


@each_kind
def test_losses_in_tf32(name: str, launches: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Which the interpreter multiplies as float32."""
    monkeypatch.setattr(choice, "tf32_is_allowed", lambda: True)
    agree(anglos.LOSSES[name], {})
    assert set(launches) == {"tf32"}


@pytest.mark.usefixtures("keep_bytes")
@each_served
def test_bfloat16_is_multiplied_as_it_is(served: Loss[...], launches: list[str]) -> None:
    """The loss has all digits of float32; the gradients have those of their type, and of rounded slopes."""
    agree(served, {}, torch.bfloat16)
    assert set(launches) == {"half"}


@each_kind
def test_float16_is_multiplied_as_it_is(name: str, launches: list[str]) -> None:
    agree(anglos.LOSSES[name], {}, torch.float16)
    assert set(launches) == {"half"}


def agree(loss: Loss[...], options: dict[str, Any], dtype: torch.dtype = torch.float32) -> None:
    """Value and gradients are those of NumPy in float64, of the same numbers."""
    numpy, library = LIBRARIES["numpy"](), LIBRARIES["torch"]()
    inputs = fitting(arrays(loss, library, dtype="float32"), options)
    floats = [one.to(dtype).requires_grad_() if one.is_floating_point() else one for one in inputs]
    same = [one.detach().double().numpy() if one.is_floating_point() else one.numpy() for one in floats]
    wanted, slopes = loss.value_and_grad(*map(numpy.array, same), **options)
    value = loss(*floats, **options)
    value.backward()
    assert float(value.detach()) == pytest.approx(float(wanted), rel=1e-6)
    error = 4e-6 if dtype is torch.float32 else 2.0**-7
    for one, slope in zip(leaves(loss, floats), slopes, strict=True):
        np.testing.assert_allclose(one.grad.float().numpy(), slope, rtol=0, atol=error * np.abs(slope).max(),
                                   err_msg=f"{options}")


@pytest.mark.usefixtures("keep_bytes")
@each_kind
def test_hard_inputs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The defaults, and other numbers: a choice is of the label's logit, of which kernels know nothing."""
    monkeypatch.setattr(test_properties, "hard_options", lambda loss: [{}, *other_options(loss)[-1:]])
    test_properties.test_hard_inputs_are_finite(anglos.LOSSES[name], LIBRARIES["torch"]())


def test_a_label_that_is_no_class_makes_its_sample_nan(head: Loss[...]) -> None:
    *vectors, labels = arrays(head, LIBRARIES["torch"](), dtype="float32")
    wrong = torch.arange(len(labels)) == 2
    losses = head(*vectors, torch.where(wrong, CLASSES, labels), reduction="none")
    assert torch.equal(torch.isnan(losses), wrong)


def test_what_is_differentiated_again_is_made_of_operations(launches: list[str]) -> None:
    """In torch.func a loss is not, as its own gradient computes it again: the tensors below it are plain."""
    x, w, labels = arrays(anglos.arcface, LIBRARIES["torch"](), dtype="float32")
    (once,) = torch.autograd.grad(anglos.arcface(x.requires_grad_(), w, labels), x, create_graph=True)
    forward = len(launches)
    assert forward > 0
    (twice,) = torch.autograd.grad(once.square().sum(), x)
    assert len(launches) == forward
    again = torch.func.grad(lambda x: torch.func.grad(anglos.arcface)(x, w, labels).square().sum())(x)
    torch.testing.assert_close(twice, again, rtol=1e-4, atol=1e-6)


def test_float64_is_multiplied_by_operations(launches: list[str], caplog: pytest.LogCaptureFixture,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "said", set())
    with caplog.at_level("DEBUG", logger="anglos"):
        for dtype in ("float64", "float32", "float32"):
            anglos.arcface(*arrays(anglos.arcface, LIBRARIES["torch"](), dtype=dtype))
    assert set(launches) == {"ieee"}
    assert caplog.messages == [
        "torch.float64 on CUDA: by PyTorch's operations, since kernels multiply two arrays of one type, which is not "
        "float64", "torch.float32 on CUDA: by kernels (ieee)"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
@pytest.mark.usefixtures("keep_bytes")
@pytest.mark.parametrize(("name", "keep_bytes", "dtype"), [
    ("arcface", "kept", torch.bfloat16), ("sphereface2", "several tiles", torch.float32)], indirect=["keep_bytes"])
def test_in_a_compiled_graph(name: str, dtype: torch.dtype, launches: list[str]) -> None:
    """As operations, which launch the same kernels."""
    importlib.import_module("torch._dynamo").reset()
    loss: Any = anglos.LOSSES[name]
    inputs = arrays(loss, LIBRARIES["torch"](), dtype="float32")
    floats = [one.to(dtype).requires_grad_() if one.is_floating_point() else one for one in inputs]
    tensors, found = leaves(loss, floats), []
    for call in (loss, torch.compile(loss, fullgraph=True, backend="aot_eager")):
        launches.clear()
        value = call(*floats)
        found.append(([value, *torch.autograd.grad(value, tensors)], launches.copy()))
    (plain, without), (compiled, with_compiler) = found
    assert with_compiler == without != []
    for one, want in zip(compiled, plain, strict=True):
        digits = 2.0**-7 if one.dtype is torch.bfloat16 else 4e-6
        torch.testing.assert_close(one, want, rtol=digits, atol=digits * float(want.detach().abs().max()))
