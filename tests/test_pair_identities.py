"""What one loss over pairs is of another, or of itself with other options."""

from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos


def unit(array: np.ndarray) -> np.ndarray:
    unit: np.ndarray = array / np.linalg.norm(array, axis=1, keepdims=True)
    return unit


@pytest.mark.parametrize("symmetric", [False, True])
def test_hardness_is_another_temperature_of_negatives(symmetric: bool, library: Library) -> None:
    """τ / (1 + ατ) in the value; in the gradient by their cosines the factor stays 1 / τ."""
    queries, keys = np.random.default_rng(5).normal(size=(2, 7, 4))
    temperature, hardness, own = 0.25, 5.0, np.eye(7, dtype=bool)
    cosines = unit(queries) @ unit(keys).T
    logits = np.where(own, cosines / temperature, cosines * (1.0 / temperature + hardness))
    options: dict[str, Any] = {"temperature": temperature, "hardness": hardness, "symmetric": symmetric}
    value, (slope, _) = anglos.info_nce.value_and_grad(library.array(queries), library.array(keys), **options)
    wanted, by_cosine = 0.0, np.zeros((7, 7))
    for turned in (False, True)[:1 + symmetric]:
        one = logits.T if turned else logits
        shares = np.exp(one) / np.exp(one).sum(axis=1, keepdims=True)
        wanted = wanted - np.log(np.diag(shares)).mean() / (1 + symmetric)
        slopes = (shares - own) / temperature / 7 / (1 + symmetric)
        by_cosine = by_cosine + (slopes.T if turned else slopes)
    by_unit = by_cosine @ unit(keys)
    tangent = by_unit - unit(queries) * (by_unit * unit(queries)).sum(axis=1, keepdims=True)
    assert float(value) == pytest.approx(wanted, rel=1e-13)
    np.testing.assert_allclose(library.numpy(slope), tangent / np.linalg.norm(queries, axis=1, keepdims=True),
                               rtol=1e-11, atol=1e-14)


def of_class_means(x: np.ndarray, labels: np.ndarray, loss: str, raw: bool, form: str) -> list[float]:
    """GE2E of every sample, or angular prototypical of every class, that counts."""
    parts, found = x if raw else unit(x), []
    firsts = [int(np.argmax(labels == label)) for label in labels]
    for row, label in enumerate(labels):
        first = loss == "angular_prototypical"
        here = {one: (labels == one) & ~(first & (np.arange(len(labels)) == firsts[int(np.argmax(labels == one))]))
                for one in dict.fromkeys(labels.tolist())}
        here[label] = here[label] & (np.arange(len(labels)) != row)
        if not here[label].any() or (first and firsts[row] != row):
            continue
        logits = {one: 10.0 * float(unit(x)[row] @ unit(parts[some].sum(axis=0)[None])[0]) - 5.0
                  for one, some in here.items() if some.any()}
        own = logits.pop(int(label))
        if form == "softmax":
            found.append(np.logaddexp.reduce([own, *logits.values()]) - own)
        else:
            found.append(1.0 - 1.0 / (1.0 + np.exp(-own)) + 1.0 / (1.0 + np.exp(-max(logits.values()))))
    return found


@pytest.mark.parametrize(("name", "form"), [("ge2e", "softmax"), ("ge2e", "contrast"), ("angular_prototypical", "")])
def test_class_means_without_the_sample_itself(name: str, form: str, library: Library) -> None:
    """Classes of one sample are negatives in GE2E alone; a bias moves no softmax; what is ignored is nowhere."""
    random, loss = np.random.default_rng(2), anglos.LOSSES[name]
    x = random.normal(size=(14, 3)) * random.uniform(0.5, 2.0, size=(14, 1))
    labels = np.asarray([4, 0, 4, -3, 7, 0, 4, 9, 7, 0, 4, 7, 0, 7])
    for raw in (False, True):
        options: dict[str, Any] = {"centroids": "raw" if raw else "unit", **({"form": form} if form else {})}
        wanted = np.mean(of_class_means(x, labels, name, raw, form or "softmax"))
        value, (slope, by_bias) = loss.value_and_grad(library.array(x), library.array(labels), **options,
                                                      wrt=("embeddings", "bias"))
        assert float(value) == pytest.approx(wanted, rel=1e-13)
        assert (float(by_bias) == 0.0) == (form != "contrast")
        more = np.concatenate([np.full((2, 3), np.nan), x]), np.concatenate([[-100, -100], labels])
        value, (with_more,) = loss.value_and_grad(*map(library.array, more), **options)
        assert float(value) == pytest.approx(wanted, rel=1e-13)
        np.testing.assert_allclose(library.numpy(with_more)[2:], library.numpy(slope), rtol=0, atol=1e-14)
        assert not library.numpy(with_more)[:2].any()


def test_a_mean_of_opposite_vectors_has_cosine_0(library: Library) -> None:
    """To rounding: the others of the first sample are three at 120°, which leave 1e-16 in any direction."""
    turns = 2.0 * np.pi * np.asarray([0.1, 0.0, 1.0 / 3.0, 2.0 / 3.0, 0.3])
    x, labels = np.stack([np.cos(turns), np.sin(turns)], axis=1), np.asarray([1, 1, 1, 1, 5])
    losses, (slope,) = anglos.ge2e.value_and_grad(library.array(x), library.array(labels), reduction="none")
    assert float(losses[0]) == pytest.approx(np.logaddexp(0.0, 10.0 * np.cos(turns[0] - turns[4])), rel=1e-12)
    assert np.isfinite(library.numpy(slope)).all()
    assert np.abs(library.numpy(slope)).max() < 1e3
    for loss in (anglos.ge2e, anglos.angular_prototypical):
        for one in (np.zeros(5, dtype=int), np.arange(5)):  # one class, and classes of one sample
            value, (slope,) = loss.value_and_grad(library.array(x), library.array(one))
            assert float(value) == 0.0
            assert not library.numpy(slope).any()
