"""Selections against loops over all triplets."""

import doctest
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos

BATCH, MARGIN = 24, 0.6

GUIDED = json.loads(Path(__file__).with_name("golden2_pairs.json").read_text())


def batch() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    return random.normal(size=(BATCH, 3)), np.where(np.arange(BATCH) == 5, -100, random.integers(0, 5, BATCH))


def slowly(mining: str, distances: np.ndarray, labels: np.ndarray, margin: float | None) -> list[tuple[int, int, int]]:
    triplets = []
    for a in range(BATCH):
        positives = [p for p in range(BATCH) if labels[p] == labels[a] != -100 and p != a]
        negatives = [n for n in range(BATCH) if -100 not in (labels[n], labels[a]) and labels[n] != labels[a]]
        if not positives or not negatives:
            continue
        nearest_first = sorted(negatives, key=lambda n: distances[a, n])
        if mining == "batch_hard":
            triplets.append((a, max(positives, key=lambda p: distances[a, p]), nearest_first[0]))
            continue
        for p in positives:
            farther = [n for n in nearest_first if distances[a, n] > distances[a, p]]
            if mining == "semi_hard_or_easiest":
                triplets.append((a, p, (farther or nearest_first[-1:])[0]))
            elif farther and (margin is None or distances[a, farther[0]] < distances[a, p] + margin):
                triplets.append((a, p, farther[0]))
    return triplets


@pytest.mark.parametrize("few", [0, 16])
@pytest.mark.parametrize("mining", ["batch_hard", "semi_hard", "semi_hard_or_easiest"])
def test_selections(mining: str, few: int, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """By sorting, and by a search for every positive."""
    monkeypatch.setattr("anglos.engines.pairs.triplets.FEW", few)
    embeddings, labels = batch()
    for margin in (None, MARGIN, library.array(np.asarray(MARGIN))) if mining == "semi_hard" else (None,):
        distances = np.sum((embeddings[:, None] - embeddings) ** 2, axis=-1)
        options = {"normalize": False, **({} if margin is None else {"margin": margin})}
        chosen = getattr(anglos.mining, mining)(library.array(embeddings), library.array(labels), **options)
        triplets = list(zip(*(library.numpy(rows).tolist() for rows in chosen), strict=True))
        assert triplets == slowly(mining, distances, labels, None if margin is None else float(margin))


@pytest.mark.parametrize("mining", ["batch_all", "batch_hard", "semi_hard", "semi_hard_or_easiest"])
@pytest.mark.parametrize(("margin", "soft"), [(MARGIN, False), ("soft", False), (MARGIN, True)])
@pytest.mark.parametrize("mean_over", ["active", "all"])
def test_triplet_sums_over_its_triplets(
    mining: str, margin: float | str, soft: bool, mean_over: str, library: Library
) -> None:
    """A soft loss has no end at the margin: its semi-hard negatives may be at any distance."""
    number, is_soft = (0.0, True) if isinstance(margin, str) else (margin, soft)
    embeddings, labels = batch()
    distances = np.sum((embeddings[:, None] - embeddings) ** 2, axis=-1)
    known = labels != -100
    if mining == "batch_all":
        same = (labels[:, None] == labels) & known
        both = (same & ~np.eye(BATCH, dtype=bool))[:, :, None] & (~same & known & known[:, None])[:, None, :]
        chosen = np.argwhere(both)
    else:
        chosen = np.asarray(slowly(mining, distances, labels, None if is_soft else number))
    a, p, n = chosen.T
    excess = distances[a, p] - distances[a, n] + number
    each = np.logaddexp(0.0, excess) if is_soft else np.maximum(0.0, excess)
    divisor = np.count_nonzero(each) if mean_over == "active" else len(each)
    options: dict[str, Any] = {"mining": mining, "margin": margin, "soft": soft, "mean_over": mean_over,
                               "normalize": False}
    value = anglos.triplet(library.array(embeddings), library.array(labels), **options)
    np.testing.assert_allclose(float(value), each.sum() / divisor, rtol=1e-12)


def test_references_and_nothing_to_select(library: Library) -> None:
    embeddings, labels = batch()
    whole = anglos.mining.batch_hard(library.array(embeddings[:4]), library.array(labels[:4] * 0 + labels[0]),
                                     reference_embeddings=library.array(embeddings[4:]),
                                     reference_labels=library.array(labels[4:]))
    anchors, positives, negatives = (library.numpy(rows) for rows in whole)
    assert anchors.tolist() == [0, 1, 2, 3]
    assert (labels[4:][positives] == labels[0]).all()
    assert (labels[4:][negatives] != labels[0]).all()
    alone = anglos.mining.semi_hard(library.array(embeddings), library.array(np.arange(BATCH)))
    nobody = anglos.mining.batch_hard(library.array(embeddings[:0]), library.array(labels[:0]))
    assert all(rows.shape == (0,) for rows in (*alone, *nobody))


@pytest.mark.parametrize("case", [case for case in GUIDED["cases"] if "guide" in case["options"]],
                         ids=lambda case: case["id"])
def test_a_guide_finds_the_masks_of_the_sheet(case: dict[str, Any], library: Library) -> None:
    queries, keys = (library.array(np.asarray(GUIDED["inputs"][name])) for name in ("GQ", "GK"))
    options = case["options"]
    kind: Any = options["guide"] if options["guide"] in ("absolute", "relative") else "factor"
    for letters, mask in options["masks"].items():
        words = {"q": "query", "k": "key"}
        block: Any = f"{words[letters[0]]}_to_{words[letters[1]]}"
        found = anglos.mining.guided_false_negatives(queries, keys, margin=options["guide_margin"], kind=kind,
                                                     block=block)
        np.testing.assert_array_equal(library.numpy(found), np.asarray(mask, dtype=bool))


def test_a_guide_of_hard_inputs(library: Library) -> None:
    """What is just as similar stays a negative, whatever rounding makes of it, and so does what has no direction."""
    random = np.random.default_rng(0)
    for dtype in ("float64", "float32"):
        queries, keys = (random.normal(size=(40, 33)).astype(dtype) for _ in range(2))
        keys[20:] = 3.0 * keys[:20]
        queries[20:] = queries[:20]
        queries[7] = keys[8] = 0.0
        given = library.array(queries), library.array(keys)
        found = library.numpy(anglos.mining.guided_false_negatives(*given))
        equal = found[np.arange(20), np.arange(20, 40)]
        assert np.flatnonzero(equal).tolist() == [8]  # whose own key has no direction, and so cosine 0
        assert not found[7].any()
        among = library.numpy(anglos.mining.guided_false_negatives(*given, library.array(keys)))
        np.testing.assert_array_equal(among, found)
        swapped = library.numpy(anglos.mining.guided_false_negatives(*given, block="key_to_query"))
        np.testing.assert_array_equal(swapped, library.numpy(anglos.mining.guided_false_negatives(*given[::-1])))


def test_refusals_of_guides() -> None:
    x = np.eye(2)
    for options, message in (
            ({"kind": "percent"}, "kind was 'percent'; wanted one of 'absolute', 'relative', 'factor'"),
            ({"guide_negatives": x, "block": "key_to_key"}, "block was 'key_to_key' beside guide_negatives; wanted "),
            ({"margin": 3.0}, "margin was 3; wanted a margin on the cosine from -2 to 2: a number")):
        with pytest.raises(ValueError, match=rf"^mining.guided_false_negatives: {message}"):
            anglos.mining.guided_false_negatives(x, x, **options)


def test_weights_of_pairs(library: Library) -> None:
    """Of labels that two samples share; −100 is none, and nobody shares nothing."""
    tags = np.asarray([[1, 0, 1, 0], [0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1], [1, 1, 1, 0], [0, 0, 0, 0]])
    sets = [set(np.flatnonzero(row)) for row in tags]
    wanted = np.asarray([[len(a & b) / max(len(a | b), 1) for b in sets] for a in sets])
    for array in (tags, tags.astype(bool), tags.astype("float64")):
        for threshold in (0.0, 0.4):
            got = library.numpy(anglos.mining.jaccard(library.array(array), threshold=threshold))
            np.testing.assert_allclose(got, np.where(wanted < threshold, 0.0, wanted), rtol=1e-7)
    padded = np.asarray([[*row, *[-100] * (3 - len(row))] for row in map(sorted, sets)])
    for labels, same in ((padded, wanted > 0.0), (padded[:, 0], (padded[:, :1] == padded[:, 0]) & (padded[:, 0] >= 0))):
        np.testing.assert_array_equal(library.numpy(anglos.mining.same_label(library.array(labels))), same)


def test_a_weight_of_another_number_is_never_a_silent_one(library: Library) -> None:
    tags = library.array(np.asarray([[1, 0], [1, 1], [2, 0]]))
    if library.readable:
        with pytest.raises(ValueError, match=r"^mining.jaccard: multi_hot held a number that was neither 0 nor 1; wan"):
            anglos.mining.jaccard(tags)
    else:
        wrong = np.arange(3) == 2
        np.testing.assert_array_equal(np.isnan(library.numpy(anglos.mining.jaccard(tags))), wrong | wrong[:, None])


@pytest.mark.parametrize("name", ["guides", "pair_targets", "triplets"])
def test_examples(name: str) -> None:
    results = doctest.testmod(import_module(f"anglos.training.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
