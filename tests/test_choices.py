"""What a loss chooses it chooses once: value, gradient and second derivative belong to one choice at every tie."""

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import has_several, leaves, made, other_options

from anglos import Loss

torch: Any = import_module("torch")
BACKENDS = [import_module(f"anglos.backends.{name}").backend for name in ("torch", "numpy")]

AT_THE_TIE: dict[str, list[dict[str, Any]]] = {
    "inter_topk": [{"k": 1}, {"k": 3}],
    "curricularface": [{"margin": 0.0, "t": 0.3}],
    "mv_softmax": [{"margin": 0.0}, {"margin": 0.0, "kind": "arc"}],
    "magface": [{"norm_range": (1.25**0.5, 30.0)}],
    "c_triplet": [{"margin": 0.0}, {"margin": 0.0, "hardest": True}, {"hardest": True}],
}
"""Options with which the equal cosines, or the lengths, below are at a threshold."""

EACH_BY_ITSELF = {"c_triplet", "curricularface", "fast_ap", "mv_softmax", "subcenter_arcface"}
"""Choose for every class or pair: B × C choices, kept no longer than the logits. Their docstrings say so."""
KEEP_SLOPES = {"curricularface"}
"""Of these, what is kept belongs to the choice, and second derivatives choose again."""
PAIR_BY_PAIR = {"semi_hard", "semi_hard_or_easiest", "batch_all"}


def tied(loss: Loss[...]) -> list[np.ndarray]:
    """All cosines of embeddings with prototypes are equal but for rounding, and all of embeddings with each other."""
    axes = np.linalg.qr(np.random.default_rng(5).normal(size=(16, 16)))[0]
    named = {"embeddings": axes[:6] + 0.5 * axes[15], "weights": axes[:6].sum(axis=0) + 2.0 * axes[6:11],
             "labels": np.asarray([0, 0, 1, 1, 2, 3])}
    inputs = made(loss, named)
    if has_several(loss):
        inputs[1] = np.stack([np.roll(named["weights"], shift, axis=0) for shift in range(3)], axis=1)
    return inputs


def options_of(loss: Loss[...]) -> list[dict[str, Any]]:
    return [{}, *AT_THE_TIE.get(loss.name, ()), *other_options(loss)]


@pytest.fixture
def uneven(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products that no two calls round alike."""
    random = np.random.default_rng(0)

    def uneven(exact: Any) -> Any:
        def product(*arrays: Any, **out: Any) -> Any:
            result = exact(*arrays, **out)
            noise = 1.0 + 4.0 * np.finfo(np.float64).eps * random.integers(-1, 2, size=tuple(result.shape))
            rounded = result * (torch.from_numpy(noise) if isinstance(result, torch.Tensor) else noise)
            if out.get("out") is None:
                return rounded
            result[...] = rounded
            return result

        return product

    for backend in BACKENDS:
        for name in ("product", "dot"):
            monkeypatch.setattr(backend, name, uneven(getattr(backend, name)))


@pytest.mark.parametrize("small", [True, False], ids=["small", "large"])
@pytest.mark.parametrize("keep_bytes", [0, 2**28])
def test_a_choice_is_made_once(tiled: Loss[...], keep_bytes: int, small: bool, uneven: None, torch_library: Library,
                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of one value, by what it kept and anew, and second derivatives."""
    if not small:
        monkeypatch.setattr(BACKENDS[0], "small", 0)
    if "keep_bytes" not in tiled.defaults and keep_bytes:
        pytest.skip("keeps nothing")
    for call in options_of(tiled):
        each = not keep_bytes and tiled.name in EACH_BY_ITSELF and not call.get("hardest")
        if each or call.get("mining", tiled.defaults.get("mining")) in PAIR_BY_PAIR:
            continue
        inputs = [torch_library.array(array) for array in tied(tiled)]
        inputs = inputs[:2] if call.get("symmetric") else inputs
        options = {**call, "reduction": "sum", **({"keep_bytes": keep_bytes} if "keep_bytes" in tiled.defaults else {})}
        floats = [array.requires_grad_() for array in leaves(tiled, inputs)]
        value = tiled(*inputs, **options)
        wanted = torch.autograd.grad(value, floats, retain_graph=True)
        directions = [torch.linspace(-1.0, 2.0, array.numel(), dtype=array.dtype).reshape(array.shape)
                      for array in floats]
        second, differs = None, lambda message, call=call: f"{call} {message}"
        for _ in range(4):
            got = torch.autograd.grad(value, floats, retain_graph=True, create_graph=tiled.name not in KEEP_SLOPES)
            torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9, msg=differs)
            slope = sum((one * by).sum() for one, by in zip(got, directions, strict=True))
            if slope.requires_grad:
                hessian = torch.autograd.grad(slope, floats, retain_graph=True, materialize_grads=True)
                second = second or hessian
                torch.testing.assert_close(hessian, second, rtol=1e-7, atol=1e-7, msg=differs)
        if not small:
            assert_kept_without_a_memo(tiled, inputs, options)


def assert_kept_without_a_memo(loss: Loss[...], inputs: list[Any], options: dict[str, Any]) -> None:
    """As JAX asks for gradients: the residuals are all that they know of the value."""
    call = loss._prepare(tuple(array.detach() for array in inputs), options, None)
    with torch.no_grad():
        per_sample, residuals = call.plan.forward(call.arrays)
        first, *others = (call.plan.backward(torch.ones_like(per_sample), call.arrays, residuals, call.plan.needs)
                          for _ in range(4))
    for other in others:
        torch.testing.assert_close(other, first, rtol=1e-9, atol=1e-9, msg=lambda m: f"{options} {m}")
