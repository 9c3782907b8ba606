"""Losses over pairs by the kernels in Triton's interpreter, through the whole engine: `test_triton.py` runs this."""

from typing import Any

import numpy as np
import pytest
import test_properties
import torch
from interpreted_heads import BACKEND, agree, launches, silent
from libraries import LIBRARIES
from samples import arrays, other_options

import anglos
from anglos import Loss

FIXTURES = (launches, silent)
SERVED = [anglos.LOSSES[name] for name in ("clip", "dcl", "dhel", "info_nce", "n_pair", "nt_xent", "siglip", "supcon")]
"""Those that ask of a row's other keys for nothing but sums of terms, and slopes."""

each_served = pytest.mark.parametrize("served", SERVED, ids=[loss.name for loss in SERVED])
TYPES = {torch.float32: "ieee", torch.bfloat16: "half", torch.float16: "half"}


@pytest.fixture(params=["one tile", "several tiles"])
def width(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tiles."""
    if request.param == "several tiles":
        monkeypatch.setattr(BACKEND, "tile_width", lambda *_: 3)


@pytest.mark.usefixtures("width")
def test_losses(pair: Loss[...], launches: list[str]) -> None:
    """Kernels serve those that ask for nothing but exponentials, or other sums."""
    agree(pair, {})
    assert (launches != []) == (pair in SERVED)
    for options in other_options(pair) if launches else []:
        agree(pair, options)
    assert set(launches) <= {"ieee"}


@pytest.mark.usefixtures("width")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@each_served
def test_types(served: Loss[...], dtype: torch.dtype, launches: list[str]) -> None:
    """Of 16 bits the loss has all digits of float32; the gradients have those of their type, and of rounded slopes."""
    agree(served, {}, dtype)
    assert set(launches) == {TYPES[dtype]}


several_tiles = pytest.mark.parametrize("width", ["several tiles"], indirect=True)


@several_tiles
@pytest.mark.usefixtures("width")
@each_served
def test_hard_inputs(served: Loss[...]) -> None:
    test_properties.test_hard_inputs_are_finite(served, LIBRARIES["torch"]())


@several_tiles
@pytest.mark.usefixtures("width")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("place", range(3))
def test_a_queue_of_negatives(dtype: torch.dtype, place: int, launches: list[str]) -> None:
    """Of which none is a label; and one of the vectors is 0."""
    random = torch.Generator().manual_seed(0)
    vectors = [torch.randn(many, 5, generator=random).to(dtype) for many in (7, 7, 11)]
    vectors[place][2] = 0.0
    found, wanted = (gradients(anglos.info_nce, vectors, like, {}) for like in (dtype, torch.float64))
    close(found, wanted, dtype)
    assert set(launches) == {TYPES[dtype]}


@pytest.mark.parametrize(("called", "options"), [(anglos.dcl, {}), (anglos.nt_xent, {}),
                                                 (anglos.supcon, {"form": "in"})], ids=str)
def test_what_is_differentiated_again_is_made_of_operations(called: Any, options: dict[str, Any], launches: list[str]
                                                            ) -> None:
    """Also where the first time partners were gathered."""
    x, labels = torch.randn(20, 6, requires_grad=True), torch.arange(20) % 7
    (once,) = torch.autograd.grad(called(x, labels, **options), x)
    assert len(launches) == 2
    (same,) = torch.autograd.grad(called(x, labels, **options), x, create_graph=True)
    torch.testing.assert_close(same, once, rtol=1e-5, atol=1e-7)
    (twice,) = torch.autograd.grad(same.square().sum(), x)
    assert len(launches) == 3
    again = torch.func.grad(lambda x: torch.func.grad(lambda x: called(x, labels, **options))(x).square().sum())(x)
    torch.testing.assert_close(twice, again, rtol=1e-4, atol=1e-6)


@pytest.mark.usefixtures("width")
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(("called", "options"), [(anglos.dcl, {}), (anglos.nt_xent, {}), (anglos.supcon, {}),
                                                 (anglos.supcon, {"form": "in"})], ids=["dcl", "nt_xent", "out", "in"])
def test_references(called: Any, options: dict[str, Any], dtype: torch.dtype, launches: list[str]) -> None:
    """Such as a queue, which becomes float32."""
    vectors, labels = [torch.randn(many, 6).to(dtype) for many in (9, 14)], [torch.arange(9) % 4, torch.arange(14) % 3]

    def of(x: torch.Tensor, references: torch.Tensor) -> Any:
        return called.value_and_grad(
            x, labels[0], reference_embeddings=references, reference_labels=labels[1], **options)

    value, (gradient,) = of(*vectors)
    assert set(launches) == {"ieee"}
    exact, (wanted,) = of(*[one.double() for one in vectors])
    assert float(value) == pytest.approx(float(exact), rel=3e-6)
    digits = 1e-5 if dtype is torch.float32 else 2.0**-7
    torch.testing.assert_close(gradient.double(), wanted, rtol=0.0, atol=digits * float(wanted.abs().max()))


@pytest.mark.parametrize("dtype", TYPES)
def test_what_is_learnt(dtype: torch.dtype, launches: list[str]) -> None:
    """A scale, and a bias; slopes that are summed for a bias are not made times the lengths of 16 bits."""
    vectors = [one.to(dtype) for one in arrays(anglos.clip, LIBRARIES["torch"](), dtype="float32")]
    for loss, learnt in ((anglos.clip, {"scale": 3.0}), (anglos.siglip, {"log_scale": 1.0}),
                         (anglos.siglip, {"log_scale": 1.0, "bias": -2.0})):
        launches.clear()
        found, wanted = (gradients(loss, vectors, like, learnt) for like in (dtype, torch.float64))
        close(found, wanted, dtype)
        assert set(launches) == {"ieee" if "bias" in learnt else TYPES[dtype]}


def gradients(loss: Any, vectors: list[torch.Tensor], dtype: torch.dtype, learnt: dict[str, float]) -> list[Any]:
    """The value, and all gradients, of the same numbers."""
    leaves = [one.detach().to(dtype).requires_grad_() for one in vectors]
    wide = torch.float64 if dtype is torch.float64 else torch.float32
    options = {name: torch.tensor(value, dtype=wide, requires_grad=True) for name, value in learnt.items()}
    value = loss(*leaves, **options)
    value.backward()
    return [value.detach(), *[one.grad for one in (*leaves, *options.values())]]


def close(found: list[Any], wanted: list[Any], dtype: torch.dtype) -> None:
    assert float(found[0]) == pytest.approx(float(wanted[0]), rel=1e-6)
    error = 4e-6 if dtype is torch.float32 else 2.0**-7
    for one, slope in zip(found[1:], wanted[1:], strict=True):
        np.testing.assert_allclose(one.double().numpy(), slope.numpy(), rtol=0, atol=error * float(slope.abs().max()))
