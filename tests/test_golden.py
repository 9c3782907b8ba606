"""Values and gradients of 60 digits: tests/golden.json."""

import inspect
import json
import pickle
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import Array, Library

import anglos

GOLDEN = json.loads(Path(__file__).with_name("golden.json").read_text())

CASES = GOLDEN["cases"]


def arguments(case: dict[str, Any], library: Library) -> tuple[list[Array], dict[str, Any]]:
    def array(name: str) -> Array:
        return library.array(np.asarray(GOLDEN["inputs"][name]))

    options = {name: array(value.removeprefix("inputs:")) if str(value).startswith("inputs:") else value
               for name, value in case["options"].items()}
    return [array(name) for name in case["arrays"].values()], options


def test_center_update_moves_by_the_paper_s_rule(library: Library) -> None:
    """Reference numbers of the same inputs, from the sheet that golden.json belongs to."""
    inputs = GOLDEN["inputs"]
    centers, embeddings, labels = (library.array(np.asarray(inputs[name])) for name in ("W", "X", "Y"))
    moved = library.numpy(anglos.center_update(centers, embeddings, labels, alpha=0.5))
    assert np.linalg.norm(moved) == pytest.approx(2.6965790603044115, rel=1e-14)
    assert np.linalg.norm(moved - np.asarray(inputs["W"])) == pytest.approx(1.9572803019893588 / 2, rel=1e-14)


def test_updates_of_states_know_ignored_and_wrong_labels() -> None:
    """As the losses do: −100 counts for nothing, and −1 is not the last class."""
    inputs = {name: np.asarray(GOLDEN["inputs"][name]) for name in ("X", "W", "Y")}
    ignored = np.where(np.arange(6) == 2, -100, inputs["Y"])
    kept = np.arange(6) != 2
    np.testing.assert_allclose(anglos.center_update(inputs["W"], inputs["X"], ignored),
                               anglos.center_update(inputs["W"], inputs["X"][kept], inputs["Y"][kept]), rtol=1e-14)
    np.testing.assert_allclose(anglos.curricularface_update(0.0, inputs["X"], inputs["W"], ignored),
                               anglos.curricularface_update(0.0, inputs["X"][kept], inputs["W"], inputs["Y"][kept]),
                               rtol=1e-14)
    with pytest.raises(ValueError, match=r"^center_update: labels held -1 at position 0; wanted 0 to 4"):
        anglos.center_update(inputs["W"], inputs["X"], inputs["Y"] - 1)
    with pytest.raises(ValueError, match=r"^curricularface_update: labels held -1 at position 0; wanted 0 to 4"):
        anglos.curricularface_update(0.0, inputs["X"], inputs["W"], inputs["Y"] - 1)
    update: Any = anglos.adaface_update
    with pytest.raises(TypeError, match=r"^adaface_update: missing a required argument: 'embeddings'; "
                                        r"wanted norm_mean, norm_std, embeddings, t_alpha$"):
        update(20.0, 100.0)
    assert pickle.loads(pickle.dumps(update)) is update
    assert list(inspect.signature(update).parameters) == ["norm_mean", "norm_std", "embeddings", "t_alpha"]
    with pytest.raises(TypeError, match=r"^adaface_update: embeddings was a list; wanted an array of real floating"):
        anglos.adaface_update(20.0, 100.0, inputs["X"].tolist())


@pytest.mark.parametrize("case", CASES, ids=[case["id"] for case in CASES])
def test_golden(case: dict[str, Any], library: Library) -> None:
    arrays, options = arguments(case, library)
    loss = anglos.LOSSES[case["loss"]]
    value, gradients = loss.value_and_grad(*arrays, **options, wrt=tuple(case["grads"]))
    assert library.numpy(value) == pytest.approx(case["value"], rel=1e-13)
    assert library.numpy(loss(*arrays, **options)) == pytest.approx(case["value"], rel=1e-13)
    assert library.numpy(loss.plain(*arrays, **options)) == pytest.approx(case["value"], rel=1e-13)
    for gradient, (name, wanted) in zip(gradients, case["grads"].items(), strict=True):
        wanted = np.asarray(wanted)
        np.testing.assert_allclose(library.numpy(gradient), wanted, rtol=0, atol=1e-12 * np.abs(wanted).max(),
                                   err_msg=name)


UPDATES: dict[str, tuple[Any, Callable[..., Any]]] = {
    "adacos": (9.0, lambda state, x, w, y: anglos.adacos_update(state, x, w, y)),
    "adaface": (9.0, lambda state, x, w, y: anglos.adaface_update(state, 1.0, x)[0]),
    "angular_triplet": ("W", lambda state, x, w, y: anglos.angular_triplet_update(state, x, y, y == y)),
    "center": ("W", lambda state, x, w, y: anglos.center_update(state, x, y)),
    "curricularface": (0.5, lambda state, x, w, y: anglos.curricularface_update(state, x, w, y)),
}


@pytest.mark.parametrize("name", UPDATES)
def test_updates_keep_a_state_when_there_is_nothing_to_learn(name: str, library: Library) -> None:
    x, w, y = (np.asarray(GOLDEN["inputs"][key]) for key in ("X", "W", "Y"))
    start, update = UPDATES[name]
    state = library.array(w) if start == "W" else start
    nothing = [(x[:0], y[:0]), *([] if name == "adaface" else [(np.full_like(x, np.nan), np.full(6, -100))])]
    for rows, labels in nothing:
        kept = update(state, library.array(rows), library.array(w), library.array(labels))
        np.testing.assert_array_equal(np.asarray(library.numpy(kept) if hasattr(kept, "shape") else kept),
                                      w if start == "W" else start)


@pytest.mark.parametrize("name", ["adacos", "angular_triplet", "center", "curricularface"])
def test_updates_never_take_a_wrong_label_for_a_class(name: str, jax_library: Library) -> None:
    """Under a trace, where it cannot be refused, the state becomes NaN."""
    jax: Any = import_module("jax")
    x, w, y = (jax_library.array(np.asarray(GOLDEN["inputs"][key])) for key in ("X", "W", "Y"))
    start, update = UPDATES[name]
    moved = jax.jit(lambda x, w, y: update(w if start == "W" else start, x, w, y))(x, w, y.at[2].set(9))
    assert np.isnan(np.asarray(moved)).any()


def test_angular_triplet_update(library: Library) -> None:
    """In low precision too; a row that takes no part may hold anything."""
    prototypes = np.eye(3)
    samples = np.asarray([[np.nan] * 3, [0.0, 0.0, 2.0], [3.0, 4.0, 0.0], [np.nan] * 3])
    labels, replace = np.asarray([-100, 0, 1, 1]), np.asarray([True, True, True, False])
    for dtype in ("float64", "float32", *library.low_precision):
        moved = anglos.angular_triplet_update(library.cast(library.array(prototypes), dtype),
                                              library.cast(library.array(samples), dtype),
                                              library.array(labels), library.array(replace))
        wanted = np.asarray([[0.0, 0.0, 1.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]])
        np.testing.assert_allclose(library.numpy(moved).astype("float64"), wanted, rtol=4e-3)


def test_adacos_stays_above_zero(library: Library) -> None:
    """With one class, or two that are told apart, the rule gives 0 or less."""
    opposite = library.array(np.asarray([[1.0, 0.0], [-1.0, 0.0]]))
    assert float(anglos.adacos_update(3.0, opposite, opposite, library.array(np.asarray([0, 1])))) == 3.0
    one = library.array(np.asarray([[1.0, 0.0]]))
    assert float(anglos.adacos_update(3.0, one, one, library.array(np.asarray([0])))) == 3.0
