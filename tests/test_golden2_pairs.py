"""Values and gradients of 60 digits of the second sheet's pair losses: tests/golden2_pairs.json."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls_of_pairs import call_of
from libraries import Array, Library

import anglos
from anglos.arrays.dispatch import backend_of

GOLDEN = json.loads(Path(__file__).with_name("golden2_pairs.json").read_text())

# A difference of nearly full bins, divided by their width of 0.02.
TOLERANCES = {"histogram 100 bins": 1e-11}


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["id"])
def test_golden(case: dict[str, Any], library: Library) -> None:
    def given(value: Any) -> Array | Any:
        if isinstance(value, tuple):
            return tuple([given(one) for one in value])
        return library.array(value) if isinstance(value, np.ndarray) else value

    call = call_of(case, GOLDEN["inputs"])
    loss, arrays = call.loss, [given(array) for array in call.arrays]
    options = {name: given(option) for name, option in call.options.items()}
    value, gradients = loss.value_and_grad(*arrays, **options, wrt=call.wrt)
    wanted = pytest.approx(float(case["value"]), rel=1e-13)
    assert library.numpy(value) == wanted
    assert library.numpy(loss(*arrays, **options)) == wanted
    assert library.numpy(loss.plain(*arrays, **options)) == wanted
    for gradient, (name, entries) in zip(gradients, case["grads"].items(), strict=True):
        entries = np.asarray(entries, dtype=float)
        np.testing.assert_allclose(library.numpy(gradient).reshape(entries.shape), entries, rtol=0, err_msg=name,
                                   atol=TOLERANCES.get(case["id"], 1e-12) * np.abs(entries).max())


def test_cosent_is_the_sum_over_all_two_pairs(library: Library) -> None:
    """For scales of which the exponentials are in no float32, as numbers and as arrays; of no more than the order."""
    cosent: Any = anglos.cosent
    random = np.random.default_rng(0)
    first, second = random.normal(size=(2, 40, 6))
    scores = random.integers(0, 9, 40)
    c = np.sum(first * second, axis=1) / np.linalg.norm(first, axis=1) / np.linalg.norm(second, axis=1)
    apart = (c - c[:, None])[scores[:, None] > scores]
    for dtype, tolerance in (("float64", 1e-13), ("float32", 1e-5)):
        pairs = [library.cast(library.array(array), dtype) for array in (first, second)]
        for scale in (1.0, 20.0, 300.0, 3000.0):
            wanted = np.logaddexp.reduce([0.0, *(scale * apart)])
            given = library.cast(library.array(np.asarray(scale)), dtype)
            for same in (scores, -np.exp(-scores), (scores * 20).astype("uint8")):
                for option in (scale, given):
                    loss = cosent(*pairs, library.array(same), scale=option)
                    assert float(loss) == pytest.approx(wanted, rel=tolerance)
        value, gradients = cosent.value_and_grad(*pairs, library.array(0 * scores))
        assert float(value) == 0.0
        assert not any(library.numpy(gradient).any() for gradient in gradients)
    odd = library.array(first[:, :5])
    with pytest.raises(ValueError, match=r"^cosent: first was of shape \(40, 5\); wanted an even number of columns"):
        cosent(odd, odd, library.array(scores), similarity="angle")
    spoilt = np.where(np.arange(40) == 3, np.nan, scores)
    assert np.isnan(float(cosent(*map(library.array, (first, second, spoilt)))))
    value, _ = cosent.value_and_grad(*[library.array(first)] * 2, library.array(scores), similarity="angle")
    assert float(value) == pytest.approx(np.log1p(len(apart)), rel=1e-12)  # equal vectors have similarity 1


def test_margin_loss_with_a_boundary_for_each_class(library: Library) -> None:
    """The boundary of a class is that of its anchors; ν adds a mean over the anchors that take part."""
    margin_loss: Any = anglos.margin_loss
    random = np.random.default_rng(0)
    labels, boundaries = np.asarray([0, 2, 0, -100, 2, 1, 0]), np.asarray([0.8, 1.0, 1.3])
    embeddings, beta = library.array(random.normal(size=(7, 3))), library.array(boundaries)
    counted = labels >= 0
    plain = margin_loss(embeddings, library.array(labels), beta=beta)
    value, (d_beta, d_nu) = margin_loss.value_and_grad(embeddings, library.array(labels), beta=beta, nu=0.5,
                                                       wrt=("beta", "nu"))
    mean = boundaries[labels[counted]].mean()
    assert float(value) == pytest.approx(float(plain) + 0.5 * mean, rel=1e-13)
    assert float(d_nu) == pytest.approx(mean, rel=1e-13)
    _, (without,) = margin_loss.value_and_grad(embeddings, library.array(labels), beta=beta, wrt=("beta",))
    np.testing.assert_allclose(library.numpy(d_beta) - library.numpy(without),
                               0.5 * np.bincount(labels[counted]) / counted.sum(), rtol=1e-12)
    same = margin_loss(embeddings, library.array(labels), beta=library.array(np.full(3, 1.2)))
    assert float(same) == pytest.approx(float(margin_loss(embeddings, library.array(labels))), rel=1e-13)
    beyond = library.array(labels + 1)
    if library.name == "numpy":
        with pytest.raises(ValueError, match=r"^margin_loss: labels held 3 at position 1; wanted 0 to 2, or"):
            margin_loss(embeddings, beyond, beta=beta, ignore_index=-99)
    if library.name == "strict":  # where they are not read
        assert np.isnan(float(margin_loss(embeddings, beyond, beta=beta, ignore_index=-99)))
    with pytest.raises(ValueError, match=r"^margin_loss: labels was of shape \(7, 1\); wanted \(B,\)"):
        margin_loss(embeddings, library.array(labels[:, None]), beta=beta)


OF_THE_BATCH: dict[str, dict[str, Any]] = {
    "intra_pair_variance": {}, "lifted_structure": {}, "histogram": {"bins": 8}, "snr_contrastive": {},
    "global_orthogonal": {"threshold": 0.0}}


@pytest.mark.parametrize("name", OF_THE_BATCH)
def test_tiles_of_statistics_of_all_pairs(name: str, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is ignored is as if it were not there, which an equal embedding bears too."""
    loss: Any = anglos.LOSSES[name]
    random = np.random.default_rng(1)
    x, labels = random.normal(size=(8, 3)), np.asarray([4, 4, 7, -100, 7, 9, 4, 8])
    x[1] = x[0]
    kept, options = labels != -100, OF_THE_BATCH[name]
    arrays = library.array(x), library.array(labels)
    whole, (slope,) = loss.value_and_grad(*arrays, **options)
    wanted, (of_kept,) = loss.value_and_grad(library.array(x[kept]), library.array(labels[kept]), **options)
    monkeypatch.setattr(backend_of(arrays[0]), "tile_width", lambda *_: 3)
    value, (gradient,) = loss.value_and_grad(*arrays, **options)
    assert float(value) == pytest.approx(float(whole), rel=1e-13)
    assert float(wanted) == pytest.approx(float(whole), rel=1e-13)
    np.testing.assert_allclose(library.numpy(gradient), library.numpy(slope), rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(library.numpy(slope)[kept], library.numpy(of_kept), rtol=1e-11, atol=1e-13)
    assert not library.numpy(slope)[~kept].any()


def test_dynamic_soft_margin_with_a_history(library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against all distances, in tiles too; with ties, a difference beyond the knots and one of 2; and edges."""
    loss: Any = anglos.dynamic_soft_margin
    random, bins = np.random.default_rng(0), 8
    queries, keys = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in random.normal(size=(2, 7, 3)))
    queries[1], keys[4], keys[5], queries[6] = queries[0], keys[2], -queries[5], keys[5]
    distances = np.linalg.norm(queries[:, None] - keys, axis=2)
    others = distances + np.diag([np.inf] * 7)
    v = np.diag(distances) - np.minimum(others.min(axis=0), others.min(axis=1))
    assert v.max() == pytest.approx(2.0)
    sides = library.array(queries), library.array(3.0 * keys)
    before = random.uniform(size=bins + 1)
    for minimum in (-2.0, -1.25):
        place = np.clip((v - minimum) / (-2.0 * minimum / bins), 0.0, bins)
        hats = np.clip(1.0 - np.abs(place[:, None] - np.arange(bins + 1)), 0.0, 1.0).mean(axis=0)
        after = 0.75 * before / before.sum() + 0.25 * hats
        weights = np.cumsum(after)[np.minimum(np.floor(place + 1e-12), bins - 1).astype(int)]
        state: dict[str, Any] = {"bins": bins, "minimum": minimum, "momentum": 0.25}
        for width in (1000, 3):
            with monkeypatch.context() as patch:
                patch.setattr(backend_of(sides[0]), "tile_width", lambda *_, width=width: width)
                value, slopes = loss.value_and_grad(*sides, histogram=library.array(before), **state)
                moved = anglos.dynamic_soft_margin_update(library.array(before), *sides, **state)
            assert float(value) == pytest.approx(np.mean(weights * v), rel=1e-12)
            np.testing.assert_allclose(library.numpy(moved), after, rtol=0, atol=1e-13)
            assert all(np.isfinite(library.numpy(slope)).all() for slope in slopes)
        first, from_zeros = (anglos.dynamic_soft_margin_update(empty, *sides, **state)
                             for empty in (None, library.array(np.zeros(bins + 1))))
        np.testing.assert_allclose(library.numpy(first), hats, rtol=0, atol=1e-13)
        np.testing.assert_array_equal(library.numpy(from_zeros), library.numpy(first))
    value, slopes = loss.value_and_grad(*(side[:1, ...] for side in sides))
    assert float(value) == 0.0
    assert not any(library.numpy(slope).any() for slope in slopes)
    kept = anglos.dynamic_soft_margin_update(library.array(before), *(side[:1, ...] for side in sides), bins=bins)
    np.testing.assert_array_equal(library.numpy(kept), before)
    assert library.numpy(anglos.dynamic_soft_margin_update(None, *(side[:1, ...] for side in sides))).shape == (11,)
    for place in (0, 6):
        spoilt = np.where(np.arange(7)[:, None] == place, np.nan, queries)
        assert np.isnan(float(loss(library.array(spoilt), sides[1])))
    with pytest.raises(ValueError, match=r"^dynamic_soft_margin: histogram was of shape \(9,\); wanted .* \(5,\)"):
        loss(*sides, histogram=library.array(before), bins=4)
    with pytest.raises(ValueError, match=r"^dynamic_soft_margin_update: histogram was of shape \(9,\); wanted"):
        anglos.dynamic_soft_margin_update(library.array(before), *sides, bins=4)
