"""Values and gradients of 60 digits: tests/golden.json."""

import json
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
