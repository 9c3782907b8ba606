"""`define.check` is silent about what is right, and finds every planted fault."""

import doctest
from typing import Any

import numpy as np
import pytest
from representatives import cover, kind_of
from samples import FROZEN
from test_define import added, deviance, everything, x2_softmax

import anglos
from anglos import Loss, define


def cosine_margin(fault: str) -> Any:
    """φ = cos θ − m cos² θ, with a fault."""

    @define.margin
    def planted(cos: Any, *, margin: define.CosineMargin = 0.2, word: bool = True) -> define.Curve:
        backend: Any = define.backend_of(cos)
        xp = backend.xp
        value, slope, by_margin = cos - margin * cos * cos, 1.0 - 2.0 * margin * cos, -cos * cos
        if fault == "sign":
            slope = 1.0 + 2.0 * margin * cos
        if fault == "factor":
            slope = 1.0 - margin * cos
        if fault == "infinite":
            slope = slope * ((1.0 - cos * cos) / (1.0 - cos * cos))
        if fault == "frozen":
            by_margin = 0.0 * cos
        if fault == "narrow" and "float64" in str(cos.dtype):
            value = xp.astype(xp.astype(value, xp.float32), xp.float64)
        if fault == "word" or word:
            return define.Curve(value, slope, {"margin": by_margin})
        return define.Curve(value - 0.1, slope, {"margin": by_margin})

    return planted


@define.rowwise
def widens(embeddings: define.Embeddings, /) -> define.Direct:
    """½ |x|², in float64 whatever it is given."""
    def value(backend: Any, x: Any) -> Any:
        return 0.5 * backend.xp.astype(backend.dot(x, x), backend.xp.float64)

    return define.Direct(value, lambda backend, g, x: {"embeddings": backend.xp.astype(g, x.dtype)[:, None] * x})


FAULTS = {
    "sign": "planted, numpy: the gradient in embeddings[0, 0] was ",
    "factor": "planted, numpy: the gradient in embeddings[0, 0] was ",
    "infinite": "planted, numpy: the gradient in embeddings in float64 of an aligned vector was nan; wanted a finite "
                "number. Look at cos θ = ±1",
    "frozen": "planted, numpy: the gradient in margin[0] was 0; wanted ",
    "narrow": "planted, numpy: the gradient in embeddings[0, 1] was ",
    "word": "planted, numpy: what option word changes was nothing; wanted another value or gradient. Look at where the "
            "formula uses it.",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from anglos.checks import libraries, run

    monkeypatch.setattr(run, "installed", lambda: [libraries.NumPy()])
    with pytest.raises(AssertionError) as caught:
        define.check(cosine_margin(fault))
    assert str(caught.value).startswith(FAULTS[fault])


def rowwise(value: Any, gradient: Any) -> Any:
    @define.rowwise
    def planted(embeddings: define.Embeddings, /) -> define.Direct:
        return define.Direct(value, lambda backend, g, x: {"embeddings": g[:, None] * gradient(backend, x)})

    return planted


@define.margin
def steep(cos: Any, *, m: define.CosineMargin = 0.2) -> define.Curve:
    return define.Curve(cos - m, 2.0, {"m": -1.0})


@define.margin
def heavy(cos: Any, *, m: define.CosineMargin = 0.2) -> define.Curve:
    return define.Curve(cos - m, 1.0, {"m": -3.0})


@pytest.mark.parametrize(("mine", "said"), [
    (rowwise(lambda backend, x: backend.dot(x, x) / (1.0 + backend.dot(x, x)),
             lambda backend, x: x / (1.0 + backend.dot(x, x))[:, None] ** 2),
     r"Look at its factor: all of the gradient in embeddings is 0\.5 times the slope of the value\."),
    (steep, r"the gradient in embeddings\[0, 0\] was .*\. Look at the slope of φ in cos θ: it is 2 times the slope of"),
    (heavy, r"the gradient in m\[0\] was .*\. Look at its factor: all of the gradient in m is 3 times the slope"),
    (rowwise(lambda backend, x: backend.xp.log(backend.xp.sum(backend.xp.exp(x), axis=1)),
             lambda backend, x: backend.xp.exp(x) / backend.xp.sum(backend.xp.exp(x), axis=1)[:, None]),
     r"the value in float64 was .*; wanted a finite number\. Look at what overflows: .* define\.log_sum_exp"),
    (rowwise(lambda backend, x: 1.0 / backend.dot(x, x), lambda backend, x: -2.0 * x / backend.dot(x, x)[:, None] ** 2),
     r"wanted a finite number\. Look at cos θ = ±1 and vectors of length 0: what is divided by"),
    (rowwise(lambda backend, x: x.nonsense(), lambda backend, x: x),
     r"numpy: a call raised AttributeError: .*'nonsense'\. Look at what the function calls: `backend\.xp` has"),
    (rowwise(lambda backend, x: backend.dot(x, x) / x.size, lambda backend, x: 2.0 * x / x.size),
     r"torch: a call raised TypeError: unsupported operand .*\. Look at what the function calls: `backend\.xp` has"),
    (rowwise(lambda backend, x: {"x": x}["missing"], lambda backend, x: x),
     r"numpy: a call raised KeyError: 'missing'\. Look at its traceback\."),
], ids=["half", "steep", "heavy", "overflow", "zero", "no method", "torch", "error"])
def test_what_is_said_of_a_fault(mine: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is, where that can be told; and of an error, of which loss and in which library."""
    from anglos.checks import libraries, run

    if said.startswith("torch"):
        pytest.importorskip("torch")
    monkeypatch.setattr(run, "installed", lambda: [libraries.NumPy(), *(
        [libraries.Torch()] if said.startswith("torch") else [])])
    with pytest.raises(AssertionError, match=rf"^{mine.name}, .*{said}"):
        define.check(mine)


def test_float64_made_of_float32_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from anglos.checks import libraries, run

    monkeypatch.setattr(run, "installed", lambda: [libraries.NumPy()])
    with pytest.raises(AssertionError, match="widens, numpy: the value of float32 arrays was of dtype float64; wanted"):
        define.check(widens)


@define.margin
def rounded(cos: Any, *, m: define.CosineMargin = 0.3) -> define.Curve:
    """Its slope is rounded to float32."""
    backend: Any = define.backend_of(cos)
    slope = backend.xp.astype(1.0 - 2.0 * m * cos, backend.xp.float32)
    return define.Curve(cos - m * cos * cos, backend.xp.astype(slope, cos.dtype), {"m": -cos * cos})


def test_a_slope_in_float32_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    from anglos.checks import libraries, run

    monkeypatch.setattr(run, "installed", lambda: [libraries.NumPy(), libraries.Torch()])
    with pytest.raises(AssertionError, match=r"rounded, torch: the gradient in .* autodiff of `plain`"):
        define.check(rounded)


def test_right_losses_are_right_in_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    from anglos.checks import libraries, run

    monkeypatch.setattr(run, "installed", lambda: [libraries.NumPy()])
    for mine in (cosine_margin(""), x2_softmax, added, everything, deviance, anglos.arcface, anglos.triplet,
                 anglos.clip):
        assert define.check(mine).endswith("right in numpy")


def test_right_in_every_library() -> None:
    assert define.check(x2_softmax) == (
        "x2_softmax: shapes, slopes, agreement and second derivatives, hard inputs, dtypes, options, tiles, devices: "
        "right in numpy, torch, jax")
    assert define.check(deviance).endswith("right in numpy, torch, jax")


@pytest.mark.parametrize("decorator", [define.rowwise, define.batchwise])
def test_what_a_docstring_defines_is_right(decorator: Any) -> None:
    """Of those whose arithmetic is the user's."""
    found: dict[str, Any] = {}
    for one in doctest.DocTestParser().get_examples(decorator.__doc__):
        exec(one.source, found)
    mine, = (one for one in found.values() if isinstance(one, Loss))
    assert define.check(mine).endswith("right in numpy, torch, jax")


CONSTANTS = {"batch_coco": ("detach_centroids",), "info_nce": ("hardness",), "sphereface2": ("variant",)}
"""What is a constant to the gradient where this is not the default."""

INERT = {"angular_prototypical": ("bias",), "cosface": ("gradient",), "am_softmax": ("gradient",),
         "dynamic_soft_margin": ("momentum",),
         "global_orthogonal": ("second_moment_weight", "threshold"), "rank_n_contrast": ("label_distance",),
         "info_nce": ("hardness_on", "hard_negatives_of")}
"""A softmax does not see the bias of all; φ′ = 1 in any case; no batch here has cosines whose squares are above the
threshold, as golden ones have; one target per sample has one distance; neither negatives nor a histogram
is given here."""


def told(loss: Loss[...]) -> dict[str, Any]:
    return {"differences": loss.name not in FROZEN, "inert": INERT.get(loss.name, ()),
            "constants": CONSTANTS.get(loss.name, ())}


def test_the_registry_is_right_in_numpy(loss: Loss[...], monkeypatch: pytest.MonkeyPatch) -> None:
    from anglos.checks import libraries, run

    monkeypatch.setattr(run, "installed", lambda: [libraries.NumPy()])
    define.check(loss, **told(loss))


@pytest.mark.slow
@pytest.mark.parametrize("name", cover({loss.name: kind_of(loss) for loss in anglos.LOSSES.values()}))
def test_the_registry_is_right(name: str) -> None:
    """Of every engine, and of arrays of every shape; the others are by the tests that these checks are made of."""
    loss = anglos.LOSSES[name]
    assert define.check(loss, **told(loss)).endswith("right in numpy, torch, jax")


def branching(where: str) -> Any:
    """φ = cos θ − m cos² θ, doubled by a word; wrong in one form of a call alone."""

    @define.margin
    def planted(cos: Any, *, m: define.CosineMargin = 0.2, power: int = 2, word: bool = False) -> define.Curve:
        form = "number" if define.is_number(m) else "each" if getattr(m, "ndim", 0) else "one"
        wrong = 1.5 if where in (form, f"power {power}", f"word {word}") else 1.0
        slope, value = wrong * power * cos ** (power - 1), cos**power
        return define.Curve(cos - (2.0 if word else 1.0) * m * value, 1.0 - (2.0 if word else 1.0) * m * slope,
                            {"m": -(2.0 if word else 1.0) * wrong * value})

    return planted


@pytest.mark.parametrize(("where", "said"), [
    ("", ""), ("number", "(seed 1, scale=6.0)"), ("one", "(seed 1)"), ("each", "(seed 0)"),
    ("power 3", "(seed 1, power=3)"), ("word True", "(seed 1, word=True)")])
def test_a_slope_that_is_wrong_in_one_form_is_found(where: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An option as a number, as one array, as one number per sample; and beside a word or an integer."""
    from anglos.checks import libraries, run

    monkeypatch.setattr(run, "installed", lambda: [libraries.NumPy()])
    if not where:
        define.check(branching(where))
        return
    with pytest.raises(AssertionError, match="planted, numpy: the gradient in ") as caught:
        define.check(branching(where))
    assert said in str(caught.value)


def test_names_that_are_no_options() -> None:
    with pytest.raises(ValueError, match="check: inert named capp; wanted options of x2_softmax: a, h, k, scale, "):
        define.check(x2_softmax, inert=("capp",))


def test_what_is_no_loss() -> None:
    with pytest.raises(TypeError, match="check: loss was ndarray; wanted a loss, as the decorators"):
        define.check(np.ones(3))  # type: ignore[arg-type]
