"""The gradient is the gradient of the value, to second order, for every input that may be an array."""

import math
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library, library_of, parameters
from samples import (
    BATCH,
    FROZEN,
    array_options,
    arrays,
    fitting,
    float_arrays,
    gentle,
    leaves,
    numbers,
    other_options,
    references,
    takes_labels,
)

import anglos
from anglos import Loss
from anglos.call.static_kinds import Pair


@pytest.fixture(params=parameters("torch", "torch-cuda"))
def torch_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    return library_of(request.param, monkeypatch)


@pytest.fixture(params=parameters("jax", "jax-gpu"))
def jax_library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Library:
    return library_of(request.param, monkeypatch)


def calls(loss: Loss[...]) -> list[dict[str, Any]]:
    """Calls that make every option an array, in every form it may take, and take every choice, alone and with those."""
    learnt = array_options(loss)
    alone = [{name: np.asarray(value)} for name, values in learnt.items() for value in values]
    together = {name: np.asarray(values[0]) for name, values in learnt.items()}
    given = {name: value for name, value in together.items() if loss.defaults[name] is not None}
    beside = [{**given, name: np.asarray(value)} for name, values in learnt.items() for value in values[1:]]
    choices = other_options(loss)
    return [{}, *alone, *beside, *choices, *({**together, **choice} for choice in choices)]


def test_value_and_grad_is_autodiff_of_plain(loss: Loss[...], torch_library: Library) -> None:
    torch: Any = import_module("torch")
    for options in calls(loss):
        inputs = fitting(arrays(loss, torch_library), options)
        for leaf in leaves(loss, inputs):
            leaf.requires_grad_()
        if options.get("from_logits") is False:
            inputs = [torch.softmax(inputs[0].detach(), dim=-1).requires_grad_()]
        learnt = {name: torch_library.array(value.astype("float64")).requires_grad_()
                  for name, value in options.items() if isinstance(value, np.ndarray)}
        more = references(loss, torch_library) if options in ({}, {"distance": "angle"}) else {}
        options = {**gentle(loss), **options}
        for name in set(more) & {"reference_embeddings"}:
            learnt[name] = more[name].requires_grad_()
        wrt = [*float_arrays(loss)[:len(inputs)], *learnt]
        tensors = leaves(loss, inputs) + list(learnt.values())
        options = {**options, **more, **learnt}
        wanted = torch.autograd.grad(loss.plain(*inputs, **options), tensors)
        value, gradients = loss.value_and_grad(*inputs, **options, wrt=tuple(wrt))
        assert value.grad_fn is None
        registered = torch.autograd.grad(loss(*inputs, **options), tensors)
        for name, want, explicit, autograd in zip(wrt, wanted, gradients, registered, strict=True):
            for got in (explicit, autograd):
                assert got.shape == want.shape
                torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10,
                                           msg=lambda text, name=name, options=options: f"{name} {options}\n{text}")


def test_every_number_may_be_learnt(loss: Loss[...], numpy: Library) -> None:
    """Against a central difference; but for pairs, whose docstrings say why not."""
    pairs = any(isinstance(kind, Pair) for kind in loss.kinds.values())
    assert not pairs or "that the first is the smaller is checked before any arithmetic" in " ".join(
        str(loss.__doc__).split())
    inputs = arrays(loss, numpy)
    for name, number in numbers(loss).items():
        if loss.name in FROZEN:
            continue

        def at(number: float, name: str = name) -> float:
            return float(loss(*inputs, **{**gentle(loss), name: number}))

        _, (slope,) = loss.value_and_grad(*inputs, **{**gentle(loss), name: number}, wrt=(name,))
        difference = (at(number + 1e-6) - at(number - 1e-6)) / 2e-6
        np.testing.assert_allclose(float(slope), difference, rtol=1e-6, atol=1e-8, err_msg=name)


def test_gradcheck_to_second_order(loss: Loss[...], torch_library: Library) -> None:
    if loss.name in FROZEN:
        pytest.skip("its gradient takes part of the value as a constant")
    torch: Any = import_module("torch")
    inputs = arrays(loss, torch_library)
    tensors = [array.requires_grad_() for array in leaves(loss, inputs)]
    learnt = array_options(loss)
    tensors += [torch_library.array(np.asarray(values[0], "float64")).requires_grad_() for values in learnt.values()]
    count = len(tensors) - len(learnt)
    rest = inputs[count:]

    def call(*tensors: Any) -> Any:
        return loss(*tensors[:count], *rest, **dict(zip(learnt, tensors[count:], strict=True)))

    assert torch.autograd.gradcheck(call, tensors)
    assert torch.autograd.gradgradcheck(call, tensors)


def test_gradient_penalty_is_that_of_autodiff(loss: Loss[...], torch_library: Library) -> None:
    """A cache that leaks into the second derivative shows here: 895 where 348 is right was once measured."""
    torch: Any = import_module("torch")
    # Straight-through slopes have no derivative. A detached mean of one has cosine 1, where a clip ends autodiff.
    without = {("gradient", "straight_through"), ("detach_centroids", True), ("from_logits", False)}
    together = [options for options in calls(loss) if len(options) > 1]
    for options in [{}, *(one for one in together if not any(one.get(name) == value for name, value in without))]:
        penalties = []
        for function in (loss, loss.plain):
            inputs = fitting(arrays(loss, torch_library), options)
            learnt = {name: torch_library.array(value).requires_grad_() for name, value in options.items()
                      if isinstance(value, np.ndarray)}
            tensors = [*(array.requires_grad_() for array in leaves(loss, inputs)), *learnt.values()]
            value = function(*inputs, **{**gentle(loss), **options, **learnt})
            gradients = torch.autograd.grad(value, tensors, create_graph=True)
            penalty = sum((gradient**2).sum() for gradient in gradients)
            penalties.append(torch.autograd.grad(penalty, tensors, materialize_grads=True))
        for got, want in zip(*penalties, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9,
                                       msg=lambda text, options=options: f"{options}\n{text}")


def test_jax_to_second_order_under_jit(loss: Loss[...], jax_library: Library) -> None:
    """In the loss, and in `value_and_grad`, by all arrays; wanted is automatic differentiation of `plain`, twice."""
    jax: Any = import_module("jax")
    inputs = arrays(loss, jax_library)
    count, numbers = len(float_arrays(loss)), jax.numpy
    learnt = {name: numbers.asarray(values[0]) for name, values in array_options(loss).items()}
    both = (0, 1)

    def gradient(function: Any) -> Any:
        return jax.grad(lambda floats, options: function(*floats, *inputs[count:], **{**gentle(loss), **options}), both)

    def explicit(floats: Any, options: Any) -> Any:
        _, slopes = loss.value_and_grad(*floats, *inputs[count:], **{**gentle(loss), **options},
                                        wrt=(*float_arrays(loss), *options))
        return slopes

    def penalties(*arguments: Any) -> Any:
        def penalty(*arguments: Any, slopes: Any) -> Any:
            found = jax.tree.leaves(slopes(*arguments))
            return sum(numbers.sum(slope**2) for slope in found), found

        return [jax.grad(partial(penalty, slopes=slopes), both, has_aux=True)(*arguments)
                for slopes in (gradient(loss.plain), gradient(loss), explicit)]

    wanted, *found = map(jax.tree.leaves, jax.jit(penalties)(inputs[:count], learnt))
    for one in found:
        for got, want in zip(one, wanted, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_jax_autodiff_of_plain_both_modes(loss: Loss[...], jax_library: Library) -> None:
    jax: Any = import_module("jax")
    first, *others = arrays(loss, jax_library)

    def plain(first: Any) -> Any:
        return loss.plain(first, *others, **gentle(loss))

    def gradients(first: Any) -> Any:
        explicit = loss.value_and_grad(first, *others, **gentle(loss))[1][0]
        return explicit, jax.jacfwd(plain)(first), jax.grad(plain)(first)

    gradient, *by_autodiff = jax.jit(gradients)(first)
    for got in by_autodiff:
        np.testing.assert_allclose(got, gradient, rtol=0, atol=1e-10)


@pytest.mark.parametrize("zero", ["embeddings", "weights"])
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.2}], ids=str)
def test_linear_cross_entropy_is_torch_s_at_zero_vectors(zero: str, options: dict[str, Any]) -> None:
    """There a linear layer has slopes like anywhere else: value, gradient and gradient penalty."""
    torch: Any = import_module("torch")
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0, 3, 2])
    results = []
    functions: list[Any] = [
        lambda x, w: torch.nn.functional.cross_entropy(x @ w.T, labels, **options),
        lambda x, w: anglos.linear_cross_entropy(x, w, labels, **options),
        lambda x, w: anglos.linear_cross_entropy.plain(x, w, labels, **options)]
    for function in functions:
        generator.manual_seed(0)
        x = torch.randn(3, 4, generator=generator, dtype=torch.float64)
        w = torch.randn(5, 4, generator=generator, dtype=torch.float64)
        (x if zero == "embeddings" else w).zero_()
        x.requires_grad_(), w.requires_grad_()
        gradients = torch.autograd.grad(function(x, w), [x, w], create_graph=True)
        penalty = torch.autograd.grad(sum((g**2).sum() for g in gradients), [x, w])
        results.append((*gradients, *penalty))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("loss_of", ["entropy", "cross_entropy"])
def test_excluded_classes(loss_of: str) -> None:
    """A logit of −∞ leaves its class out, to second order, by every route."""
    torch: Any = import_module("torch")
    full = torch.tensor([[0.3, 1.0, -math.inf]], dtype=torch.float64)
    results = []
    for logits in (full, full[:, :2]):
        loss: Any = anglos.LOSSES[loss_of]
        labels = [torch.tensor([1])] if takes_labels(loss) else []
        for function in (loss, loss.plain):
            leaf = logits.clone().requires_grad_()
            value = function(leaf, *labels)
            (gradient,) = torch.autograd.grad(value, leaf, create_graph=True)
            (second,) = torch.autograd.grad((gradient[:, :2] ** 2).sum(), leaf)
            results.append((value, gradient[:, :2], second[:, :2]))
        _, (explicit,) = loss.value_and_grad(logits, *labels)
        torch.testing.assert_close(explicit[:, :2], gradient[:, :2])
    for other in results[1:]:
        torch.testing.assert_close(other, results[0])


def test_bound_of_hcl(torch_library: Library) -> None:
    """One of two pairs is so alike that N_g, less the part of its class, would be negative: the bound is taken."""
    torch: Any = import_module("torch")
    embeddings, labels = arrays(anglos.hcl, torch_library)
    embeddings[2] = embeddings[0]
    options = {"temperature": 0.5, "beta": 0.5, "tau_plus": 0.6}
    tensors = [torch_library.array(np.asarray(value)).requires_grad_() for value in options.values()]
    tensors.append(embeddings.requires_grad_())

    def call(function: Any) -> Any:
        return function(embeddings, labels, **dict(zip(options, tensors, strict=False)))

    assert torch.autograd.gradcheck(lambda *_: call(anglos.hcl), tensors)
    for got, want in zip(torch.autograd.grad(call(anglos.hcl), tensors),
                         torch.autograd.grad(call(anglos.hcl.plain), tensors), strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("past_pi", ["smooth", "linear", "shifted", "reflect", "clamp", "easy"])
@pytest.mark.parametrize("options", [{"margin": 0.8}, {"m1": 1.0, "m2": 0.8}, {"m1": 1.3, "m2": 0.8},
                                     {"m1": 3.0, "m2": 0.8}], ids=str)
def test_past_pi_slopes(past_pi: str, options: dict[str, float], torch_library: Library) -> None:
    """Targets on both sides of θ + m = π, every continuation, with the margins as arrays."""
    torch: Any = import_module("torch")
    loss: Loss[...] = anglos.arcface if "margin" in options else anglos.combined_margin
    angles, tensor = np.linspace(0.1, 3.0, BATCH), torch_library.array
    embeddings = tensor(np.stack([np.cos(angles), np.sin(angles)], axis=1)).requires_grad_()
    weights = tensor(np.asarray([[1.0, 0.0], [-0.3, 1.0]])).requires_grad_()
    margins = {name: tensor(np.asarray(value)).requires_grad_(name != "m1" or value % 1 != 0)
               for name, value in options.items()}
    fixed = {name: float(value) for name, value in margins.items() if not value.requires_grad}
    learnt = {name: value for name, value in margins.items() if value.requires_grad}
    labels = tensor(np.zeros(BATCH, np.int64))

    def call(function: Any) -> Any:
        return function(embeddings, weights, labels, **fixed, **learnt, past_pi=past_pi, scale=4.0)

    tensors = [embeddings, weights, *learnt.values()]
    for got, want in zip(torch.autograd.grad(call(loss), tensors), torch.autograd.grad(call(loss.plain), tensors),
                         strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_smooth_margins_only_fall(numpy: Library) -> None:
    """The default target logit falls all the way from 0 to π, with a continuous slope."""
    angles = np.linspace(0.0, np.pi, 4001)
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    weights, labels = np.asarray([[1.0, 0.0], [0.0, 0.0]]), np.zeros(len(angles), dtype=np.int64)
    cases: list[tuple[Any, dict[str, Any]]] = [
        (anglos.arcface, {"margin": 1.0}), (anglos.sphereface, {"margin": 4.0}),
        (anglos.combined_margin, {"m1": 1.7, "m2": 0.5})]
    for loss, options in cases:
        # Two classes, one at 90° always: ℓ = softplus(−s φ).
        per_sample = loss(embeddings, weights, labels, **options, scale=1.0, reduction="none")
        phi = -np.log(np.expm1(per_sample))
        assert np.all(np.diff(phi) < 1e-12)
        assert np.abs(np.diff(phi, 2)).max() < 2e-5


def test_straight_through_replaces_only_the_slope(numpy: Library) -> None:
    """φ′ := 1 is the gradient of CosFace with a margin that gives the same logit."""
    embeddings, weights, labels = arrays(anglos.arcface, numpy)
    cos = np.sum(embeddings * weights[labels], axis=1) / (
        np.linalg.norm(embeddings, axis=1) * np.linalg.norm(weights[labels], axis=1))
    margin = cos - np.cos(np.arccos(cos) + 0.5)
    value, gradients = anglos.arcface.value_and_grad(
        embeddings, weights, labels, past_pi="reflect", gradient="straight_through")
    same, wanted = anglos.cosface.value_and_grad(embeddings, weights, labels, margin=margin)
    np.testing.assert_allclose(value, same, rtol=1e-13)
    for got, want in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)


def test_sample_weights_of_ignored_rows_have_gradient_zero(loss: Loss[...]) -> None:
    """By autograd and by jax.grad, as by value_and_grad."""
    if "sample_weight" not in loss.defaults or "ignore_index" not in loss.defaults:
        pytest.skip("has no weights, or nothing to ignore")
    for name in ("torch", "jax"):
        library = LIBRARIES[name]()
        inputs = [library.numpy(array) for array in arrays(loss, library)]
        inputs[-1] = np.where(np.arange(BATCH) == 2, -100, inputs[-1])
        call, weight = [library.array(array) for array in inputs], library.array(np.linspace(0.5, 2.0, BATCH))
        _, (wanted,) = loss.value_and_grad(*call, sample_weight=weight, wrt=("sample_weight",))
        if name == "torch":
            weight.requires_grad_()
            loss(*call, sample_weight=weight).backward()
            got = weight.grad
        else:
            got = import_module("jax").grad(lambda weight, call=call: loss(*call, sample_weight=weight))(weight)
        np.testing.assert_allclose(library.numpy(got), library.numpy(wanted), rtol=1e-11, atol=1e-13)
        assert library.numpy(got)[2] == 0.0


def test_rows_left_out_have_gradient_zero(two_towers: Loss[...]) -> None:
    """By autograd and by jax.grad, whatever they hold; and the others have that of `value_and_grad`."""
    keep = np.asarray([True, False, True, True, False, True])
    for name in ("torch", "jax"):
        library = LIBRARIES[name]()
        queries, *others = arrays(two_towers, library)
        queries, mask = library.array(np.where(keep[:, None], library.numpy(queries), np.nan)), library.array(keep)
        _, (wanted, *_) = two_towers.value_and_grad(queries, *others, row_mask=mask)
        for function in (two_towers, two_towers.plain):
            if name == "torch":
                leaf = queries.clone().requires_grad_()
                function(leaf, *others, row_mask=mask).backward()
                got = leaf.grad
            else:
                got = import_module("jax").grad(lambda queries, f=function, rest=others, mask=mask: f(
                    queries, *rest, row_mask=mask))(queries)
            np.testing.assert_allclose(library.numpy(got), library.numpy(wanted), rtol=1e-11, atol=1e-13)
            assert not library.numpy(got)[~keep].any()


def test_derivatives_where_two_logits_are_equal() -> None:
    """|x| has no slope at 0, and log(1 + eˣ) has: by autodiff of the value, and to second order."""
    torch: Any = import_module("torch")
    jax: Any = import_module("jax")
    query, keys = np.asarray([[1.0, 0.0]]), (np.asarray([[0.0, 1.0]]), np.asarray([[0.0, 2.0]]))
    for function in (anglos.nce, anglos.nce.plain):
        leaf = torch.tensor(query, requires_grad=True)
        (gradient,) = torch.autograd.grad(function(leaf, *map(torch.tensor, keys)), leaf, create_graph=True)
        (second,) = torch.autograd.grad(gradient[0, 1], leaf)
        np.testing.assert_allclose(gradient.detach().numpy(), [[0.0, 0.5]], atol=1e-15)
        np.testing.assert_allclose(second.numpy(), [[0.0, 1.25]], atol=1e-15)
        hessian = jax.hessian(function) if function is not anglos.nce else jax.jacrev(jax.jacrev(function))
        np.testing.assert_allclose(hessian(jax.numpy.asarray(query), *keys)[0, 1, 0, 1], 1.25, atol=1e-15)
    x, w, y = torch.eye(2, dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64), torch.arange(2)
    wanted = torch.func.hessian(lambda w: torch.nn.functional.cross_entropy(x @ w.T, y))(w)
    for loss in (anglos.linear_cross_entropy, anglos.linear_cross_entropy.plain):
        got = torch.func.jacrev(torch.func.jacrev(lambda w, loss=loss: loss(x, w, y)))(w)
        torch.testing.assert_close(got, wanted)
