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


def rank_n_contrast(z: np.ndarray, apart: np.ndarray) -> float:
    """By its definition, of logits and distances of targets, (N, N)."""
    many = len(z)
    terms = [np.logaddexp.reduce([z[i, k] for k in range(many) if k != i and apart[i, k] >= apart[i, j]]) - z[i, j]
             for i in range(many) for j in range(many) if j != i]
    return float(np.mean(terms))


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_rank_n_contrast_is_its_sum_over_all_triples(dtype: str, library: Library) -> None:
    """At a temperature at which no float32 holds the exponentials of a row; for targets of every type, and several."""
    random = np.random.default_rng(6)
    x = np.concatenate([random.normal(size=(9, 4)), -np.ones((2, 4)), np.ones((2, 4))])
    ages, several = random.integers(0, 6, 13), random.integers(0, 4, size=(13, 3))
    given, tolerance = library.cast(library.array(x), dtype), {"float64": 1e-12, "float32": 3e-6}[dtype]
    l1, l2 = (np.abs(several[:, None] - several) ** power for power in (1, 2))
    for targets, label_distance, apart in (
            (ages, "l1", np.abs(ages[:, None] - ages)), (ages.astype("uint8"), "l2", np.abs(ages[:, None] - ages)),
            (-0.5 * ages, "l1", np.abs(ages[:, None] - ages)), (several, "l1", l1.sum(axis=2)),
            (several.astype("float32"), "l2", l2.sum(axis=2)), (several, "l2", l2.sum(axis=2))):
        for options, z in (({"similarity": "cosine", "temperature": 0.01}, unit(x) @ unit(x).T / 0.01),
                           ({"normalize": True, "temperature": 0.01},
                            -np.linalg.norm(unit(x)[:, None] - unit(x), axis=2) / 0.01),
                           ({}, -np.linalg.norm(x[:, None] - x, axis=2) / 2.0)):
            call: dict[str, Any] = {**options, "label_distance": label_distance}
            loss: Any = anglos.rank_n_contrast
            value, (slope,) = loss.value_and_grad(given, library.array(targets), **call)
            assert float(value) == pytest.approx(rank_n_contrast(z, apart), rel=tolerance)
            assert np.isfinite(library.numpy(slope)).all()
            assert library.numpy(loss(given, library.array(targets), reduction="none", **call)).min() >= 0.0


def test_rank_n_contrast_of_one_target_is_a_uniform_soft_supcon(library: Library) -> None:
    x, same = np.random.default_rng(8).normal(size=(7, 3)), np.full(7, 3.5)
    for targets, spoilt in ((same, False), (np.where(np.arange(7) == 2, np.nan, same), True)):
        value, (slope,) = anglos.rank_n_contrast.value_and_grad(library.array(x), library.array(targets),
                                                                similarity="cosine", temperature=0.2)
        wanted, (its_slope,) = anglos.soft_supcon.value_and_grad(
            library.array(x), library.array(np.ones((7, 7)) - np.eye(7)), temperature=0.2)
        assert np.isnan(float(value)) == spoilt
        if not spoilt:
            assert float(value) == pytest.approx(float(wanted), rel=1e-13)
            np.testing.assert_allclose(library.numpy(slope), library.numpy(its_slope), rtol=0, atol=1e-13)


def test_lifted_structure_of_one_class_is_0(library: Library) -> None:
    """Where there is no negative, of all samples or of those that are not ignored."""
    for labels in ([1, 1, 1], [1, 1, -100]):
        value, (gradient,) = anglos.lifted_structure.value_and_grad(
            library.array(np.asarray([[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.0, 1.0, 0.5]])),
            library.array(np.asarray(labels)))
        assert float(value) == 0.0
        assert not np.any(library.numpy(gradient))
