"""Retrieval and identification: worked examples, matrices of all scores, means over orders of ties, other libraries."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from libraries import LIBRARIES, Library
from pytorch_metric_learning.distances import CosineSimilarity
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from sklearn.metrics import average_precision_score
from test_evaluate_verification import data
from torchmetrics.functional import retrieval as torchmetrics_retrieval

from anglos import evaluate
from anglos.arrays.dispatch import backend_of

SIX = np.asarray([[1.0, 0.0]] * 3 + [[0.0, 1.0]] * 2 + [[-1.0, 0.0]]), np.asarray([0, 1, 0, 1, 1, 2])


def at(*angles: float) -> np.ndarray:
    return np.stack([np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))], axis=1)


def slowly(scores: np.ndarray, labels: np.ndarray, ties: str, k: tuple[int, ...]) -> dict[str, float]:
    """From the matrix of all scores, each row sorted."""
    rows = []
    for query in range(len(labels)):
        others = np.delete(np.arange(len(labels)), query)
        relevant = labels[others] == labels[query]
        if not relevant.any():
            continue
        rank_of_ties = {"pessimistic": relevant, "optimistic": ~relevant}[ties]
        order = np.lexsort((rank_of_ties, -scores[query, others]))
        rel, r = relevant[order], relevant.sum()
        precision = np.cumsum(rel) / np.arange(1, len(rel) + 1) * rel
        rows.append([rel[:r].mean(), precision[:r].sum() / r, precision.sum() / r, 1 / (1 + np.argmax(rel)), rel[0],
                     *(rel[:one].any() for one in k), *(rel[:one].sum() / r for one in k)])
    names = ["r_precision", "map_at_r", "mean_average_precision", "mrr", "precision_at_1",
             *(f"recall[{one}]" for one in k), *(f"recall_fraction[{one}]" for one in k)]
    return dict(zip(names, np.mean(rows, axis=0).tolist(), strict=True))


def flat(found: evaluate.Retrieval) -> dict[str, float]:
    means = {name: getattr(found, name) for name in ("r_precision", "map_at_r", "mean_average_precision", "mrr",
                                                     "precision_at_1")}
    return means | {f"{name}[{k}]": one for name in ("recall", "recall_fraction")
                    for k, one in getattr(found, name).items()}


def test_worked_example(library: Library) -> None:
    """One query at 0°: relevant are 5°, 25°, 35° and 55°."""
    found = evaluate.retrieval(library.array(at(0)), [1], gallery=library.array(at(5, 15, 25, 35, 45, 55, 65)),
                               gallery_labels=library.array(np.asarray([1, 0, 1, 1, 0, 1, 0])), k=(1, 3))
    assert found.r_precision == 3 / 4
    assert found.map_at_r == pytest.approx((1 + 2 / 3 + 3 / 4) / 4)
    assert found.mean_average_precision == pytest.approx((1 + 2 / 3 + 3 / 4 + 4 / 6) / 4)
    assert (found.mrr, found.recall, found.recall_fraction) == (1.0, {1: 1.0, 3: 1.0}, {1: 1 / 4, 3: 2 / 4})


@pytest.mark.parametrize(("ties", "figures"), [("pessimistic", (0.4, 0.2, 0.2, 0.563333)),
                                               ("optimistic", (0.8, 0.8, 0.8, 0.883333))])
def test_ties(ties: str, figures: tuple[float, ...], library: Library) -> None:
    found = evaluate.retrieval(*map(library.array, SIX), ties=ties)
    assert (found.precision_at_1, found.r_precision, found.map_at_r, found.mean_average_precision) == pytest.approx(
        figures, abs=1e-6)
    assert (found.queries, found.left_out) == (5, 1)


def test_expected_ties_are_the_mean_over_all_orders() -> None:
    """Of seven items of three scores, by all their permutations."""
    scores, relevant = np.asarray([3, 2, 2, 2, 1, 1, 1.0]), np.asarray([0, 1, 0, 1, 1, 0, 0], bool)
    rows = []
    for order in itertools.permutations(range(7)):
        if (np.diff(scores[list(order)]) <= 0).all():
            rel = relevant[list(order)]
            precision = np.cumsum(rel) / np.arange(1, 8) * rel
            rows.append([rel[:3].mean(), precision[:3].sum() / 3, precision.sum() / 3, 1 / (1 + np.argmax(rel)), rel[0],
                         rel[0], rel[:2].any(), rel[:6].any(), rel[0] / 3, rel[:2].sum() / 3, rel[:6].sum() / 3])
    found = evaluate.retrieval(np.ones((1, 1)), [1], gallery=scores[:, None], gallery_labels=relevant * 1, k=(1, 2, 6),
                               similarity="dot", ties="expected")
    assert list(flat(found).values()) == pytest.approx(np.mean(rows, axis=0).tolist())


@pytest.mark.parametrize("ties", ["pessimistic", "optimistic"])
@pytest.mark.parametrize("each", [2, 5, 40])
def test_ranks_by_blocks_are_those_of_the_matrix(each: int, ties: str, library: Library) -> None:
    """Few relevant items, which are compared one by one, and many, for which scores are sorted; many of them tie."""
    embeddings, labels = data(120, each, dimension=3)
    embeddings = np.round(embeddings)
    found = evaluate.retrieval(library.array(embeddings), library.array(labels), ties=ties, k=(1, 3, 50), block=40,
                               similarity="squared_euclidean")
    distances = ((embeddings[:, None] - embeddings) ** 2).sum(axis=2)
    assert flat(found) == pytest.approx(slowly(-distances, labels, ties, (1, 3, 50)))


def test_all_the_same_find_nothing() -> None:
    embeddings, labels = np.tile(at(30.0), (50, 1)), np.arange(50) // 5
    found = evaluate.retrieval(embeddings, labels)
    assert (found.precision_at_1, found.map_at_r, found.recall[8]) == (0.0, 0.0, 0.0)
    assert evaluate.retrieval(embeddings, labels, ties="expected").precision_at_1 == pytest.approx(4 / 49)


@pytest.mark.parametrize("similarity", ["cosine", "dot", "squared_euclidean"])
@pytest.mark.parametrize(("size", "dimension"), [(101, 100), (257, 129), (150, 512)])
def test_equal_embeddings_have_equal_scores(size: int, dimension: int, similarity: str) -> None:
    """Where a matrix product rounds some of its columns otherwise, too: a network that collapsed finds nothing."""
    one = np.random.default_rng(0).normal(size=dimension)
    embeddings, labels = np.tile(one, (size, 1)), np.arange(size) // 5
    options: dict[str, Any] = {"similarity": similarity, "block": 900}
    assert evaluate.retrieval(embeddings, labels, **options).recall[8] == 0.0
    assert evaluate.identification(embeddings, labels, embeddings, labels, **options).rank[10] == 0.0
    others: dict[str, Any] = {"reference_embeddings": embeddings, "reference_labels": labels}
    for given in ({}, others):
        assert evaluate.verification(embeddings, labels, far=0.5, **given, **options).eer == 0.5
    gallery = np.repeat(np.random.default_rng(1).normal(size=(size, dimension)), 2, axis=0)
    found = evaluate.retrieval(embeddings[:9], [0] * 9, gallery=gallery, gallery_labels=[0, 1] * size, **options)
    assert (found.recall[1], found.recall[2]) == (0.0, 1.0)


def test_a_library_elsewhere_is_computed_with_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where nothing is read as NumPy's."""
    embeddings, labels = data(90, 9)
    wanted = evaluate.retrieval(embeddings, labels), evaluate.verification(embeddings, labels), evaluate.identification(
        embeddings[:40], labels[:40], embeddings[40:], labels[40:])
    for name in ("torch", "jax"):
        library = LIBRARIES[name]()
        array = library.array(embeddings)
        monkeypatch.setattr(backend_of(array), "readable", lambda array: False)
        assert flat(evaluate.retrieval(array, library.array(labels))) == pytest.approx(flat(wanted[0]))
        if name == "jax":  # which compiles each of these operations: a second more than all others together
            continue
        found = evaluate.verification(array, labels, replicates=5)
        assert (found.eer, found.min_dcf) == pytest.approx((wanted[1].eer, wanted[1].min_dcf))
        seen = evaluate.identification(array[:40], labels[:40], array[40:], labels[40:])
        assert seen.cmc == pytest.approx(wanted[2].cmc)


def test_low_precision_is_computed_in_float32() -> None:
    embeddings, labels = data(60, 6)
    rounded = torch.tensor(embeddings).bfloat16()
    assert evaluate.retrieval(rounded, labels) == evaluate.retrieval(rounded.float(), labels)
    assert evaluate.retrieval(rounded.requires_grad_(), labels).queries == 60


def test_ignored_embeddings_are_not_there() -> None:
    embeddings, labels = data(60, 6)
    labels[::4] = -100
    there = labels != -100
    assert evaluate.retrieval(embeddings, labels) == evaluate.retrieval(embeddings[there], labels[there])
    assert evaluate.verification(embeddings, labels, far=0.1).eer == evaluate.verification(
        embeddings[there], labels[there], far=0.1).eer
    assert evaluate.retrieval(embeddings, labels, ignore_index=None).queries == 60


def test_words_are_labels_too() -> None:
    embeddings, labels = data(60, 6)
    words = [f"speaker {label}" for label in labels]
    wanted = evaluate.retrieval(embeddings, labels)
    assert evaluate.retrieval(embeddings, words) == wanted
    assert evaluate.retrieval(embeddings, np.asarray(words, object)) == wanted  # as pandas has them
    assert evaluate.retrieval(embeddings, labels.astype(np.uint64)) == wanted


def test_numpy_raises_nothing_and_pytorch_records_nothing() -> None:
    embeddings, labels = data(60, 6)
    with np.errstate(all="raise"):
        small = evaluate.verification(embeddings * 1e-200, labels, replicates=10)
        assert evaluate.retrieval(embeddings * 1e200, labels, replicates=10) == evaluate.retrieval(
            embeddings, labels, replicates=10)
    assert small.eer == evaluate.verification(embeddings, labels).eer
    with torch.autocast("cpu"):
        assert evaluate.retrieval(torch.tensor(embeddings), labels) == evaluate.retrieval(embeddings, labels)


def test_mlx_is_read_by_numpy() -> None:
    mlx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    embeddings, labels = data(60, 6)
    assert evaluate.retrieval(mlx.array(embeddings.astype(np.float32)), mlx.array(labels)) == evaluate.retrieval(
        embeddings.astype(np.float32), labels)


# Other libraries.

theirs: Any = torchmetrics_retrieval  # whose types forget top_k
SEARCH = CustomKNN(CosineSimilarity())  # by default it asks for faiss


def test_pytorch_metric_learning_has_the_same_figures() -> None:
    embeddings, labels = data(200, 5)
    x = torch.nn.functional.normalize(torch.tensor(embeddings))
    calculator = AccuracyCalculator(include=("precision_at_1", "r_precision", "mean_average_precision_at_r",
                                             "mean_average_precision", "mean_reciprocal_rank"), k=None,
                                    knn_func=SEARCH)
    wanted = calculator.get_accuracy(x, torch.tensor(labels))
    found = evaluate.retrieval(x, labels)
    assert (found.precision_at_1, found.r_precision, found.map_at_r, found.mean_average_precision, found.mrr) == (
        pytest.approx(tuple(wanted[name] for name in ("precision_at_1", "r_precision", "mean_average_precision_at_r",
                                                      "mean_average_precision", "mean_reciprocal_rank"))))


def test_pytorch_metric_learning_takes_ties_as_they_come() -> None:
    """By the order in which its search returns them: here the pessimistic one."""
    wanted = AccuracyCalculator(include=("precision_at_1", "r_precision"), k=None, knn_func=SEARCH).get_accuracy(
        torch.tensor(SIX[0]).float(), torch.tensor(SIX[1]))
    found = {ties: evaluate.retrieval(*SIX, ties=ties) for ties in ("pessimistic", "optimistic")}
    assert found["pessimistic"].precision_at_1 <= wanted["precision_at_1"] <= found["optimistic"].precision_at_1
    assert found["pessimistic"].r_precision <= wanted["r_precision"] <= found["optimistic"].r_precision


def test_average_precision_of_scikit_learn_and_torchmetrics() -> None:
    embeddings, labels = data(80, 8)
    x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = evaluate.retrieval(x, labels, k=(1, 5))
    rows: list[list[float]] = []
    for query in range(80):
        others = np.delete(np.arange(80), query)
        scores, relevant = x[others] @ x[query], labels[others] == labels[query]
        pair: Any = torch.tensor(1.0 + scores), torch.tensor(relevant)
        rows.append([average_precision_score(relevant, scores), *map(float, (
            theirs.retrieval_average_precision(*pair), theirs.retrieval_reciprocal_rank(*pair),
            theirs.retrieval_r_precision(*pair), theirs.retrieval_hit_rate(*pair, 5), theirs.retrieval_recall(*pair, 5),
            theirs.retrieval_precision(*pair, 1)))])
    assert np.mean(rows, axis=0).tolist() == pytest.approx([
        found.mean_average_precision, found.mean_average_precision, found.mrr, found.r_precision, found.recall[5],
        found.recall_fraction[5], found.precision_at_1], abs=1e-6)


def test_torchmetrics_wants_scores_above_0_in_average_precision() -> None:
    """To it an item with a score of 0 or less is relevant to nobody."""
    scores, relevant = torch.tensor([0.5, 0.1, -0.2]), torch.tensor([1, 0, 1])
    found = evaluate.retrieval(np.ones((1, 1)), [1], gallery=scores[:, None].double().numpy(), gallery_labels=relevant,
                               similarity="dot").mean_average_precision
    assert float(theirs.retrieval_average_precision(scores, relevant)) == 1.0
    assert float(theirs.retrieval_average_precision(scores + 1.0, relevant)) == pytest.approx(found) == 5 / 6


def test_scikit_learn_counts_ties_as_one_step() -> None:
    """Precision of all that tie, where ours is of one order, or of the mean over all."""
    scores, relevant = np.asarray([0.5, 0.5, 0.5]), np.asarray([1, 0, 0])
    found = {ties: evaluate.retrieval(np.ones((1, 1)), [1], gallery=scores[:, None], gallery_labels=relevant, ties=ties,
                                      similarity="dot").mean_average_precision
             for ties in ("pessimistic", "expected", "optimistic")}
    assert found == pytest.approx({"pessimistic": 1 / 3, "expected": 11 / 18, "optimistic": 1.0})
    assert average_precision_score(relevant, scores) == pytest.approx(1 / 3)


# Identification.


@pytest.mark.parametrize(("ties", "tpir"), [("pessimistic", 1 / 3), ("optimistic", 2 / 3), ("expected", 1 / 2)])
def test_open_set(ties: str, tpir: float, library: Library) -> None:
    """Mated probes see (0.9 | 0.2, 0.1), (0.4 | 0.5, 0.3) and (0.6 | 0.6, 0.2), others at most 0.55, 0.2, 0.45, 0.3."""
    rows = [[0.9, 0.2, 0.1], [0.5, 0.4, 0.3], [0.6, 0.2, 0.6], [0.55, 0, 0], [0.2, 0, 0], [0, 0.45, 0], [0, 0, 0.3]]
    labels = np.asarray([0, 1, 2, 5, 6, 7, 8])
    found = evaluate.identification(library.array(np.asarray(rows)), library.array(labels), library.array(np.eye(3)),
                                    library.array(np.arange(3)), ranks=(1, 2), fpir=(0.0, 0.25, 0.5), ties=ties,
                                    similarity="dot")
    assert [point.tpir for point in found.tpir_at_fpir.values()] == pytest.approx([tpir] * 3)
    assert [point.fpir for point in found.tpir_at_fpir.values()] == [0.0, 0.25, 0.5]
    assert [point.threshold for point in found.tpir_at_fpir.values()] == [0.6, 0.55, 0.4]
    assert (found.rank, found.mated, found.non_mated) == ({1: pytest.approx(tpir), 2: 1.0}, 3, 4)


def test_rank_is_that_of_the_best_mate_among_other_labels(library: Library) -> None:
    embeddings, labels = data(120, 6, dimension=4)
    probes, gallery = slice(0, 60), slice(60, 120)
    found = evaluate.identification(library.array(embeddings[probes]), library.array(labels[probes]),
                                    library.array(embeddings[gallery]), library.array(labels[gallery]), ranks=20,
                                    block=100)
    x = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    scores, same = x[probes] @ x[gallery].T, labels[probes][:, None] == labels[gallery]
    mated = same.any(axis=1)
    best = np.where(same, scores, -2).max(axis=1)
    ranks = 1 + ((scores > best[:, None]) & ~same).sum(axis=1)[mated]
    assert found.cmc.tolist() == pytest.approx([(ranks <= k).mean() for k in range(1, 21)])
    assert (found.mated, found.non_mated) == (mated.sum(), (~mated).sum())


# Intervals.


def test_intervals_are_seeded_and_hold_the_figure() -> None:
    embeddings, labels = data(120, 4)
    found, again, other = (evaluate.retrieval(embeddings, labels, replicates=200, seed=seed) for seed in (1, 1, 2))
    assert found.intervals == again.intervals != other.intervals
    for name, value in flat(found).items():
        assert found.intervals[name].low <= value <= found.intervals[name].high
    wide = evaluate.retrieval(embeddings, labels, replicates=200, seed=1, confidence=0.99).intervals["map_at_r"]
    assert wide.low < found.intervals["map_at_r"].low < found.intervals["map_at_r"].high < wide.high


def test_classes_are_drawn_and_not_queries() -> None:
    """A hundred copies of five classes are as uncertain as five."""
    random = np.random.default_rng(0)
    embeddings = np.concatenate([np.eye(5), random.normal(size=(5, 5))])
    labels = np.concatenate([np.arange(5), np.arange(5)])
    few, many = (evaluate.retrieval(np.tile(embeddings[:5], (copies, 1)), np.tile(labels[:5], copies), replicates=500,
                                    gallery=embeddings[5:], gallery_labels=labels[5:]).intervals["mrr"]
                 for copies in (1, 100))
    assert many == pytest.approx(few)


def test_intervals_of_an_open_set() -> None:
    embeddings, labels = data(120, 4, noise=0.7)
    found = evaluate.identification(embeddings[:60], labels[:60], embeddings[60:90], labels[60:90], fpir=(0.1, 0.3),
                                    replicates=200)
    assert set(found.intervals) == {"rank[1]", "rank[5]", "rank[10]", "tpir_at_fpir[0.1]", "tpir_at_fpir[0.3]"}
    for fpir, point in found.tpir_at_fpir.items():
        low, high = found.intervals[f"tpir_at_fpir[{fpir:g}]"]
        assert low <= point.tpir <= high
        assert low < high


# Refusals.


@pytest.mark.parametrize(("options", "message"), [
    ({"k": 0}, "k was 0; wanted an integer from 1"),
    ({"k": "1"}, "k was '1'; wanted a number, or a tuple of numbers"),
    ({"ties": "mean"}, "ties was 'mean'; wanted one of 'pessimistic', 'optimistic', 'expected'"),
    ({"similarity": "euclidean"}, "similarity was 'euclidean'; wanted one of 'cosine', 'dot', 'squared_euclidean'"),
    ({"replicates": -1}, "replicates was -1; wanted an integer from 0"),
    ({"confidence": 95}, "confidence was 95; wanted a part of the draws from 0 to 1"),
    ({"block": 0}, "block was 0; wanted an integer from 1"),
    ({"labels": [0, 1]}, r"labels was of dtype int64 and shape \(2,\); wanted integers or words of shape \(6,\)"),
    ({"labels": np.ones(6)}, "labels was of dtype float64"),
    ({"labels": np.arange(6)}, "labels were of no two items; wanted at least one query with a relevant item"),
    ({"embeddings": np.full((6, 2), np.nan)}, "embeddings held NaN or infinity; wanted finite numbers"),
    ({"embeddings": [[1.0]]}, "embeddings was a list; wanted an array of real floating dtype and shape"),
    ({"embeddings": np.ones(6)}, r"embeddings was an array of dtype float64 and shape \(6,\); wanted an array"),
    ({"embeddings": np.ones((6, 2), int)}, "embeddings was an array of dtype int64"),
    ({"gallery": np.ones((3, 2))}, "gallery_labels was None; wanted an array, or neither of gallery and"),
    ({"gallery_labels": [1]}, "gallery was None; wanted an array, or neither"),
    ({"gallery": SIX[0], "gallery_labels": ["a"] * 6}, "gallery_labels was of dtype <U1; wanted words as well, or int"),
    ({"embeddings": SIX[0] * 1e200, "similarity": "dot"}, "similarity was 'dot', by which these embeddings overflow"),
    ({"embeddings": torch.eye(6).to_sparse()}, "embeddings was a tensor of torch.sparse_coo; wanted a dense one"),
    ({"gallery": SIX[0], "gallery_labels": [7] * 6}, "labels had none that the gallery has; wanted at least one query"),
    ({"labels": [0, "0", 1, "1", 2, 2]}, "labels held int and str; wanted integers alone, or words alone"),
    ({"labels": [[0], [0, 1]]}, "labels was a list of parts that differ in length; wanted an array"),
    ({"labels": ["a"] * 6, "gallery": SIX[0], "gallery_labels": np.asarray([b"a"] * 6)},
     r"gallery_labels was of dtype \|S1; wanted words as well"),
    ({"ignore_index": "x"}, "ignore_index was 'x'; wanted an integer"),
    ({"labels": np.full(6, 2**63, np.uint64)}, "labels held 9223372036854775808; wanted integers up to"),
    ({"gallery": np.ones((3, 4)), "gallery_labels": [1, 2, 3]}, "gallery had 4 columns; wanted 2"),
])
def test_refusals(options: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"embeddings": SIX[0], "labels": SIX[1], **options}
    with pytest.raises((TypeError, ValueError), match=f"^retrieval: {message}"):
        evaluate.retrieval(**given)


@pytest.mark.parametrize(("labels", "options", "message"), [
    ([7] * 6, {}, "probe_labels had none that the gallery has; wanted at least one mated probe"),
    (SIX[1], {"fpir": 0.1}, "probe_labels were all in the gallery; wanted a probe whose label is not, for fpir"),
    (SIX[1], {"fpir": 2.0}, "fpir was 2; wanted a rate from 0 to 1"),
    (SIX[1], {"tpir_rank": 0}, "tpir_rank was 0; wanted an integer from 1"),
    (SIX[1], {"tpir_rank": 2}, "tpir_rank was 2; wanted 1 without fpir"),
    (SIX[1], {"confidence": 0.9}, "confidence was 0.9; wanted 0.95 without replicates"),
    (SIX[1], {"seed": 3}, "seed was 3; wanted 0 without replicates"),
    (SIX[1][:5], {}, "probe_labels was of dtype int64"),
])
def test_refusals_of_identification(labels: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^identification: {message}"):
        evaluate.identification(SIX[0], labels, *SIX, **options)


def test_identification_wants_a_gallery() -> None:
    none: Any = None
    with pytest.raises(TypeError, match=r"^identification: gallery was None; wanted an array \(N, D\)$"):
        evaluate.identification(*SIX, none, none)


def test_a_warning_of_fpir_is_of_the_line_of_the_call() -> None:
    with pytest.warns(UserWarning, match=r"fpir was 0\.1, of 1 non-mated probes less than one") as seen:
        evaluate.identification(SIX[0], SIX[1], SIX[0][:5], SIX[1][:5], fpir=0.1)
    assert seen[0].filename == __file__
