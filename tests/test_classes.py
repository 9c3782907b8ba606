"""What follows from counts of classes: `anglos.classes`; and `elastic_margins`, `clean_subcenters`."""

import json
import math
from collections.abc import Callable
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos
from anglos import classes

GOLDEN = json.loads(Path(__file__).with_name("golden2_heads.json").read_text())
INPUTS: dict[str, Any] = {name: np.asarray(value) for name, value in GOLDEN["inputs"].items()}
ROWS = {row["id"]: row["arrays"] for row in GOLDEN["rows"]}
COUNTS, MEANS = INPUTS["counts"], INPUTS["sums"]

WANTED: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "ldam_margins": (lambda n: classes.ldam_margins(n), ROWS["ldam"]["margins"]),
    "effective_number_weights": (lambda n: classes.effective_number_weights(n), ROWS["ldam_drw"]["class_weight"]),
    "power_margins": (lambda n: classes.power_margins(n, 0.5, 0.05), ROWS["arcface_dynamic_paper"]["margins"]),
    "minmax_margins": (lambda n: classes.minmax_margins(n), ROWS["arcface_dynamic_minmax"]["margins"]),
    "log_prior": (lambda n: classes.log_prior(n, tau=0.5), 0.5 * np.log(COUNTS / COUNTS.sum())),
}


@pytest.mark.parametrize("name", WANTED)
def test_numbers_of_golden_cases(name: str, library: Library) -> None:
    """Of floats in their type, and of integers."""
    function, wanted = WANTED[name]
    found = library.numpy(function(library.array(COUNTS)))
    assert found.dtype == np.float64
    # The file has its weights from 1 − βⁿ in floats, where the least n keeps four digits fewer.
    np.testing.assert_allclose(found, wanted, rtol=1e-12 if name == "effective_number_weights" else 1e-14)
    np.testing.assert_allclose(library.numpy(function(library.array(COUNTS.astype(np.int64)))), wanted, rtol=1e-6)
    single = library.numpy(function(library.cast(library.array(COUNTS), "float32")))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, wanted, rtol=1e-6)


def test_weights_keep_their_digits(library: Library) -> None:
    """Against exact fractions."""
    terms = [1 / (1 - Fraction(0.9999) ** int(count)) for count in COUNTS]
    wanted = [float(len(terms) * term / sum(terms)) for term in terms]
    found = library.numpy(classes.effective_number_weights(library.array(COUNTS)))
    np.testing.assert_allclose(found, wanted, rtol=2e-15)


def test_kappaface_margins(library: Library) -> None:
    means, counts = library.array(MEANS), library.array(COUNTS)
    found = library.numpy(classes.kappaface_margins(means, counts))
    np.testing.assert_allclose(found, ROWS["kappaface"]["margins"], rtol=1e-14)
    one = classes.kappaface_margins(means[:1, :], counts[:1])  # no deviation, and as many samples as the most
    wanted = 0.8 * (0.7 * 0.5 + 0.3 * 0.5 * (1.0 + math.cos(math.pi / 1.05)))
    np.testing.assert_allclose(library.numpy(one), [wanted], rtol=1e-14)


def test_a_class_of_one_direction_is_as_concentrated_as_the_others() -> None:
    """Its κ is infinite; and it does not depend on how its mean was rounded."""
    for length in (1.0, 1.0 - 1e-16, 1.0 + 1e-15):
        means = np.asarray([[length, 0.0], [0.0, 0.5], [0.25, 0.0]])
        like = np.asarray([[0.0, 0.5], [0.0, 0.5], [0.25, 0.0]])
        np.testing.assert_array_equal(classes.kappaface_margins(means, np.asarray([2, 3, 4])),
                                      classes.kappaface_margins(like, np.asarray([2, 3, 4])))


def test_ends_of_the_formulas(library: Library) -> None:
    counts = library.array(np.asarray([4.0, 1.0, 1e9]))
    weights = classes.effective_number_weights
    np.testing.assert_array_equal(library.numpy(weights(counts, beta=0.0)), [1.0, 1.0, 1.0])
    inverse = np.asarray([0.25, 1.0, 1e-9])
    np.testing.assert_allclose(library.numpy(weights(counts, beta=1.0)), inverse / inverse.mean(), rtol=1e-14)
    np.testing.assert_allclose(library.numpy(weights(counts, beta=1.0 - 1e-13)), inverse / inverse.mean(), rtol=1e-4)
    equal = library.array(np.asarray([7.0, 7.0]))
    np.testing.assert_array_equal(library.numpy(classes.minmax_margins(equal)), [0.5, 0.5])


def test_adjusted_logits_are_those_of_balanced_softmax(library: Library) -> None:
    """Σ n is a constant of the softmax."""
    x, w, y = (library.array(INPUTS[name]) for name in ("X", "W", "y"))
    loss = anglos.linear_cross_entropy(x, w, y, bias=classes.log_prior(library.array(COUNTS)))
    balanced = anglos.linear_cross_entropy(x, w, y, bias=library.array(np.log(COUNTS)))
    assert float(loss) == pytest.approx(float(balanced), rel=1e-14)


@pytest.mark.parametrize(("call", "message"), [
    (lambda: classes.ldam_margins(np.asarray([3, 0])),
     r"^classes\.ldam_margins: counts held 0; wanted an array of finite numbers above 0, one per class, of integral or "
     r"real floating dtype and shape \(C,\) \(a class without samples: leave it out, or count it as 1\)$"),
    (lambda: classes.log_prior(np.asarray([3.0, np.inf])), r"^classes\.log_prior: counts held inf; wanted "),
    (lambda: classes.log_prior(np.asarray([3.0, np.nan])), r"^classes\.log_prior: counts held nan; wanted "),
    (lambda: classes.log_prior(np.zeros(0)),
     r"^classes\.log_prior: counts was of shape \(0,\); wanted C to be at least 1"),
    (lambda: classes.effective_number_weights(np.ones(2), beta=1.5),
     r"^classes\.effective_number_weights: beta was 1\.5; wanted a number from 0 to 1"),
    (lambda: classes.minmax_margins(np.ones(2), low=0.5, high=0.25),
     r"^classes\.minmax_margins: low was 0\.5; wanted a number up to high, which was 0\.25$"),
    (lambda: classes.kappaface_margins(10.0 * MEANS, COUNTS),
     r"^classes\.kappaface_margins: means held a row of length 3\.\d+; wanted means of embeddings that were divided"),
    (lambda: classes.kappaface_margins(MEANS[:3], COUNTS), r"^classes\.kappaface_margins: means .*; wanted .*"),
    (lambda: anglos.elastic_margins(np.ones(3), np.ones(2)), r"^elastic_margins: cos "),
    (lambda: anglos.clean_subcenters(np.ones((2, 2)), np.ones((1, 3, 2)), np.asarray([0, 1])),
     r"^clean_subcenters: labels held 1 at position 1; wanted 0 to 0"),
    (lambda: anglos.clean_subcenters(np.ones((1, 2)), np.ones((1, 3, 2)), np.asarray([0]), max_angle=75.0),
     r"^clean_subcenters: max_angle was 75; wanted .* \(if that is in degrees: math\.radians\(75\) is 1\.3090\)"),
])
def test_refusals(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_list_is_no_array() -> None:
    counts: Any = [3, 1]
    with pytest.raises(TypeError, match=r"^classes\.ldam_margins: counts was a list; wanted an array of finite num"):
        classes.ldam_margins(counts)


def test_numbers_that_cannot_be_looked_at_become_nan(jax_library: Library) -> None:
    jax: Any = import_module("jax")
    counts = jax_library.array(np.asarray([0.0, 16.0]))
    margins = jax.jit(lambda counts: classes.power_margins(counts, 1.0, 0.0))(counts)
    np.testing.assert_array_equal(np.asarray(margins), [np.nan, 0.5])


def test_elastic_margins(library: Library) -> None:
    """Of equal cosines the first comes first; without cosines they are the draws."""
    draws = library.array(INPUTS["draws"])
    cos = library.array(np.asarray([0.5, 0.5, -1.0, 1.0, 0.0, 0.5]))
    np.testing.assert_array_equal(library.numpy(anglos.elastic_margins(draws, cos)),
                                  [0.25, 0.375, 0.75, 0.125, 0.625, 0.5])
    assert anglos.elastic_margins(draws) is draws


def test_clean_subcenters(library: Library) -> None:
    """As pytorch-metric-learning's get_outliers, whose indices the golden file has."""
    wanted = GOLDEN["cleaning"]
    x, w, y = (library.array(INPUTS[name]) for name in ("S3", "W3", "y3"))
    found = anglos.clean_subcenters(x, w, y, max_angle=math.radians(wanted["threshold"]))
    assert np.flatnonzero(~library.numpy(found.keep)).tolist() == wanted["outliers"]
    assert library.numpy(found.dominant).tolist() == [-1 if one is None else one for one in wanted["dominant"]]
    counts = library.numpy(found.counts)
    assert counts.sum(axis=1).tolist() == np.bincount(INPUTS["y3"], minlength=5).tolist()
    for label, dominant in enumerate(wanted["dominant"]):
        assert dominant is None or counts[label, dominant] == counts[label].max()


def test_cleaning_ignores_and_keeps_the_limit(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample at the largest angle is kept, one without a label and a zero vector are not; tiles change nothing."""
    x = library.array(np.asarray([[1.0, 0.0], [0.0, 1.0], [np.nan, 0.0], [0.0, 0.0], [-2.0, 0.0], [3.0, 0.0]]))
    w, y = library.array(np.eye(2)[None]), library.array(np.asarray([0, 0, -100, 0, 0, 0]))
    for tile in (1 << 22, 1):
        monkeypatch.setattr("anglos.training.subcenters._TILE", tile)
        found = anglos.clean_subcenters(x, w, y, max_angle=math.radians(75.0))
        assert library.numpy(found.keep).tolist() == [True, False, False, False, False, True]
    assert library.numpy(anglos.clean_subcenters(x, w, y, max_angle=math.pi).keep).tolist() == [
        True, True, False, True, True, True]
    nobody = anglos.clean_subcenters(x[:0, :], w, y[:0])
    assert (nobody.keep.shape, library.numpy(nobody.dominant).tolist()) == ((0,), [-1])
