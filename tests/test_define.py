"""Losses that a user defines in a file of their own: at every level, in every library, and what is refused."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import pickle
import re
import subprocess
import sys
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Literal, Unpack

import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import BATCH, CLASSES, DIMENSION, LABELS, hard_embeddings

import anglos
from anglos import define
from anglos.call.static_kinds import kind_of


@define.margin(formula="φ = a(θ − h)² + k", paper="arXiv:2312.05281")
def x2_softmax(cos, *, a: define.Number = -0.25, h: define.Angle = 0.0, k: define.Number = 1.0):  # type: ignore[no-untyped-def]
    """X2-Softmax."""
    angle = define.arccos(cos)
    return a * (angle - h) ** 2 + k


@define.margin
def added(cos: Any, *, margin: define.Angle = 0.5) -> Any:
    """ArcFace, whose slopes are found."""
    return define.cos(define.arccos(cos) + margin)


@define.margin
def given(cos: Any, *, margin: define.Angle = 0.5) -> define.Curve:
    """ArcFace, whose slopes are given."""
    angle = define.arccos(cos)
    slope = define.sin(angle + margin) / define.sin(angle)
    return define.Curve(define.cos(angle + margin), slope, {"margin": -define.sin(angle + margin)})


@define.margin
def everything(cos: Any, length: Any, *, m: define.Number = 0.3, t: define.PerSample = 0.5) -> Any:
    """All functions, of all that may be differentiated."""
    near = cos < m * define.sqrt(define.square(t) + 1.0)
    one = define.where(near & (t > 0.0), cos, define.exp(t * cos) - define.tanh(length) - 1.0)
    two = define.maximum(one, -0.9) + m * define.clip(length, 0.1, 1.0) - define.softplus(t) * define.sin(t) ** 2
    three = define.log1p(define.sigmoid(cos)) / (2.0 - t) - define.expm1(-define.abs(t)) * define.arctan(m * cos)
    four = (define.arctan2(cos, t + 2.0) + 2.0) ** t * 2.0**m + define.sinh(cos / t)
    four = four - define.log(3.0 + cos) * define.cosh(m)
    return two + three + define.where(cos > -0.2, four, -0.5) + define.arcsin(cos) * define.tan(0.2 * t)


def pull(s: Any, *, alpha: Any, base: Any) -> Any:
    return define.softplus(-alpha * (s - base))


def push(s: Any, *, alpha: Any, base: Any) -> Any:
    return define.softplus(alpha * (s - base))


@define.pairs(formula="ℓ = mean_p ς(−α(s_p − λ)) + mean_n ς(α(s_n − λ))", paper="arXiv:1407.4979")
def deviance(vectors: define.Embeddings, classes: define.Groups, /, *, alpha: define.Factor = 2.0,
             base: define.Number = 0.5) -> define.PairRow:
    """Binomial deviance, of arguments of other names."""
    return define.PairRow(define.pair_terms(pull, push, alpha=alpha, base=base))


MARGINS = [x2_softmax, added, given, everything]


def batch(library: Library) -> list[Any]:
    random = np.random.default_rng(0)
    return [library.array(array) for array in (
        random.normal(size=(BATCH, DIMENSION)), random.normal(size=(CLASSES, DIMENSION)), LABELS)]


def margins_of(mine: Any) -> dict[str, np.ndarray]:
    """Every option of a formula as an array."""
    random = np.random.default_rng(1)
    return {name: random.uniform(0.2, 0.6, size=BATCH if "B" in mine.kinds[name].shapes else ())
            for name in inspect.signature(mine.function).parameters if name in mine.defaults}


def test_x2_softmax_is_its_formula(library: Library) -> None:
    """Against its value by hand, and central differences of the value."""
    embeddings, weights, labels = batch(LIBRARIES["numpy"]())

    def at(a: float, h: float) -> Any:
        cos = np.clip(embeddings @ weights.T / np.linalg.norm(embeddings, axis=1)[:, None]
                      / np.linalg.norm(weights, axis=1), -1.0, 1.0)
        logits, rows = 8.0 * cos, np.arange(BATCH)
        logits[rows, labels] = 8.0 * (a * (np.arccos(cos[rows, labels]) - h) ** 2 + 1.0)
        return float(np.mean(np.log(np.sum(np.exp(logits), axis=1)) - logits[rows, labels]))

    options = {"a": -0.3, "h": 0.2, "scale": 8.0}
    value, slopes = x2_softmax.value_and_grad(*batch(library), **options, wrt=("a", "h"))
    np.testing.assert_allclose(library.numpy(value), at(-0.3, 0.2), rtol=1e-12)
    differences = [at(-0.3 + 1e-6, 0.2) - at(-0.3 - 1e-6, 0.2), at(-0.3, 0.2 + 1e-6) - at(-0.3, 0.2 - 1e-6)]
    np.testing.assert_allclose([float(library.numpy(slope)) for slope in slopes], np.asarray(differences) / 2e-6,
                               rtol=1e-7)


@pytest.mark.parametrize("mine", [added, given], ids=["derived", "given"])
def test_a_known_loss_comes_out_again(mine: Any, library: Library) -> None:
    margin = library.array(np.linspace(0.1, 0.9, BATCH))
    options = {"margin": margin, "wrt": ("embeddings", "weights", "margin", "scale"), "label_smoothing": 0.1}
    value, gradients = mine.value_and_grad(*batch(library), **options)
    wanted, others = anglos.arcface.value_and_grad(*batch(library), **options, past_pi="reflect")
    np.testing.assert_allclose(library.numpy(value), library.numpy(wanted), rtol=1e-13)
    for got, want in zip(gradients, others, strict=True):
        np.testing.assert_allclose(library.numpy(got), library.numpy(want), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("mine", MARGINS, ids=str)
def test_slopes_are_those_of_autodiff_to_second_order(mine: Any, torch_library: Library) -> None:
    torch: Any = import_module("torch")
    penalties, firsts = [], []
    for function in (mine, mine.plain):
        *leaves, labels = batch(torch_library)
        learnt = {name: torch.tensor(value, requires_grad=True) for name, value in margins_of(mine).items()}
        leaves = [*(leaf.requires_grad_() for leaf in leaves), *learnt.values()]
        value = function(*leaves[:2], labels, **learnt, scale=4.0)
        gradients = torch.autograd.grad(value, leaves, create_graph=True)
        firsts.append(gradients)
        penalties.append(torch.autograd.grad(sum((gradient**2).sum() for gradient in gradients), leaves))
    for got, want in zip([*firsts[0], *penalties[0]], [*firsts[1], *penalties[1]], strict=True):
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mine", MARGINS, ids=str)
def test_jax_transforms(mine: Any, jax_library: Library) -> None:
    jax: Any = import_module("jax")
    embeddings, weights, labels = batch(jax_library)
    options = {name: jax.numpy.asarray(value) for name, value in margins_of(mine).items()}

    def call(function: Any) -> Any:
        return lambda embeddings, options: function(embeddings, weights, np.asarray(labels), **options, scale=4.0)

    got = jax.jit(jax.grad(call(mine), argnums=(0, 1)))(embeddings, options)
    want = jax.grad(call(mine.plain), argnums=(0, 1))(embeddings, options)
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-11)
    both = jax.vmap(call(mine), in_axes=(0, None))(jax.numpy.stack([embeddings, 2.0 * embeddings]), options)
    np.testing.assert_allclose(both[1], call(mine)(2.0 * embeddings, options), rtol=1e-12)


@pytest.mark.parametrize("mine", MARGINS, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_at_hard_inputs(mine: Any, dtype: str, library: Library) -> None:
    if mine is given:
        pytest.skip("its own slope divides by the sine")
    embeddings, weights, labels = hard_embeddings()
    arrays = [library.array(array) for array in (embeddings.astype(dtype), weights.astype(dtype), labels)]
    value, gradients = mine.value_and_grad(*arrays)
    for array in (value, *gradients):
        assert dtype in str(array.dtype)
        assert np.isfinite(library.numpy(array)).all()


def test_binomial_deviance_is_its_formula(library: Library) -> None:
    """By a loop over anchors; one without a positive adds nothing; the slope in an option by a difference."""
    embeddings, _, labels = batch(LIBRARIES["numpy"]())

    def at(alpha: float, base: float) -> float:
        unit = embeddings / np.linalg.norm(embeddings, axis=1)[:, None]
        s, each = unit @ unit.T, []
        for anchor, label in enumerate(labels):
            same = (labels == label) & (np.arange(BATCH) != anchor)
            if same.any():
                pulls, pushes = -alpha * (s[anchor, same] - base), alpha * (s[anchor, labels != label] - base)
                each.append(np.mean(np.log1p(np.exp(pulls))) + np.mean(np.log1p(np.exp(pushes))))
        return float(np.mean(each))

    vectors, _, classes = batch(library)
    value, slopes = deviance.value_and_grad(vectors, classes, alpha=1.5, base=0.2, wrt=("alpha", "base"))
    np.testing.assert_allclose(library.numpy(value), at(1.5, 0.2), rtol=1e-12)
    differences = [at(1.5 + 1e-6, 0.2) - at(1.5 - 1e-6, 0.2), at(1.5, 0.2 + 1e-6) - at(1.5, 0.2 - 1e-6)]
    np.testing.assert_allclose([float(library.numpy(slope)) for slope in slopes], np.asarray(differences) / 2e-6,
                               rtol=1e-7)


def test_tiles_are_the_whole(library: Library) -> None:
    random = np.random.default_rng(2)
    embeddings, weights = library.array(random.normal(size=(3, 700))), library.array(random.normal(size=(4000, 700)))
    labels = library.array(np.asarray([5, 3999, 17]))
    results = [everything.value_and_grad(embeddings, weights, labels, keep_bytes=keep, wrt=("weights", "m"))
               for keep in (0, 2**28)]
    for one, other in zip(*((value, *gradients) for value, gradients in results), strict=True):
        np.testing.assert_allclose(library.numpy(one), library.numpy(other), rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*should not be instantiated")
def test_torch_compile() -> None:
    torch: Any = import_module("torch")
    *leaves, labels = batch(LIBRARIES["torch"]())
    leaves = [*(leaf.requires_grad_() for leaf in leaves), torch.linspace(0.2, 0.8, BATCH, dtype=torch.float64)]

    def step(embeddings: Any, weights: Any, t: Any) -> Any:
        return everything(embeddings, weights, labels, t=t, m=0.4)

    wanted = torch.autograd.grad(step(*leaves), leaves[:2])
    got = torch.autograd.grad(torch.compile(step, fullgraph=True, backend="aot_eager")(*leaves), leaves[:2])
    for one, other in zip(got, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_a_loss_is_an_object_like_ours() -> None:
    """The signature has the common options; a cell is run twice; copies and pickles are the loss."""
    assert list(x2_softmax.defaults) == ["a", "h", "k", "scale", "label_smoothing", "class_weight", "sample_weight",
                                         "ignore_index", "keep_bytes", "gradient_products", "reduction"]
    assert list(inspect.signature(x2_softmax).parameters)[:3] == ["embeddings", "weights", "labels"]
    assert repr(x2_softmax) == f"<loss {__name__}.x2_softmax>"
    assert repr(anglos.arcface) == "<loss anglos.arcface>"
    assert x2_softmax not in anglos.LOSSES.values()
    assert copy.deepcopy(x2_softmax) is x2_softmax
    assert pickle.loads(pickle.dumps(x2_softmax)) is x2_softmax
    assert {x2_softmax: 1}[x2_softmax] == 1
    for text in ("X2-Softmax.", "a : number", "sample_weight : array (B,), optional", "arXiv:2312.05281"):
        assert text in str(inspect.getdoc(x2_softmax)), inspect.getdoc(x2_softmax)


def test_in_main_and_in_a_cell_that_is_run_twice() -> None:
    code = """
from __future__ import annotations
import pickle, sys
import numpy as np
cell = '''
from anglos import define
@define.margin
def mine(cos, *, margin: define.CosineMargin = 0.2):
    return cos - margin
'''
exec(cell)
first = mine
exec(cell)
x, w, y = np.eye(2), np.eye(2), np.asarray([0, 1])
assert first(x, w, y) == mine(x, w, y) and first is not mine
assert pickle.loads(pickle.dumps(mine)) is mine
print(mine)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "<loss __main__.mine>\n", done.stderr


def test_words_of_a_scope_are_found() -> None:
    """Annotations that are words, of names that stand in the function around alone."""
    Kind = define.Angle

    @define.margin
    def inner(cos: Any, *, m: Kind = 0.5, past: Literal["a", "b"] = "a", many: int = 3, twice: bool = False) -> Any:  # type: ignore[valid-type]
        return cos - m

    assert inner.kinds["m"] is kind_of(define.Angle)
    assert inner.kinds["past"].choices == ("a", "b")


@pytest.mark.parametrize("name", ["torch", "flax", "equinox"])
def test_heads(name: str, numpy: Library) -> None:
    random = np.random.default_rng(0)
    embeddings, labels = random.normal(size=(6, DIMENSION)).astype("float32"), LABELS
    if name == "torch":
        torch: Any = import_module("torch")
        head = import_module("anglos.backends.torch").Head(x2_softmax, CLASSES, DIMENSION, h=0.1, k=torch.tensor(0.9))
        weights, value = head.weight.detach().numpy(), head(torch.tensor(embeddings), torch.tensor(labels))
    elif name == "flax":
        nnx: Any = pytest.importorskip("flax.nnx")
        head = import_module("anglos.backends.flax").Head(x2_softmax, CLASSES, DIMENSION, h=0.1, k=0.9,
                                                          rngs=nnx.Rngs(0))
        weights, value = np.asarray(head.weight[...]), head(embeddings, labels)
    else:
        pytest.importorskip("equinox")
        jax: Any = import_module("jax")
        head = import_module("anglos.backends.equinox").Head(x2_softmax, CLASSES, DIMENSION, h=0.1, k=0.9,
                                                             key=jax.random.key(0))
        weights, value = np.asarray(head.weight), head(jax.numpy.asarray(embeddings), jax.numpy.asarray(labels))
    np.testing.assert_allclose(value.item(), x2_softmax(embeddings, weights, labels, h=0.1, k=0.9), rtol=1e-4)


def numpys(cos: Any) -> Any:
    return np.exp(cos)


def branches(cos: Any) -> Any:
    return cos if cos > 0 else 0.0


def nothing(cos: Any) -> Any:
    return None


def sums(cos: Any, *, m: define.Number = 0.5) -> Any:
    return m


def doubles(cos: Any) -> Any:
    return define.where(cos > 0, cos, 0.0) * np.float64(2.0)


def frozen(cos: Any, *, m: define.Number = 0.5) -> define.Curve:
    return define.Curve(cos - m, 1.0)


def wide(cos: Any) -> define.Curve:
    return define.Curve(cos, define.backend_of(cos).xp.ones_like(cos)[:, None])  # type: ignore[union-attr]


CALLS = [
    (wide, "wide: what the function returned had a slope in cos θ of shape (6, 1); wanted (6,), or a number"),
    (numpys, "numpys: its formula failed (operand 'Dual' does not support ufuncs (__array_ufunc__=None)); wanted "
             "define.exp, or -> define.Curve for a function that gives its slopes itself"),
    (branches, "branches: its formula failed (a condition was asked whether it is true, which is so for some samples "
               "and not for others: define.where(condition, a, b), maximum and minimum choose for each); wanted the "
               "functions of anglos.define, or -> define.Curve for a function that gives its slopes itself"),
    (nothing, "nothing: what the function returned was None; wanted an array that is computed from the cosine, or a "
              "define.Curve"),
    (sums, "sums: what the function returned was of shape (); wanted (6,), one number per cosine"),
    (doubles, "doubles: what the function returned was of dtype float64; wanted float32, that of the cosine: numbers "
              "of Python, or arrays that are arguments, keep it; a NumPy number does not"),
    (frozen, "frozen: what the function returned had no slope in m; wanted define.Curve(value, slope, ...) with "
             "option_slopes={'m': ...}"),
]


@pytest.mark.parametrize(("function", "text"), CALLS, ids=[function.__name__ for function, _ in CALLS])
def test_what_a_formula_may_not_return(function: Any, text: str, numpy: Library) -> None:
    options = {"m": np.asarray(0.5, dtype="float32")} if "m" in inspect.signature(function).parameters else {}
    embeddings, weights, labels = batch(numpy)
    with pytest.raises(TypeError) as caught:
        define.margin(function)(embeddings.astype("float32"), weights.astype("float32"), labels, **options)
    assert str(caught.value) == text


_KINDS = ("wanted a kind of anglos.define, such as define.Number, define.PerSample or define.Angle, or float, int, "
          "bool or Literal[...]")
DEFINITIONS = {
    "def f(cos, m): return cos":
        "f: m was an argument by position; wanted it after a *, as in f(cos, *, m: define.Number = ...)",
    "def f(cos, *, m: float): return cos": "f: option m had no default; wanted one, so that a call need not name it",
    "def f(cos, *, m=3): return cos": f"f: m had no annotation; {_KINDS}",
    "def f(cos, *, m: str = ''): return cos": f"f: m was annotated str; {_KINDS}",
    "def f(cos, *, m: 'Foo' = 1): return cos":
        f"f: m was annotated 'Foo', which failed (name 'Foo' is not defined); {_KINDS}",
    "def f(cos, *, labels: float = 1.0): return cos":
        "f: labels was the name of an option; wanted another, which the loss does not have",
    "def f(cos, *ms): return cos": "f: *ms was among its arguments; wanted every array by its own name",
    "def f(length): return length":
        "f: its first argument was length; wanted the cosine, as in f(cos, length, *, ...)",
    "def f(cos, *, keep_bytes: define.Number = 3.0): return cos":
        "f: keep_bytes was the name of an option; wanted another, which the loss does not have",
    "def f(): return 3": "f: its first argument was missing; wanted the cosine, as in f(cos, *, ...)",
    "f = lambda cos: cos": "define: the function was a lambda; wanted one with a name: def",
    "f = 3": "define: what was decorated was 3; wanted a function",
    "def f(cos, *, m: define.Angle = 30.0): return cos":
        "f: the default of m was 30; wanted an angle in radians from 0 to 3.14159: a number or an array of real "
        "floating dtype and shape () or (B,) (if that is in degrees: math.radians(30) is 0.5236)",
}


@pytest.mark.parametrize("code", DEFINITIONS, ids=list(DEFINITIONS))
def test_definitions_that_are_refused(code: str) -> None:
    names: dict[str, Any] = {"define": define}
    exec(compile(code, "cell", "exec", dont_inherit=True), names)
    with pytest.raises((TypeError, ValueError)) as caught:
        define.margin(names["f"])
    assert str(caught.value) == DEFINITIONS[code]


@pytest.mark.parametrize(("annotation", "was"), [("", "had no annotation"), (": dict", "was annotated dict"),
                                                 (": 'define.Queues'", "was annotated 'define.Queues', which failed")])
def test_an_array_of_no_kind_is_refused(annotation: str, was: str) -> None:
    names: dict[str, Any] = {"define": define}
    exec(compile(f"def f(queue{annotation}, /): return queue", "cell", "exec", dont_inherit=True), names)
    with pytest.raises(TypeError, match=rf"^f: queue {re.escape(was)}.*; wanted a kind of array of anglos\.define, "
                                        r"as in queue: define\.Embeddings \(B, D\); others"):
        define.pairs(names["f"])


@pytest.mark.parametrize(("of_batch", "value", "gradients", "message"), [
    (True, lambda xp, x: x[:, 0], {}, r"its value was of shape \(4,\); wanted an array of shape \(\), one number of"),
    (True, lambda xp, x: 0.0, {}, r"its value was 0\.0; wanted an array of shape \(\)"),
    (False, lambda xp, x: x, {}, r"its value was of shape \(4, 3\); wanted an array of shape \(4,\), one number per"),
    (True, None, {"c": np.ones(())}, "embeddings had no gradient; wanted one among what gradients returns, by"),
    (True, None, {"embeddings": np.ones((2, 3)), "c": np.ones(())}, r"the gradient in embeddings was of shape \(2, 3\)"
     r"; wanted an array of shape \(4, 3\), as embeddings has"),
    (True, None, {"embeddings": np.ones((4, 3)), "c": np.ones(4)}, r"the gradient in c was of shape \(4,\); wanted"),
    (False, lambda xp, x: x[:, 0], {"embeddings": np.ones((4, 3)), "c": np.ones((4, 3))},
     r"the gradient in c was of shape \(4, 3\); wanted an array of shape \(4,\), or of shape \(\)"),
    (True, lambda xp, x: xp.sum(x) > 0.0, {}, r"its value was a numpy\.\w+ of dtype bool; wanted an array of real fl"),
    (False, lambda xp, x: x[:, 0] + 0j, {}, r"its value was a numpy\.ndarray of dtype complex128; wanted an array of"),
    (True, None, {"embeddings": np.ones((4, 3), dtype=bool), "c": np.ones(())}, r"the gradient in embeddings was a nu"
     r"mpy\.ndarray of dtype bool; wanted an array of real floating dtype, of the library of the arrays"),
    (False, lambda xp, x: SimpleNamespace(shape=(4,)), {}, r"its value was a types\.SimpleNamespace of dtype None; "),
])
def test_what_a_direct_loss_may_not_return(of_batch: bool, value: Any, gradients: Any, message: str) -> None:
    @(define.batchwise if of_batch else define.rowwise)
    def mine(embeddings: define.Embeddings, /, *, c: define.Number = 1.0) -> define.Direct:
        return define.Direct(lambda backend, x, c: (value or (lambda xp, x: xp.sum(x)))(backend.xp, x),
                             lambda *_: gradients)

    with pytest.raises(TypeError, match=rf"^mine: {message}"):
        mine.value_and_grad(np.ones((4, 3)), c=np.ones(()), wrt=("embeddings", "c"))


def test_a_loss_of_the_batch_knows_ignored_rows() -> None:
    """By an option that it names; they come as zeros."""
    @define.batchwise
    def mean_square(embeddings: define.Embeddings, labels: define.BatchClasses, /, *,
                    ignore_index: define.IgnoredGroup = -100) -> define.Direct:
        def value(backend: Any, x: Any, labels: Any) -> Any:
            counted = backend.xp.astype(define.takes_part(backend.xp, labels, ignore_index), x.dtype)
            return backend.xp.sum(x * x) / backend.xp.sum(counted)

        return define.Direct(value, lambda *_: {})

    x, labels = np.asarray([[3.0], [np.nan], [1.0]]), np.asarray([0, -7, 0])
    assert mean_square(x, labels, ignore_index=-7) == 5.0


def test_names_of_options(numpy: Library) -> None:
    """Those of our own arguments too; one that may be None; zero has one sign."""
    @define.margin
    def mine(x: Any, *, formula: define.Number = 1.0, own: define.PerSample = 1.0, backend: float = 0.0,
             cos: define.Number | None = None, wanted: float | None = None) -> Any:
        return x ** backend * formula * own * (-1.0 if math.copysign(1.0, backend) < 0.0 else 1.0) * (cos or 1.0)

    @define.prototypes
    def row(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *, name: int = 1,
            function: define.Scale = 2.0, own: int = 1) -> define.Row:
        return define.Row(function)

    zero, value = mine.value_and_grad(*batch(numpy), formula=2.0, own=np.ones(BATCH), wrt=("own",))
    assert np.isfinite(value).all()
    assert zero == mine(*batch(numpy), formula=2.0, backend=-0.0, cos=1.0)
    assert np.isfinite(mine.value_and_grad(np.zeros((1, 2)), np.eye(2), LABELS[:1])[1][0]).all()
    assert row(*batch(numpy), name=2) == anglos.normface(*batch(numpy), scale=2.0)


def test_rows_that_are_refused(numpy: Library) -> None:
    """What levels 2 and 3 return, and arrays that they do not have."""
    with pytest.raises(TypeError, match=r"strange: option reduction was a number .*; wanted one of 'mean'"):
        @define.prototypes
        def strange(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
                    reduction: define.Number = 0.1) -> Any:
            return define.Row(8.0)

    @define.prototypes
    def odd(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /) -> Any:
        return define.PairRow(define.each_by_itself)

    with pytest.raises(TypeError) as caught:
        odd(*batch(numpy))
    assert str(caught.value) == ("odd: what the function returned was a anglos.engines.pairs.row.PairRow; wanted a "
                                 "define.Row")
    with pytest.raises(TypeError, match=r"bare: its arrays were none; wanted the arrays before a /, each annotated"):
        @define.pairs  # type: ignore[arg-type]
        def bare(*, scale: define.Scale = 1.0) -> Any:
            return define.PairRow(define.each_by_itself, scale)

    @define.prototypes
    def smooth(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /,
               **common: Unpack[define.MarginCommon]) -> define.Row:
        return define.Row(8.0, reduction=define.Binary())

    with pytest.raises(TypeError, match="smooth: label_smoothing was among its common options; wanted a row whose "):
        smooth(*batch(numpy))


def test_slopes_that_a_row_does_not_have(numpy: Library) -> None:
    """In place of a gradient that is wrong without a word."""
    @define.prototypes
    def doubled(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
                scale: define.Scale = 8.0) -> Any:
        return define.Row(2.0 * scale)

    @define.prototypes
    def cooled(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
               temperature: define.Temperature = 0.1) -> Any:
        return define.Row(1.0 / temperature)

    def pairs(names: Any, function: Any = pull) -> Any:
        @define.pairs
        def paired(embeddings: define.Embeddings, labels: define.Groups, /, *, alpha: define.Factor = 2.0) -> Any:
            return define.PairRow(define.pair_terms(function, function, base=0.5, **names(alpha)))

        return paired

    def other(s: Any, *, beta: Any, base: Any) -> Any:
        return beta * (s - base)

    embeddings, weights, labels = batch(numpy)
    given = np.asarray(0.5)
    wanted = "was not the option as it was given; wanted"
    with pytest.raises(TypeError, match=f"doubled: scale of the row {wanted} scale=scale, or its"):
        doubled(embeddings, weights, labels, scale=given)
    assert doubled(embeddings, weights, labels, scale=4.0) == anglos.normface(embeddings, weights, labels, scale=8.0)
    with pytest.raises(TypeError, match="cooled: temperature was given no slope by its row; wanted one in names"):
        cooled.value_and_grad(embeddings, weights, labels, temperature=given, wrt=("temperature",))
    with pytest.raises(TypeError, match=f"paired: alpha of the row {wanted} alpha=alpha, or its"):
        pairs(lambda alpha: {"alpha": 2.0 * alpha})(embeddings, labels, alpha=given)
    with pytest.raises(TypeError, match="paired: alpha was given no slope by its row; wanted one in names"):
        pairs(lambda alpha: {"beta": alpha}, other).value_and_grad(embeddings, labels, alpha=given, wrt=("alpha",))
    with pytest.raises(TypeError, match=r"pull: its formula failed \(pull\(\) missing 1 required keyword-only"):
        pairs(lambda alpha: {})(embeddings, labels)
    with pytest.raises(TypeError, match="<lambda>: what the function returned was NoneType; wanted a number"):
        pairs(lambda alpha: {}, lambda s, base: None)(embeddings, labels)


def test_common_options_come_by_themselves(numpy: Library) -> None:
    """With and without the word for type checkers; a row need not hand them on."""
    @define.prototypes
    def smooth(embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
               scale: define.Scale = 10.0, **common: Unpack[define.MarginCommon]) -> define.Row:
        return define.Row(scale)

    @define.pairs
    def pair(embeddings: define.Embeddings, labels: define.Groups, /, *, temperature: define.Temperature = 0.1,
             **common: Unpack[define.PairCommon]) -> define.PairRow:
        return define.PairRow(define.each_by_itself, 1.0 / temperature)

    assert list(smooth.defaults) == [name for name in anglos.normface.defaults if name != "bias"]
    options: Any = {"label_smoothing": 0.2, "sample_weight": np.linspace(0.5, 1.0, BATCH), "ignore_index": 3}
    assert smooth(*batch(numpy), **options) == anglos.normface(*batch(numpy), **options)
    assert list(pair.defaults)[1:] == ["reference_embeddings", "reference_labels", "excluded_pairs", "sample_weight",
                                       "ignore_index", "reduction"]
    embeddings, _, labels = batch(numpy)
    kept = labels != 3
    np.testing.assert_allclose(pair(embeddings, labels, ignore_index=3, reduction="sum"),
                               pair(embeddings[kept], labels[kept], reduction="sum"), rtol=1e-12)


def test_a_choice_of_two_numbers(library: Library) -> None:
    """It has the type of what was compared, and ∞ stays out of where it is not chosen; no bare array tells a type."""
    x = library.array(np.asarray([-0.5, 0.5], dtype="float32"))
    assert library.numpy(define.sign(x)).dtype == np.float32
    with pytest.raises(TypeError, match="^define.where: both choices were numbers, of no type; wanted an array for one "
                                        r"of them, as in 0\.0 \* x$"):
        define.where(x > 0.0, 1.0, 0.0)

    def pull(s: Any) -> Any:
        return define.where(s > 2.0, np.inf, 0.3) - s

    def push(s: Any) -> Any:
        return s * define.where(s > 0.0, 0.3, 0.1)

    @define.pairs
    def chosen(embeddings: define.Embeddings, labels: define.Groups, /) -> define.PairRow:
        row: define.PairRow = define.PairRow(define.pair_terms(pull, push))
        return row

    at_45_degrees = np.asarray([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 1.0]])
    for dtype in ("float32", "float64"):
        value, (gradient,) = chosen.value_and_grad(library.array(at_45_degrees.astype(dtype)),
                                                   library.array(np.asarray([0, 0, 1, 1])))
        assert library.numpy(value).dtype == library.numpy(gradient).dtype == dtype
        wanted, eps = 0.3 - 1.0 + 0.3 * np.sqrt(0.5), float(np.finfo(dtype).eps)
        np.testing.assert_allclose(library.numpy(value), wanted, rtol=4.0 * eps)


def test_what_is_learnt_is_an_option(torch_library: Library) -> None:
    """Nothing would differentiate by a parameter that the function finds around it."""
    margin = torch_library.array(np.asarray(0.3)).requires_grad_()
    with pytest.raises(TypeError, match=r"^closed: margin was an array that is learnt, from around it; "
                                        r"wanted an option, which is differentiated by$"):
        @define.margin
        def closed(cos: Any) -> Any:
            return cos - margin


def test_labels_of_a_loss_without_classes(library: Library) -> None:
    """Any integer is a label, and one to be ignored is."""
    @define.rowwise
    def lengths(embeddings: define.Embeddings, labels: define.BatchClasses, /) -> define.Direct:
        return define.Direct(lambda backend, x, y: backend.dot(x, x), lambda backend, g, x, y: {
            "embeddings": 2.0 * g[:, None] * x})

    x, labels = np.asarray([[1.0], [np.nan], [2.0]]), np.asarray([70, -100, -3])
    value, (gradient,) = lengths.value_and_grad(library.array(x), library.array(labels))
    np.testing.assert_allclose(library.numpy(value), (1.0 + 4.0) / 2.0)
    np.testing.assert_allclose(library.numpy(gradient), [[1.0], [0.0], [2.0]])


def test_an_option_of_a_margin_is_no_argument_of_the_engine() -> None:
    with pytest.raises(TypeError, match=r"^weighted: option w was an array .*, which says more of a loss than its "
                                        "margin; wanted another kind, or a loss by define.prototypes$"):
        @define.margin
        def weighted(cos: Any, *, w: define.ClassWeight = None) -> Any:
            return cos if w is None else cos - 0.1


def test_help_explains_every_field_of_what_a_function_returns_or_is_given() -> None:
    """Of rows, curves, tiles and reductions; those of kinds are not filled in by hand."""
    def fields(one: Any) -> list[str]:
        return [field.name for field in dataclasses.fields(one)] if dataclasses.is_dataclass(one) else list(
            getattr(one, "_fields", ()))

    exported = [getattr(define, name) for name in dir(define)]
    types = [one for one in exported if isinstance(one, type) and fields(one) and "kinds" not in one.__module__]
    assert {define.Row, define.PairRow, define.Direct, define.Curve, define.Terms, define.PairTile} <= set(types)
    for one in types:
        told = inspect.getdoc(one).partition("Attributes\n----------\n")[2]  # type: ignore[union-attr]
        shown = re.findall(r"^(\w+)\n    \S.{3,}", told, re.MULTILINE)
        assert shown == fields(one), one
