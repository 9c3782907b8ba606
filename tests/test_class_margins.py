"""Margins of classes: those of the samples, looked up and added, and their gradient added up again."""

from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import arrays

import anglos

torch: Any = import_module("torch")
jax: Any = import_module("jax")

LOSSES = [name for name, loss in anglos.LOSSES.items() if "class_margin" in loss.defaults]
LABELS = np.asarray([0, 1, 3, -100, 1, 0])  # of five classes, of which two are absent
MARGINS = np.asarray([0.05, 0.3, 0.1, -0.1, 0.2])


def call(name: str, library: Library) -> tuple[Any, list[Any], str]:
    """A loss, its arrays, and the margin that those of classes are added to."""
    loss: Any = anglos.LOSSES[name]
    x, w, _ = arrays(loss, library)
    return loss, [x, w[:5, ...], library.array(LABELS)], "m2" if "m2" in loss.defaults else "margin"


@pytest.mark.parametrize("name", LOSSES)
def test_they_are_those_of_the_samples_by_hand(name: str, library: Library) -> None:
    loss, inputs, margin = call(name, library)
    own, classes = np.linspace(0.2, 0.4, 6), np.where(LABELS < 0, 0, LABELS)
    wrt = ("embeddings", "weights", margin, "class_margin")
    value, gradients = loss.value_and_grad(
        *inputs, **{margin: library.array(own)}, class_margin=library.array(MARGINS), wrt=wrt)
    wanted, by_hand = loss.value_and_grad(*inputs, **{margin: library.array(own + MARGINS[classes])}, wrt=wrt[:3])
    assert library.numpy(value) == library.numpy(wanted)
    for got, want in zip(gradients, by_hand, strict=False):
        np.testing.assert_allclose(library.numpy(got), library.numpy(want), rtol=1e-13, atol=1e-15)
    summed = np.bincount(classes, library.numpy(by_hand[2]), minlength=5)
    np.testing.assert_allclose(library.numpy(gradients[3]), summed, rtol=1e-13, atol=1e-15)
    assert summed[[0, 1, 3]].all()
    assert not library.numpy(gradients[3])[[2, 4]].any()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
def test_compiled_and_to_second_order(jax_library: Library) -> None:
    """As the library differentiates the value, in PyTorch and JAX; with a margin that is a number."""
    inputs = call("arcface", jax_library)[1]
    x, w, y = (torch.tensor(np.asarray(array)) for array in inputs)
    leaves = [x.requires_grad_(), w.requires_grad_(), torch.tensor(MARGINS, requires_grad=True)]

    def of(form: Any, x: Any, w: Any, margins: Any, y: Any = y) -> Any:
        return form(x, w, y, margin=0.3, class_margin=margins, scale=8.0)

    found = []
    for form in (anglos.arcface, anglos.arcface.plain):
        first = torch.autograd.grad(of(form, *leaves), leaves, create_graph=True)
        found.append([*first, *torch.autograd.grad(sum((one**2).sum() for one in first), leaves)])
    compiled = torch.compile(lambda *given: of(anglos.arcface, *given), fullgraph=True, backend="aot_eager")
    for got, want in zip(torch.autograd.grad(compiled(*leaves), leaves), found[1], strict=False):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-14)
    of_jax = jax.jit(jax.grad(partial(of, anglos.arcface), argnums=(0, 1, 2)))
    found.append([torch.tensor(np.asarray(one)) for one in of_jax(*inputs[:2], jax.numpy.asarray(MARGINS), inputs[2])])
    for result in (found[0], found[2]):
        for got, want in zip(result, found[1], strict=False):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_a_layer_has_them(numpy: Library) -> None:
    """Learnt ones too; a new class has 0."""
    layer: Any = import_module("anglos.backends.torch").Head
    head = layer(anglos.cosface, 5, 4, margin=0.1, class_margin=torch.nn.Parameter(torch.tensor(MARGINS).float()))
    x, y = torch.randn(6, 4), torch.tensor(LABELS)
    head(x, y).backward()
    assert head.tensors["class_margin"].grad[[0, 1, 3]].all()
    head.resize_classes(7)
    assert head.tensors["class_margin"][5:].tolist() == [0.0, 0.0]
    assert head(x, torch.tensor([6] * 6)).isfinite()


def test_refusals(numpy: Library) -> None:
    loss, inputs, _ = call("arcface", numpy)
    with pytest.raises(ValueError, match=r"arcface: class_margin was of shape \(6,\); wanted \(C,\), with C = 5"):
        loss(*inputs, class_margin=np.zeros(6))
    with pytest.raises(TypeError, match=r"arcface: class_margin was 0\.5; wanted an array"):
        loss(*inputs, class_margin=0.5)
