"""Verification: worked examples, all pairs against their matrix, and other libraries' figures."""

import doctest
import itertools
import subprocess
import sys
import tracemalloc
from importlib import import_module
from typing import Any

import jax
import numpy as np
import pytest
import torch
from libraries import Library
from sklearn.metrics import det_curve, roc_curve
from torchmetrics.classification import BinaryEER
from torchmetrics.functional.classification import binary_eer

from anglos import evaluate
from anglos.evaluate import Cost, splitting
from anglos.evaluate.bootstrap import Resampling, draws
from anglos.evaluate.curve import accepted_at, equal_error_rate, least_cost, rates_of, steps_of

pytestmark = pytest.mark.filterwarnings("ignore:.*impostor pairs less than one:UserWarning")

EXAMPLES: dict[str, tuple[list[float], list[int]]] = {
    "E1": ([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2], [1, 1, 0, 1, 0, 1, 0, 0]),
    "E2": ([0.9, 0.7, 0.7, 0.7, 0.5, 0.5, 0.3, 0.1], [1, 1, 1, 0, 1, 0, 0, 0]),
    "E3": ([0.9, 0.8, 0.6, 0.55, 0.5, 0.4, 0.2], [1, 1, 0, 1, 0, 0, 0]),
    "E4": ([0.9, 0.8, 0.4, 0.3], [1, 1, 0, 0]),
    "E5": ([0.13, 0.26, 0.08, 0.19, 0.34], [0, 0, 1, 1, 1]),
}
FIGURES = {  # EER, on the hull; TAR at FAR 0, 0.1, 1/4, 1/2; cost SRE08, SRE10, P = 0.05, P = 1/2
    "E1": (1 / 4, 1 / 4, [1 / 2, 1 / 2, 3 / 4, 1], [1 / 2, 1 / 2, 1 / 2, 1 / 2]),
    "E2": (1 / 4, 1 / 4, [1 / 4, 1 / 4, 3 / 4, 1], [3 / 4, 3 / 4, 3 / 4, 1 / 2]),
    "E3": (1 / 4, 1 / 7, [2 / 3, 2 / 3, 1, 1], [1 / 3, 1 / 3, 1 / 3, 1 / 4]),
    "E4": (0.0, 0.0, [1, 1, 1, 1], [0.0, 0.0, 0.0, 0.0]),
    "E5": (1 / 2, 0.4, [1 / 3, 1 / 3, 1 / 3, 2 / 3], [2 / 3, 2 / 3, 2 / 3, 2 / 3]),
}
COSTS = (Cost(0.01, c_miss=10.0), Cost(0.001), Cost(0.05), Cost(0.5))


@pytest.mark.parametrize("name", EXAMPLES)
def test_worked_examples(name: str, library: Library) -> None:
    scores, same = library.array(np.asarray(EXAMPLES[name][0])), library.array(np.asarray(EXAMPLES[name][1]))
    eer, hull, tar, costs = FIGURES[name]
    assert evaluate.eer(scores, same) == pytest.approx(eer, abs=1e-15)
    assert evaluate.eer(scores, same, hull=True) == pytest.approx(hull, abs=1e-15)
    assert [evaluate.tar_at_far(scores, same, far).tar for far in (0.0, 0.1, 0.25, 0.5)] == pytest.approx(tar)
    assert [evaluate.min_dcf(scores, same, cost) for cost in COSTS] == pytest.approx(costs, abs=1e-15)


def data(count: int, each: int, dimension: int = 16, noise: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = random.permutation(np.arange(count) // each)
    return random.normal(size=(count, dimension))[labels] + noise * random.normal(size=(count, dimension)), labels


def all_scores(embeddings: np.ndarray, labels: np.ndarray, similarity: str) -> tuple[np.ndarray, np.ndarray]:
    i, j = np.triu_indices(len(labels), 1)
    if similarity == "squared_euclidean":
        scores = -((embeddings[i] - embeddings[j]) ** 2).sum(axis=1)
    else:
        x = embeddings if similarity == "dot" else embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        scores = (x @ x.T)[i, j]
    return scores, labels[i] == labels[j]


def agree(found: evaluate.Verification, wanted: evaluate.Verification, tolerance: float = 1e-9) -> None:
    assert (found.genuine, found.impostor) == (wanted.genuine, wanted.impostor)
    assert found.eer == wanted.eer
    assert found.min_dcf == wanted.min_dcf
    assert found.eer_threshold == pytest.approx(wanted.eer_threshold, abs=tolerance)
    for far, point in wanted.tar_at_far.items():
        assert found.tar_at_far[far][1:] == point[1:]
        assert found.tar_at_far[far].threshold == pytest.approx(point.threshold, abs=tolerance)
    for p, threshold in wanted.min_dcf_threshold.items():
        assert found.min_dcf_threshold[p] == pytest.approx(threshold, abs=tolerance)


@pytest.mark.parametrize("hull", [False, True])
@pytest.mark.parametrize("similarity", ["cosine", "dot", "squared_euclidean"])
@pytest.mark.parametrize(("cells", "collected"), [(1 << 18, 1 << 22), (1 << 10, 3000), (64, 40)])
def test_all_pairs_in_blocks_are_as_all_at_once(similarity: str, hull: bool, cells: int, collected: int,
                                                library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """Collected whole, in two passes, and in cells that are divided several times."""
    monkeypatch.setattr(splitting, "CELLS", cells)
    monkeypatch.setattr(splitting, "COLLECTED", collected)
    embeddings, labels = data(300, 6)
    options: dict[str, Any] = {"far": (1e-3, 0.02, 0.3), "cost": evaluate.COSTS["SRE12"], "hull": hull}
    wanted = evaluate.verification_of_scores(*all_scores(embeddings, labels, similarity), **options)
    found = evaluate.verification(library.array(embeddings), library.array(labels), similarity=similarity, block=2500,
                                  **options)
    agree(found, wanted)


@pytest.mark.parametrize("collected", [1 << 22, 50])
def test_two_sets_and_a_list_of_pairs(collected: int, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitting, "COLLECTED", collected)
    embeddings, labels = data(120, 6)
    x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    first, second = slice(0, 50), slice(50, 120)
    given = [library.array(one) for one in (embeddings[first], labels[first], embeddings[second], labels[second])]
    sets: dict[str, Any] = dict(zip(("embeddings", "labels", "reference_embeddings", "reference_labels"), given,
                                    strict=True))
    scores, same = x[first] @ x[second].T, labels[first][:, None] == labels[second]
    agree(evaluate.verification(**sets, block=700), evaluate.verification_of_scores(scores.ravel(), same.ravel()))
    pairs = np.random.default_rng(1).integers(0, 50, (600, 2))
    wanted = evaluate.verification_of_scores(scores[*pairs.T], same[*pairs.T])
    agree(evaluate.verification(**sets, pairs=library.array(pairs), block=700), wanted)
    wanted = evaluate.verification_of_scores((x @ x.T)[*pairs.T], labels[pairs[:, 0]] == labels[pairs[:, 1]])
    agree(evaluate.verification(library.array(embeddings), labels, pairs=pairs), wanted)


def test_ignored_embeddings_are_in_no_pair() -> None:
    embeddings, labels = data(90, 6)
    labels[::4] = -100
    pairs = np.random.default_rng(1).integers(0, 90, (800, 2))
    there = pairs[(labels[pairs] != -100).all(axis=1)]
    found = evaluate.verification(embeddings, labels, pairs=pairs)
    assert found.genuine + found.impostor == len(there)
    agree(found, evaluate.verification(embeddings, labels, pairs=there, ignore_index=None))


def test_collapsed_embeddings(monkeypatch: pytest.MonkeyPatch) -> None:
    """All scores but a few in one cell, or all the same."""
    monkeypatch.setattr(splitting, "COLLECTED", 100)
    embeddings, labels = data(100, 5)
    near = 1.0 + 1e-4 * embeddings
    near[0] = -embeddings[0]
    agree(evaluate.verification(near, labels), evaluate.verification_of_scores(*all_scores(near, labels, "cosine")))
    same = evaluate.verification(np.ones((100, 4), np.float32), labels, far=0.1)
    assert (same.eer, same.min_dcf, same.tar_at_far[0.1].tar, same.tar_at_far[0.1].threshold) == (0.5, 1.0, 0.0, np.inf)


def test_rates_that_are_not_binary_fractions() -> None:
    """0.29 of 100 impostors are 29, though 0.29 * 100 is less in floating point."""
    scores, same = np.arange(101.0), np.arange(101) == 71
    assert evaluate.tar_at_far(scores, same, 0.29) == (71.0, 0.29, 1.0)


# Other libraries.


def crossing(far: np.ndarray, frr: np.ndarray) -> float:
    """Where a line between two points of the curve meets FAR = FRR, by halving."""
    for (x, y), (a, b) in itertools.pairwise(zip(far, frr, strict=True)):
        if x <= y and a >= b:
            low, high = 0.0, 1.0
            for _ in range(60):
                middle = (low + high) / 2
                low, high = (middle, high) if x + middle * (a - x) < y + middle * (b - y) else (low, middle)
            return float(x + low * (a - x))
    raise AssertionError


@pytest.mark.parametrize("name", ["random", *EXAMPLES])
def test_scikit_learn_has_the_same_curve_and_error_rate(name: str) -> None:
    if name == "random":
        random = np.random.default_rng(0)
        same = random.random(400) < 0.3
        scores = np.round(random.normal(size=400) + same, 1)
    else:
        scores, same = np.asarray(EXAMPLES[name][0]), np.asarray(EXAMPLES[name][1], bool)
    fpr, tpr, thresholds = roc_curve(same, scores, drop_intermediate=False)
    threshold, far, frr = evaluate.det_curve(scores, same)
    assert threshold.tolist() == thresholds[::-1].tolist()
    assert far.tolist() == pytest.approx(fpr[::-1].tolist())
    assert frr.tolist() == pytest.approx((1.0 - tpr[::-1]).tolist())
    assert evaluate.eer(scores, same) == pytest.approx(crossing(fpr, 1.0 - tpr), abs=1e-12)
    their_far, their_frr, theirs = det_curve(same, scores)
    part = (frr < 1.0) & np.isin(threshold, theirs)
    assert far[part].tolist() == pytest.approx(their_far.tolist())
    assert frr[part].tolist() == pytest.approx(their_frr.tolist())


def test_scikit_learn_drops_thresholds() -> None:
    """Points on a line between others: 0.3 is not there, so that a threshold read from it is too high."""
    scores, same = EXAMPLES["E1"]
    fpr, _, thresholds = roc_curve(same, scores)
    assert 0.3 in evaluate.det_curve(np.asarray(scores), same).threshold
    assert 0.3 not in thresholds
    assert thresholds[fpr <= 0.75].min() == 0.4 > evaluate.tar_at_far(np.asarray(scores), same, 0.75).threshold == 0.3


def test_scikit_learn_interpolates_where_no_threshold_is() -> None:
    scores, same = EXAMPLES["E2"]
    fpr, tpr, _ = roc_curve(same, scores)
    assert np.interp(0.1, fpr, tpr) == pytest.approx(0.45)
    with pytest.warns(UserWarning, match="of 4 impostor pairs less than one; what is found is TAR at FAR 0"):
        assert evaluate.tar_at_far(np.asarray(scores), same, 0.1).tar == 0.25


@pytest.mark.parametrize(("name", "theirs"), [("E1", 1 / 4), ("E2", 1 / 4), ("E3", 7 / 24), ("E4", 0.0)])
def test_torchmetrics_takes_the_point_that_is_nearest(name: str, theirs: float) -> None:
    """The mean of FAR and FRR at one threshold; ours lies on the line between two."""
    scores, same = EXAMPLES[name]
    assert float(binary_eer(torch.tensor(scores), torch.tensor(same))) == pytest.approx(theirs)


def test_torchmetrics_changes_with_the_default_precision() -> None:
    """Two points are as near, but for rounding."""
    scores, same = (torch.tensor(one) for one in EXAMPLES["E5"])
    assert float(binary_eer(scores, same)) == pytest.approx(7 / 12)
    torch.set_default_dtype(torch.float64)
    try:
        assert float(binary_eer(scores.double(), same)) == pytest.approx(5 / 12)
        assert evaluate.eer(scores, same) == 0.5
    finally:
        torch.set_default_dtype(torch.float32)


def test_torchmetrics_takes_scores_beyond_0_and_1_for_logits() -> None:
    """In a batch that has one, and not in the others: here 0.55 becomes 0.63, and 0.6 stays."""
    cosines, same = torch.tensor([0.9, 0.6, 0.55, -0.2]), torch.tensor([1, 1, 0, 0])
    whole, by_batches = BinaryEER(), BinaryEER()
    whole.update(cosines, same)
    for part in (slice(0, 2), slice(2, 4)):
        by_batches.update(cosines[part], same[part])
    assert (float(whole.compute()), float(by_batches.compute())) == (0.0, 0.5)
    assert evaluate.eer(cosines, same) == 0.0


# Intervals.


def test_intervals_are_those_of_classes_drawn_with_all_their_pairs() -> None:
    """Beside a draw of each pair's weight, which this does without."""
    embeddings, labels = data(300, 5, noise=1.2)
    found = evaluate.verification(embeddings, labels, far=0.02, replicates=1000, block=10_000)
    i, j = np.triu_indices(300, 1)
    scores, same = all_scores(embeddings, labels, "cosine")
    steps = steps_of(scores, same)
    place = np.searchsorted(steps.low, scores)
    drawn = []
    for weights in np.concatenate(list(draws(60, Resampling(400, 0.95, 1)))):
        left, right = weights[labels[i]], weights[labels[j]]
        counts = (np.bincount(place, one, len(steps.low)) for one in (same * left, ~same * left * right))
        rates = rates_of(steps, *counts)
        drawn.append([equal_error_rate(rates, steps.whole).value, accepted_at(rates, steps.whole, 0.02).value,
                      least_cost(rates, steps.whole, Cost(), 0.01).value])
    for name, row in zip(("eer", "tar_at_far[0.02]", "min_dcf"), np.asarray(drawn).T, strict=True):
        low, high = np.quantile(row, [0.025, 0.975])
        ours = found.intervals[name]
        assert ours == pytest.approx((low, high), abs=0.15 * (high - low)), name


def test_intervals_are_seeded() -> None:
    embeddings, labels = data(120, 6)
    found, again, other = (evaluate.verification(embeddings, labels, replicates=50, seed=seed).intervals
                           for seed in (1, 1, 2))
    assert found == again != other
    assert set(found) == {"eer", "tar_at_far[0.001]", "tar_at_far[0.01]", "tar_at_far[0.1]", "min_dcf"}
    pairs = np.random.default_rng(1).integers(0, 120, (900, 2))
    low, high = evaluate.verification(embeddings, labels, pairs=pairs, replicates=50).intervals["eer"]
    assert low < evaluate.verification(embeddings, labels, pairs=pairs).eer < high


# Costs, refusals, memory.


def test_costs_of_several_priors_are_their_mean() -> None:
    random = np.random.default_rng(0)
    scores, same = random.normal(size=500), random.random(500) < 0.2
    scores[same] += 2.0
    one, two = (evaluate.min_dcf(scores, same, Cost(p)) for p in (0.01, 0.2))
    assert evaluate.min_dcf(scores, same, Cost((0.01, 0.2))) == pytest.approx((one + two) / 2)
    assert one != two
    assert evaluate.act_dcf(scores, same, Cost(0.2)) >= two
    assert evaluate.min_dcf(-scores, same, Cost(0.01)) == 1.0


@pytest.mark.parametrize(("given", "message"), [
    ({"p_target": ()}, r"Cost: p_target was \(\); wanted a probability, or a tuple of them"),
    ({"p_target": 0.0}, "Cost: p_target was 0; wanted a probability above 0 and below 1"),
    ({"p_target": (0.1, 1.0)}, "Cost: p_target was 1; wanted a probability above 0 and below 1"),
    ({"c_miss": 0.0}, "Cost: c_miss was 0; wanted a number above 0"),
    ({"c_fa": "1"}, "Cost: c_fa was '1'; wanted a number above 0"),
    ({"c_fa": 1e200, "c_miss": 1e-200}, "Cost: c_fa was 1e\\+200, with c_miss 1e-200 and p_target 0.01; wanted costs "
                                         "whose ratio does not overflow"),
])
def test_refusals_of_costs(given: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^{message}"):
        Cost(**given)


PAIR = np.eye(2), [0, 1]


@pytest.mark.parametrize(("options", "message"), [
    ({}, "labels had 0 genuine and 1 impostor pairs; wanted at least one of each"),
    ({"labels": [0, 0]}, "labels had 1 genuine and 0 impostor pairs; wanted at least one of each"),
    ({"far": 1.5}, "far was 1.5; wanted a rate from 0 to 1"),
    ({"cost": "SRE08"}, "cost was 'SRE08'; wanted a Cost"),
    ({"hull": 1}, "hull was 1; wanted one of True, False"),
    ({"pairs": np.asarray([[0, 2]])}, r"pairs held 2 at position \(0, 1\); wanted 0 to 1"),
    ({"pairs": np.asarray([0, 1])}, "pairs was a numpy.ndarray of dtype int64 and shape"),
    ({"reference_embeddings": np.eye(2)}, "reference_labels was None; wanted an array, or neither of"),
    ({"reference_embeddings": np.eye(3), "reference_labels": [1, 2, 3]}, "reference_embeddings had 3 columns; wanted"),
])
def test_refusals(options: dict[str, Any], message: str) -> None:
    given = {"embeddings": PAIR[0], "labels": PAIR[1], **options}
    with pytest.raises((TypeError, ValueError), match=f"^verification: {message}"):
        evaluate.verification(**given)


@pytest.mark.parametrize(("scores", "same", "message"), [
    (np.ones(3), [1, 0], r"same was of dtype int64 and shape \(2,\); wanted bools, or 0 and 1, of shape \(3,\)"),
    (np.ones(2), [2, 0], "same held 2; wanted bools, or 0 and 1: whether the two are of one class"),
    (np.ones(2), [1, 1], "same had 2 genuine and 0 impostor pairs; wanted at least one of each"),
    (np.asarray([1.0, np.nan]), [1, 0], "scores held NaN or infinity; wanted finite numbers"),
    ([1.0, 0.0], [1, 0], "scores was a list; wanted an array of real floating dtype"),
])
def test_refusals_of_scores(scores: Any, same: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^eer: {message}"):
        evaluate.eer(scores, same)


def test_a_traced_array_is_refused() -> None:
    with pytest.raises(TypeError, match=r"^retrieval: embeddings was traced; wanted an array with numbers"):
        jax.jit(lambda x: evaluate.retrieval(x, [0, 0]).map_at_r)(jax.numpy.eye(2))


@pytest.mark.parametrize("name", ["embeddings", "labels"])
def test_a_tensor_without_numbers_is_refused(name: str) -> None:
    given: dict[str, Any] = {"embeddings": torch.eye(2), "labels": torch.zeros(2, dtype=torch.int64)}
    given[name] = given[name].to("meta")
    with pytest.raises(TypeError, match=f"^verification: {name} was on device meta; wanted an array with numbers$"):
        evaluate.verification(**given)


def test_it_is_reached_by_its_name_and_asks_for_numpy() -> None:
    code = ("import sys, anglos; assert 'numpy' not in sys.modules and 'evaluate' not in vars(anglos)\n"
            "print(anglos.evaluate.eer.__name__, 'torch' in sys.modules)\n"
            "for name in [name for name in sys.modules if name.startswith('anglos.evaluate')]: del sys.modules[name]\n"
            "del anglos.evaluate; sys.modules['numpy'] = None\n"
            "try: anglos.evaluate\n"
            "except ImportError as missing: print(missing)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ("eer False\nanglos.evaluate needs NumPy, which is not installed: pip install numpy\n")


def test_no_matrix_of_all_scores_is_held() -> None:
    """Of 6,000 embeddings it would take 144 MB in float32."""
    embeddings, labels = data(6000, 6)
    embeddings = embeddings.astype(np.float32)
    for figure, most in ((evaluate.verification, 110), (evaluate.retrieval, 40)):
        tracemalloc.start()
        figure(embeddings, labels)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most * 2**20, (figure, peak)


@pytest.mark.parametrize("name", ["curve", "identification", "of_scores", "retrieval", "verification"])
def test_examples(name: str) -> None:
    results = doctest.testmod(import_module(f"anglos.evaluate.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
