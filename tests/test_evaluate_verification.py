"""Verification: worked examples, all pairs against their matrix, and other libraries' figures."""

from typing import Any

import numpy as np
import pytest
from libraries import Library

from anglos import evaluate
from anglos.evaluate import Cost, splitting

pytestmark = pytest.mark.filterwarnings("ignore:.*of less than one:UserWarning", "ignore:.*less than one; what")

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
