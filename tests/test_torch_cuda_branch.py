"""The branch of the torch adapter that a GPU takes, walked on a CPU: right, and it never waits to read a number."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import test_golden
import test_properties
import torch
from conftest import KINDS
from libraries import LIBRARIES, Library
from operations import NothingRead, Traffic, as_on_cuda, watched
from samples import CLASSES, arrays, fitting, has_several, leaves, other_options
from test_golden import CASES

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of
from anglos.backends.torch import Head
from anglos.call.plan import kept_plan

TILED = [loss for loss in anglos.LOSSES.values() if "keep_bytes" in loss.defaults]
PATHS = {"kept": (2**40, None), "recomputed": (0, None), "recomputed, several tiles": (0, 2)}
KEEPING = [case for case in CASES if anglos.LOSSES[case["loss"]] in TILED]


@pytest.fixture
def library() -> Library:
    return LIBRARIES["torch"]()


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    keep_bytes, width = PATHS[request.param]
    for loss in TILED:
        monkeypatch.setitem(loss.defaults, "keep_bytes", keep_bytes)
    kept_plan.cache_clear()  # for calls before, which had the default
    if width:
        monkeypatch.setattr(backend_of(torch.zeros(1)), "class_tile_width", lambda *_: width)
    with as_on_cuda():
        yield
    kept_plan.cache_clear()


def unread(loss: Loss[...], inputs: list[torch.Tensor], options: dict[str, Any]) -> tuple[Any, list[Any]]:
    """The value, and the gradients by autograd, of which nothing was read on the way."""
    floats = [one.detach().requires_grad_() if one.is_floating_point() else one for one in inputs]
    with watched(NothingRead()):
        value = loss(*floats, **options)
        value.sum().backward()  # type: ignore[no-untyped-call]
    return value.detach(), [one.grad for one in leaves(loss, floats)]


several_ways = pytest.mark.parametrize("path", ["kept", "recomputed, several tiles"], indirect=True)
"""Which make every sum and slope of all ways."""


@several_ways
@pytest.mark.usefixtures("path")
@pytest.mark.parametrize("case", KEEPING, ids=lambda case: case["id"])
def test_golden_numbers_of_heads(case: dict[str, Any], library: Library) -> None:
    test_golden.test_golden(case, library)


@pytest.mark.parametrize("case", [case for case in CASES if case not in KEEPING], ids=lambda case: case["id"])
def test_golden_numbers_of_others(case: dict[str, Any], library: Library) -> None:
    with as_on_cuda():
        test_golden.test_golden(case, library)


@several_ways
@pytest.mark.usefixtures("path")
def test_hard_inputs_of_heads(kept: Loss[...], library: Library) -> None:
    test_properties.test_hard_inputs_are_finite(kept, library)


def test_hard_inputs_of_pairs(pair: Loss[...], library: Library) -> None:
    with as_on_cuda():
        test_properties.test_hard_inputs_are_finite(pair, library)


@several_ways
@pytest.mark.usefixtures("path")
def test_a_short_prototype_counts_as_others(prototype: Loss[...], library: Library) -> None:
    test_properties.test_a_short_prototype_counts_as_others(prototype, library)


@pytest.mark.usefixtures("path")
def test_directions_of_any_length_in_bfloat16(kept: Loss[...], library: Library) -> None:
    test_properties.test_directions_of_any_length_in_bfloat16(kept, library)


def test_directions_of_pairs_of_any_length_in_bfloat16(pair: Loss[...], library: Library) -> None:
    with as_on_cuda():
        test_properties.test_directions_of_any_length_in_bfloat16(pair, library)


@pytest.mark.usefixtures("path")
def test_numbers_of_heads_are_those_of_a_processor(kept: Loss[...], library: Library) -> None:
    agree(kept, library)


def test_numbers_of_pairs_are_those_of_a_processor(pair: Loss[...], library: Library) -> None:
    with as_on_cuda():
        agree(pair, library)


STEEP = {"arcnegface": 4.0}
"""How many times as much as s cos θ a logit may change with a cosine: its factor, a constant to the gradient, does."""


def agree(loss: Loss[...], library: Library) -> None:
    """In both types; and no number is read."""
    numpy = LIBRARIES["numpy"]()
    for options in [{}, *other_options(loss)]:
        wanted, slopes = loss.value_and_grad(*fitting(arrays(loss, numpy), options), **options)
        for dtype in ("float64", "float32"):
            eps = float(np.finfo(dtype).eps)
            value, gradients = unread(loss, fitting(arrays(loss, library, dtype=dtype), options), options)
            assert float(value) == pytest.approx(float(wanted), rel=8 * eps), (dtype, options)
            for gradient, slope in zip(gradients, slopes, strict=True):
                largest = STEEP.get(loss.name, 1.0) * np.abs(slope).max()
                np.testing.assert_allclose(gradient.numpy(), slope, rtol=0, atol=32 * eps * largest,
                                           err_msg=f"{dtype} {options}")


@pytest.mark.parametrize("keeps", [False, True])
def test_no_number_is_read(loss: Loss[...], keeps: bool, library: Library) -> None:
    """Tensors of the device "meta" have none, and nobody tells the adapter here what to think of them."""
    if keeps and loss not in TILED:
        return
    for options in [{}] if keeps else [{}, *other_options(loss)]:
        inputs = [one.to("meta") for one in fitting(arrays(loss, library, dtype="float32"), options)]
        value, gradients = unread(loss, inputs, {**options, **({"keep_bytes": 2**40 * keeps} if loss in TILED else {})})
        assert {value.device.type, *(one.device.type for one in gradients)} == {"meta"}


def test_no_number_is_read_by_a_head(layer: Loss[...]) -> None:
    """Of all classes, and of a part of them."""
    several = {"prototypes_per_class": 2} if has_several(layer) else {}
    embeddings, labels = torch.empty(6, 4, device="meta"), torch.empty(6, dtype=torch.int64, device="meta")
    for rate in (1.0, 0.5):
        if rate < 1.0 and not KINDS["head"](layer):
            continue
        head = Head(layer, 50, 4, device="meta", sample_rate=rate, **several)
        with watched(NothingRead()):
            value = head(embeddings, labels)
            value.backward() if value.requires_grad else None
        assert value.device.type == "meta"


def test_no_number_is_read_for_a_state() -> None:
    x, w = torch.empty(6, 4, device="meta"), torch.empty(5, 4, device="meta")
    labels, state = torch.empty(6, dtype=torch.int64, device="meta"), torch.empty((), device="meta")
    with watched(NothingRead()):
        moved = [anglos.adacos_update(None, x, w, labels), *anglos.adaface_update(state, state, x),
                 anglos.center_update(w, x, labels), anglos.curricularface_update(state, x, w, labels)]
    assert {one.device.type for one in moved} == {"meta"}


def test_a_label_that_is_no_class_is_not_refused_but_seen(head: Loss[...], library: Library) -> None:
    """Its sample becomes NaN, and so does no other."""
    *vectors, labels = arrays(head, library)
    wrong = torch.arange(len(labels)) == 2
    with as_on_cuda():
        losses = head(*vectors, torch.where(wrong, CLASSES, labels), reduction="none")
    np.testing.assert_array_equal(torch.isnan(losses).numpy(), wrong.numpy())


@pytest.mark.parametrize("kernels", [False, True])
@pytest.mark.parametrize("name", ["arcface", "clip", "dcl", "info_nce", "normface", "nt_xent", "siglip", "supcon"])
def test_bfloat16_keeps_the_gradient_of_what_is_learnt(name: str, kernels: bool) -> None:
    """Of vectors near their positives, whose pull is nearly cancelled: within two roundings of that gradient."""
    loss, random = anglos.LOSSES[name], torch.Generator().manual_seed(0)
    labels, centres = torch.arange(96) // 4, torch.randn(24, 32, generator=random)
    x, k = (centres[labels] + 0.1 * torch.randn(96, 32, generator=random) for _ in range(2))
    by_name: dict[str, list[torch.Tensor]] = {"arcface": [x, centres], "normface": [x, centres]}
    vectors = by_name.get(name, [x] if "labels" in loss.arrays else [x[::4], k[::4]])
    shorts = [one.bfloat16().requires_grad_() for one in vectors]
    exact = [one.detach().double().requires_grad_() for one in shorts]
    groups = [labels] * ("labels" in loss.arrays)
    with as_on_cuda(kernels=kernels):
        found = torch.autograd.grad(loss(*shorts, *groups), shorts)
    for one, wanted in zip(found, torch.autograd.grad(loss(*exact, *groups), exact), strict=True):
        assert float((one.double() - wanted).norm()) <= 2.0**-7 * float(wanted.norm())


READING: dict[str, Callable[[torch.Tensor], Any]] = {
    "item": lambda x: x.sum().item(),
    "bool": lambda x: bool((x > 0.0).all()),
    "float": lambda x: float(x.sum()),
    "nonzero": lambda x: x.nonzero(),
    "where": lambda x: torch.where(x > 0.0),
    "mask": lambda x: x[x > 0.0],
    "masked_select": lambda x: x.masked_select(x > 0.0),
    "unique": lambda x: torch.unique(x),
    "equal": lambda x: torch.equal(x, x + 1.0),
    "numpy": lambda x: x.numpy(),
    "asarray": lambda x: np.asarray(x),
    "tolist": lambda x: x.tolist(),
    "cpu": lambda x: x.cpu(),
    "a number of the host": lambda x: x * torch.tensor(2.0),
}


@pytest.mark.parametrize("name", READING)
def test_reading_is_noticed(name: str) -> None:
    with watched(NothingRead()), pytest.raises(AssertionError):
        READING[name](torch.ones(3))


def test_the_adapter_does_not_know_that_it_is_watched() -> None:
    """Nor that the device is none: it changes arrays in place, and reads no shift."""
    loss: Loss[...] = anglos.arcface
    inputs = [torch.randn(7, 4, requires_grad=True), torch.randn(9, 4, requires_grad=True), torch.arange(7)]
    with as_on_cuda(), watched(Traffic(7, 4, 9)) as traffic:
        loss(*inputs).backward()  # type: ignore[no-untyped-call]
    assert traffic.operations["exp_"] == traffic.operations["scatter_"] == 1
    assert traffic.products == 3
