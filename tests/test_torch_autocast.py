"""Mixed precision on a processor: bfloat16 outside of the loss, float32 within, and scaled gradients."""

from importlib import import_module
from typing import Any

import pytest
from libraries import Library
from samples import BATCH, CLASSES, DIMENSION, LABELS, arrays, has_several, leaves
from test_golden import UPDATES

import anglos
from anglos import Loss

torch: Any = import_module("torch")
Head: Any = import_module("anglos.backends.torch").Head

HEADS = [loss for loss in anglos.LOSSES.values()
         if loss.arrays == ("embeddings", "weights", "labels") and not has_several(loss)]
heads = pytest.mark.parametrize("layer_loss", HEADS, ids=lambda loss: loss.name)


def test_no_error_but_the_rounding_of_the_inputs(loss: Loss[...], torch_library: Library) -> None:
    """Of bfloat16 inputs, against float64 at these same numbers: a loss as float32 makes it, and gradients rounded.

    Float32 gives what exact arithmetic gives at inputs off by some units in their last place, u = 2⁻²⁴:
    ∂ℓ/∂x · x · u, summed in absolute value. A logit of 64 is off by some 64 u, so a probability by this part of it.
    """
    inputs = [array.to(torch.bfloat16) if array.is_floating_point() else array
              for array in arrays(loss, torch_library)]
    exact = [array.double() if array.is_floating_point() else array for array in inputs]
    tensors, references = ([array.requires_grad_() for array in leaves(loss, some)] for some in (inputs, exact))
    with torch.autocast("cpu", torch.bfloat16):
        value = loss(*inputs)
    wanted = loss(*exact)
    gradients = torch.autograd.grad(wanted, references)
    unit = 2.0**-24
    reach = sum(float((gradient * array.detach()).abs().sum())
                for gradient, array in zip(gradients, references, strict=True))
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), wanted, rtol=16 * unit, atol=16 * unit * (1.0 + reach))
    for tensor, got, want in zip(tensors, torch.autograd.grad(value, tensors), gradients, strict=True):
        assert tensor.dtype == got.dtype == torch.bfloat16
        largest = float(want.abs().max())
        torch.testing.assert_close(got.double(), want, rtol=2.0**-8, atol=16 * 64 * unit * largest)


@pytest.mark.parametrize("name", UPDATES)
def test_updates_within_autocast(name: str, torch_library: Library) -> None:
    """The state that comes without: cosines are not rounded."""
    start, update = UPDATES[name]
    inputs = arrays(anglos.arcface, torch_library)
    x, w, y = (torch_library.cast(array, "float32") if array.is_floating_point() else array for array in inputs)
    state = w if start == "W" else start
    wanted = update(state, x, w, y)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(update(state, x, w, y), wanted, rtol=0.0, atol=0.0)


def network(loss: Loss[...]) -> tuple[Any, Any, Any, Any]:
    torch.manual_seed(0)
    inputs = torch.randn(BATCH, 7)
    return torch.nn.Linear(7, DIMENSION), Head(loss, CLASSES, DIMENSION), inputs, torch.tensor(LABELS)


@heads
def test_head_within_autocast(layer_loss: Loss[...]) -> None:
    """Embeddings come in bfloat16; the parameters, and their gradients, stay as they are."""
    backbone, head, inputs, labels = network(layer_loss)
    with torch.autocast("cpu", torch.bfloat16):
        embeddings = backbone(inputs)
        loss = head(embeddings, labels)
    loss.backward()
    assert (embeddings.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    for parameter in (head.weight, backbone.weight):
        assert parameter.dtype == parameter.grad.dtype == torch.float32
    points = embeddings.detach().float().requires_grad_()
    (wanted,) = torch.autograd.grad(layer_loss(points, head.weight, labels), [head.weight])
    torch.testing.assert_close(head.weight.grad, wanted, rtol=1e-4, atol=1e-6)


@heads
@pytest.mark.parametrize("overflows", [False, True])
def test_grad_scaler(layer_loss: Loss[...], overflows: bool) -> None:
    """A step as without a scaler; and none where a scaled gradient overflows, but half the scale."""
    backbone, head, inputs, labels = network(layer_loss)
    parameters = [*backbone.parameters(), *head.parameters()]
    before = [parameter.detach().clone() for parameter in parameters]
    gradients = torch.autograd.grad(head(backbone(inputs), labels), parameters)
    initial = 2.0**127 if overflows else 2.0**10
    scaler, optimizer = torch.amp.GradScaler("cpu", init_scale=initial), torch.optim.SGD(parameters, lr=0.1)
    loss = head(backbone(inputs), labels)
    scaler.scale(16.0 * loss if overflows else loss).backward()
    scaler.step(optimizer)
    scaler.update()
    step = 0.0 if overflows else 0.1
    assert scaler.get_scale() == (initial / 2 if overflows else initial)
    for parameter, start, gradient in zip(parameters, before, gradients, strict=True):
        torch.testing.assert_close(parameter.detach(), start - step * gradient)
