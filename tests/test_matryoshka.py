"""matryoshka: a loss over prefixes of the embeddings, against the sum written out."""

import copy
import pickle
import re
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import OF_EVERY_KIND, arrays

import anglos
from anglos import Loss, matryoshka

DIMS, FACTORS = (2, 4, 3), (2.0, 1.0, 0.5)
"""Prefixes of 4 in any order, with a weight for each."""

LOSSES = [name for name in OF_EVERY_KIND if name != "entropy"]  # which is of logits

of_any: Any = matryoshka  # to a type checker

X, W, Y = (np.random.default_rng(3).normal(size=shape) for shape in ((6, 4), (5, 4), (6,)))
LABELS = np.asarray([0, 3, 0, 1, 4, 3])


def has_dimension(loss: Loss[...], name: str) -> bool:
    return "D" in loss.kinds[name].shapes[0].split()


def written_out(loss: Any, inputs: list[np.ndarray], wrt: tuple[str, ...], **options: Any) -> Any:
    """Σ_d c_d ℓ of the first d columns, and its gradient by name, in NumPy."""
    def cut(name: str, array: Any, length: int) -> Any:
        return array[..., :length] if has_dimension(loss, name) else array

    value, total = 0.0, {name: np.zeros_like({**dict(zip(loss.arrays, inputs, strict=False)), **options}[name])
                         for name in wrt}
    for length, factor in zip(DIMS, FACTORS, strict=True):
        of_prefix, gradients = loss.value_and_grad(
            *(cut(name, array, length) for name, array in zip(loss.arrays, inputs, strict=False)), wrt=wrt,
            **{name: cut(name, option, length) if name in loss.kinds and hasattr(option, "shape") else option
               for name, option in options.items()})
        value = value + factor * of_prefix
        for name, gradient in zip(wrt, gradients, strict=True):
            cut(name, total[name], length)[...] += factor * gradient
    return value, [total[name] for name in wrt]


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_the_sum_over_prefixes(name: str, library: Library) -> None:
    loss = anglos.LOSSES[name]
    if library.name == "jax" and name not in ("subcenter_arcface", "info_nce", "koleo"):  # it compiles every operation
        return
    nested, inputs = matryoshka(loss, DIMS, FACTORS), arrays(loss, library)
    value, gradients = nested.value_and_grad(*inputs)
    given = [library.numpy(one) for one in inputs]
    wrt = tuple(name for name in loss.arrays if has_dimension(loss, name) and not loss.kinds[name].frozen)
    assert len(gradients) == len(wrt)
    wanted, of_wanted = written_out(loss, given, wrt)
    for found in (value, nested(*inputs), nested.plain(*inputs)):
        np.testing.assert_allclose(library.numpy(found), wanted, rtol=1e-12)
    for found, one, array in zip(gradients, of_wanted, inputs[:len(wrt)], strict=True):
        assert found.dtype == array.dtype
        np.testing.assert_allclose(library.numpy(found), one, rtol=0, atol=1e-10 * abs(one).max())


@pytest.mark.parametrize("name", LOSSES)
def test_autograd_is_that_of_the_sum_written_out(name: str) -> None:
    """Of `plain`, which PyTorch differentiates itself: first and second derivatives."""
    torch, loss, library = import_module("torch"), anglos.LOSSES[name], LIBRARIES["torch"]()
    nested, found = matryoshka(loss, DIMS, FACTORS), []
    inputs = [one.requires_grad_(one.is_floating_point() and not loss.kinds[name].frozen)
              for name, one in zip(loss.arrays, arrays(loss, library), strict=True)]
    leaves = [one for one in inputs if one.requires_grad]
    along = [torch.linspace(-1.0, 1.0, one.numel(), dtype=one.dtype).reshape(one.shape) for one in leaves]

    def plainly() -> Any:
        return sum(factor * loss.plain(*(one[..., :length] if has_dimension(loss, name) else one
                                         for name, one in zip(loss.arrays, inputs, strict=True)))
                   for length, factor in zip(DIMS, FACTORS, strict=True))

    for value in (nested(*inputs), plainly()):
        first = torch.autograd.grad(value, leaves, create_graph=True)
        dot = sum((a * b).sum() for a, b in zip(first, along, strict=True))
        second = torch.autograd.grad(dot, leaves, allow_unused=True) if dot.requires_grad else ()
        found.append([*first, *(one for one in second if one is not None)])
    for one, wanted in zip(*found, strict=True):
        scale = float(wanted.detach().abs().max()) or 1.0
        torch.testing.assert_close(one, wanted, rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("name", ["cosface", "triplet_margin"])
def test_jax_differentiates_it(name: str) -> None:
    jax, loss, library = import_module("jax"), anglos.LOSSES[name], LIBRARIES["jax"]()
    nested, inputs = matryoshka(loss, DIMS, FACTORS), arrays(loss, library)
    value, gradients = nested.value_and_grad(*inputs)
    places = tuple(range(len(gradients)))
    under_jit = jax.jit(jax.value_and_grad(nested, places))(*inputs)
    again = jax.jit(nested.value_and_grad)(*inputs)
    for other in (under_jit, again):
        for found, wanted in zip(jax.tree.leaves(other), (value, *gradients), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-13)
    several = jax.vmap(lambda x: nested(x, *inputs[1:]))(jax.numpy.stack([inputs[0], -inputs[0]]))
    assert several[0] == pytest.approx(float(value), rel=1e-13)
    assert several[1] == pytest.approx(float(nested(-inputs[0], *inputs[1:])), rel=1e-13)


def test_what_has_no_dimension_is_whole(library: Library) -> None:
    """Labels that are weights, margins of every sample, a learnt scale and weights of samples; references are cut."""
    weight, margin = np.linspace(0.5, 2.0, 6), np.linspace(0.1, 0.4, 6)
    loss, wrt = anglos.cosface, ("weights", "margin", "scale", "sample_weight", "embeddings")
    options = {"margin": margin, "scale": np.asarray(7.0), "sample_weight": weight}
    check(library, loss, [X, W, np.where(LABELS == 1, -100, LABELS)], wrt, options)
    check(library, loss, [X, W, LABELS], wrt, {**options, "reduction": "none"})
    references = {"reference_embeddings": W, "reference_labels": np.asarray([0, 1, 3, 3, 4]), "temperature": 0.5}
    check(library, anglos.supcon, [X, LABELS], ("reference_embeddings", "embeddings"), references)
    check(library, anglos.supcon, [X, np.where(W @ X.T > 0.5, 1.0, 0.0).T], ("reference_embeddings", "embeddings"),
          {"reference_embeddings": W})
    check(library, anglos.linear_cross_entropy, [X, W, np.abs(X @ W.T)], ("labels", "bias"), {"bias": W[:, 0]})
    check(library, anglos.info_nce, [X, X[::-1].copy()], ("keys",), {})


def check(library: Library, loss: Loss[...], inputs: list[Any], wrt: tuple[str, ...], options: dict[str, Any]) -> None:
    given = {name: library.array(option) if isinstance(option, np.ndarray) else option
             for name, option in options.items()}
    value, gradients = matryoshka(loss, DIMS, FACTORS).value_and_grad(*map(library.array, inputs), wrt=wrt, **given)
    wanted, of_wanted = written_out(loss, inputs, wrt, **options)
    for found, one in zip((value, *gradients), (wanted, *of_wanted), strict=True):
        assert found.shape == one.shape
        np.testing.assert_allclose(library.numpy(found), one, rtol=1e-11, atol=1e-13)


def test_columns_after_the_longest_prefix_have_no_gradient(library: Library) -> None:
    x, w, y = map(library.array, (X, W, LABELS))
    _, gradients = matryoshka(anglos.normface, (1, 3)).value_and_grad(x, w, y, scale=4.0)
    for gradient in map(library.numpy, gradients):
        assert gradient.shape[1] == 4
        assert not gradient[:, 3:].any()
        assert gradient[:, :3].all(axis=None) or gradient[:, 0].sum() == pytest.approx(0.0)


def test_no_negatives_are_none(library: Library) -> None:
    x, keys = library.array(X), library.array(X[::-1].copy())
    nested = matryoshka(anglos.info_nce, DIMS)
    for none in (None, library.array(X[:0])):
        value, gradients = nested.value_and_grad(x, keys, none)
        assert len(gradients) == 2
        assert library.numpy(value) == pytest.approx(float(library.numpy(nested(x, keys))), rel=1e-13)


@pytest.mark.slow
@pytest.mark.usefixtures("known_constants")
def test_a_graph_of_any_batch() -> None:
    ndx, runtime = (pytest.importorskip(name, reason="not installed") for name in ("ndonnx", "onnxruntime"))
    loss = matryoshka(anglos.normface, (1, 3), (2.0, 1.0))
    given = {name: ndx.argument(shape=shape, dtype=dtype) for name, shape, dtype in (
        ("x", ("N", 4), ndx.float64), ("w", (5, 4), ndx.float64), ("y", ("N",), ndx.int64))}
    value, (dx, dw) = loss.value_and_grad(*given.values(), scale=4.0)
    graph = ndx.build(given, {"value": value, "dx": dx, "dw": dw})
    session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"x": X, "w": W, "y": LABELS})
    wanted, gradients = loss.value_and_grad(X, W, LABELS, scale=4.0)
    for one, other in zip(found, (wanted, *gradients), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
def test_mlx() -> None:
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    loss, inputs = matryoshka(anglos.normface, (1, 3), (2.0, 1.0)), (X.astype("f"), W.astype("f"), LABELS)
    x, w, y = map(mx.array, inputs)
    value, gradients = loss.value_and_grad(x, w, y, scale=4.0)
    wanted, of_wanted = loss.value_and_grad(*inputs, scale=4.0)
    slope = mx.grad(lambda x: loss(x, w, y, scale=4.0))(x)
    for one, other in zip((value, *gradients, slope), (wanted, *of_wanted, of_wanted[0]), strict=True):
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
@pytest.mark.parametrize("name", ["cosface", "supcon", "info_nce"])
def test_it_is_compiled_as_one_graph(name: str) -> None:
    torch, loss, library = import_module("torch"), anglos.LOSSES[name], LIBRARIES["torch"]()
    nested, (x, *others) = matryoshka(loss, DIMS, FACTORS), arrays(loss, library)
    x.requires_grad_()
    compiled = torch.compile(lambda x: nested(x, *others), fullgraph=True, backend="aot_eager")
    wanted, = torch.autograd.grad(nested(x, *others), x)
    found, = torch.autograd.grad(compiled(x), x)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-11)


def test_it_is_put_into_a_head() -> None:
    torch, head_of = import_module("torch"), import_module("anglos.backends.torch").Head
    nested = matryoshka(anglos.cosface, (2, 4))
    head, labels = head_of(nested, 5, 4, scale=8.0, dtype=torch.float64), torch.tensor(LABELS)
    x = torch.tensor(X, requires_grad=True)
    value = head(x, labels)
    torch.testing.assert_close(value, nested(x, head.weight, labels, scale=8.0))
    value.backward()
    assert head.weight.grad.shape == (5, 4)
    unit = torch.nn.functional.normalize
    torch.testing.assert_close(head.logits(x), 8.0 * unit(x) @ unit(head.weight).T)
    assert head.settings["loss"] == "anglos.matryoshka(anglos.cosface, (2, 4))"
    assert copy.deepcopy(head).loss == nested
    sampled = head_of(nested, 5, 4, sample_rate=0.4)
    assert sampled(x.float(), labels).isfinite()


def test_what_is_asked_of_a_head_is_asked_of_whole_vectors(numpy: Library) -> None:
    inputs = [numpy.array(one) for one in (X, W, LABELS)]
    found, wanted = (anglos.diagnose(loss, *inputs, scale=8.0)
                     for loss in (matryoshka(anglos.cosface, (2, 4)), anglos.cosface))
    assert (found.label_angle, found.accuracy) == (wanted.label_angle, wanted.accuracy)


def test_devices_and_corrections_are_inside(numpy: Library) -> None:
    """A loss that was made of another is taken as it is; of nested prefixes no other is made."""
    x, w, y = map(numpy.array, (X, W, LABELS))
    inside = matryoshka(anglos.correct_sampling(anglos.normface), (2, 4))
    none = numpy.array(np.zeros(5))
    assert inside(x, w, y, log_probability=none) == pytest.approx(matryoshka(anglos.normface, (2, 4))(x, w, y))
    nested = matryoshka(anglos.arcface, (2, 4))
    for made in (anglos.correct_sampling, import_module("anglos.backends.torch").class_sharded,
                 import_module("anglos.backends.torch").batch_sharded):
        with pytest.raises(TypeError, match=r": loss was matryoshka\(arcface, \(2, 4\)\); wanted a loss "):
            made(nested)


def test_classes_over_devices() -> None:
    jax, library = import_module("jax"), LIBRARIES["jax"]()
    sharded = import_module("anglos.backends.jax").class_sharded
    mesh = jax.make_mesh((1,), ("classes",))
    x, w, y = map(library.array, (X, W, LABELS))
    found, wanted = (jax.jit(jax.value_and_grad(matryoshka(loss, (2, 4)), 1))(x, w, y)
                     for loss in (sharded(anglos.arcface, mesh, "classes"), anglos.arcface))
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_equal_ones_are_equal() -> None:
    nested = of_any(anglos.arcface, np.asarray([2, 4]), [1, np.float32(0.5)])
    same = matryoshka(anglos.arcface, (2, 4), (1.0, 0.5))
    assert pickle.loads(pickle.dumps(nested)) == nested == same
    assert hash(nested) == hash(same)
    assert nested != matryoshka(anglos.arcface, (2, 4))
    assert repr(nested) == "<loss anglos.matryoshka(anglos.arcface, (2, 4), (1.0, 0.5))>"
    assert (nested.__doc__, nested.signature) == (anglos.arcface.__doc__, anglos.arcface.signature)


_DIMS = "wanted different integers of at least 1, such as (64, 128, 256)"
_OF_PREFIXES = "wanted a loss of embeddings, such as anglos.arcface"


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: of_any(anglos.cross_entropy, (2,)), TypeError, f"loss was cross_entropy; {_OF_PREFIXES}"),
    (lambda: of_any(anglos.margin_cross_entropy, (2,)), TypeError,
     f"loss was margin_cross_entropy; {_OF_PREFIXES}"),
    (lambda: of_any(np.mean, (2,)), TypeError, "loss was a "),
    (lambda: of_any(partial(anglos.supcon, temperature=0.1), (2,)), TypeError,
     f"loss was a functools.partial; {_OF_PREFIXES}; options go to the nested loss, as partial(matryoshka(loss, dims)"),
    (lambda: of_any(of_any(anglos.supcon, (2,)), (1,)), TypeError,
     f"loss was matryoshka(supcon, (2,)); {_OF_PREFIXES}"),
    (lambda: of_any(anglos.arcface, 8), TypeError, f"dims was 8; {_DIMS}"),
    (lambda: of_any(anglos.arcface, "8"), TypeError, f"dims was '8'; {_DIMS}"),
    (lambda: of_any(anglos.arcface, None), TypeError, f"dims was None; {_DIMS}"),
    (lambda: of_any(anglos.arcface, {2, 4}), TypeError, f"dims was a set; {_DIMS}"),
    (lambda: of_any(anglos.arcface, ()), ValueError, f"dims was (); {_DIMS}"),
    (lambda: of_any(anglos.arcface, [4, 2, 4]), ValueError, f"dims was [4, 2, 4]; {_DIMS}"),
    (lambda: of_any(anglos.arcface, (0, 4)), ValueError, f"dims was (0, 4); {_DIMS}"),
    (lambda: of_any(anglos.arcface, (True, 4)), ValueError, f"dims was (True, 4); {_DIMS}"),
    (lambda: of_any(anglos.arcface, (2.0, 4)), ValueError, f"dims was (2.0, 4); {_DIMS}"),
    (lambda: of_any(anglos.arcface, (2, 4), (1.0,)), ValueError,
     "weights was (1.0,); wanted 2 numbers of at least 0, one for each of dims"),
    (lambda: of_any(anglos.arcface, (2, 4), (1.0, -1.0)), ValueError, "weights was (1.0, -1.0); wanted 2 "),
    (lambda: of_any(anglos.arcface, (2, 4), (1.0, np.nan)), ValueError, "weights was (1.0, nan); wanted 2 "),
    (lambda: of_any(anglos.arcface, (2, 4), 1.0), TypeError, "weights was 1.0; wanted 2 "),
])
def test_what_is_refused_at_once(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=rf"^matryoshka: {re.escape(message)}"):
        call()


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: of_any(anglos.arcface, (8, 2))(X, W, LABELS), ValueError,
     "matryoshka(arcface, (8, 2)): embeddings was of shape (6, 4); wanted D to be at least 8, the largest of dims"),
    (lambda: of_any(anglos.arcface, (2, 3))(X, W[:, :3], LABELS), ValueError,
     "arcface: weights was of shape (5, 3); wanted (C, D), with D = 4 in embeddings"),
    (lambda: of_any(anglos.subcenter_arcface, (2, 3))(X, W, LABELS), ValueError,
     "subcenter_arcface: weights was of shape (5, 4); wanted (C, K, D)"),
    (lambda: of_any(anglos.arcface, (2,))(), TypeError, "arcface: the arrays were 0; wanted 3"),
    (lambda: of_any(anglos.arcface, (2,))(X), TypeError, "arcface: the arrays were 1; wanted 3"),
    (lambda: of_any(anglos.arcface, (2,))(X, W, LABELS, W), TypeError, "arcface: the arrays were 4; wanted 3"),
    (lambda: of_any(anglos.arcface, (2,))(X.tolist(), W, LABELS), TypeError, "arcface: embeddings was a list"),
    (lambda: of_any(anglos.arcface, (2,))(X, W, LABELS + 1), ValueError, "arcface: labels held 5"),
    (lambda: of_any(anglos.arcface, (2,))(X, W, LABELS, dims=(1,)), TypeError,
     "arcface: dims was given, which is none of its options"),
    (lambda: of_any(anglos.arcface, (2,)).value_and_grad(X, W, LABELS, wrt="embeddings"), ValueError,
     "arcface: wrt was 'embeddings'"),
    (lambda: of_any(anglos.cosent, (2, 3))(X, X, Y, similarity="angle"), ValueError,
     "cosent: first was of shape (6, 3); wanted an even number of columns"),
])
def test_what_is_refused_in_a_call(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=rf"^{re.escape(message)}"):
        call()


def test_examples() -> None:
    results = import_module("doctest").testmod(import_module("anglos.training.matryoshka"))
    assert results.attempted > 0
    assert results.failed == 0
