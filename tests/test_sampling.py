"""Partial class sampling as functions: which rows, which labels, and the correction for classes that are not there."""

import math
import pickle
import re
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import arrays, gentle

import anglos
from anglos import Loss, Sampled, correct_sampling, sample_classes

LABELS = np.asarray([17, 3, -100, 17, 9, 38, 0, -100])
CLASSES = 40

NOT_CORRECTED = {
    "sphereface2": "is a Binary, no log-sum-exp", "uniface": "is a Binary, no log-sum-exp",
    "p2sgrad": "is a Squares, no log-sum-exp", "sface": "is a Linear, no log-sum-exp",
    "c_contrastive": "is a ContrastiveHinge, no log-sum-exp",
    "c_triplet": "is a TripletHinge, no log-sum-exp", "angular_triplet": "chooses samples by its largest logit",
}


def rng_of(library: Library, seed: int) -> Any:
    if library.name == "torch":
        return import_module("torch").Generator(library.array(LABELS).device).manual_seed(seed)
    return import_module("jax").random.key(seed) if library.name == "jax" else np.random.default_rng(seed)


def sampled(library: Library, labels: np.ndarray, rate: float, seed: int = 0, **ranks: int) -> Sampled:
    found = sample_classes(library.array(labels), CLASSES, rate, rng=rng_of(library, seed), **ranks)
    return Sampled(*map(library.numpy, found))


def looked_up(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The labels that these places stand for; what is ignored stays."""
    return np.where(places < 0, places, np.append(rows, 0)[np.maximum(places, 0)])


@pytest.mark.parametrize("rate", [0.01, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("labels", [LABELS, LABELS[:1], LABELS[2:3], LABELS[:0]], ids=len)
def test_rows_are_the_classes_of_the_batch_and_others(library: Library, labels: np.ndarray, rate: float) -> None:
    rows, places, log_probability = sampled(library, labels, rate)
    own = np.unique(labels[labels >= 0])
    assert len(rows) == max(math.ceil(rate * CLASSES), len(own) if library.readable else len(labels))
    assert len(set(rows.tolist())) == len(rows)
    assert set(rows.tolist()) <= set(range(CLASSES))
    others = rows if rate == 1.0 else rows[len(own):]
    assert others.tolist() == sorted(others)
    if rate < 1.0:
        assert rows[:len(own)].tolist() == own.tolist()
    np.testing.assert_array_equal(looked_up(rows, places), labels)
    expected = math.log((len(rows) - len(own)) / (CLASSES - len(own))) if len(rows) > len(own) else 0.0
    is_own = np.isin(rows, own)
    np.testing.assert_array_equal(log_probability[is_own], 0.0)
    np.testing.assert_allclose(log_probability[~is_own], 0.0 if rate == 1.0 else expected, rtol=1e-6)


@pytest.mark.parametrize(("classes", "ranks"), [(40, 1), (40, 4), (41, 4), (41, 3), (43, 6), (9, 8)])
@pytest.mark.parametrize("rate", [0.01, 0.3, 0.8, 1.0])
def test_ranks_agree_without_a_word(classes: int, ranks: int, rate: float) -> None:
    """On labels, each by a draw of its own; and on how many rows, as torch.chunk cuts them."""
    labels = np.where(LABELS < 0, LABELS, LABELS % classes)
    found = [sample_classes(labels, classes, rate, rng=rank, rank=rank, ranks=ranks) for rank in range(ranks)]
    each = -(-classes // ranks)
    rows = np.concatenate([one.rows + rank * each for rank, one in enumerate(found)])
    assert [one.labels.tolist() for one in found] == [found[0].labels.tolist()] * ranks
    np.testing.assert_array_equal(looked_up(rows, found[0].labels), labels)
    own = np.bincount(np.unique(labels[labels >= 0]) // each, minlength=ranks)
    count = max(math.ceil(rate * each), own.max())
    shares = [max(0, min(each, classes - rank * each)) for rank in range(ranks)]
    assert [len(one.rows) for one in found] == [min(count, share) for share in shares]
    cut = -(-len(rows) // ranks)
    assert [len(one.rows) for one in found] == [min(cut, max(0, len(rows) - rank * cut)) for rank in range(ranks)]
    for one, here, mine in zip(found, shares, own, strict=True):
        likely = np.exp(one.log_probability).sum() - (0 if rate == 1.0 else mine)
        wanted = (len(one.rows) - mine) ** 2 / max(here - mine, 1)
        assert likely == pytest.approx(here if rate == 1.0 else wanted, rel=1e-5)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_others_are_drawn_alike(name: str) -> None:
    """Each by its probability, within five standard deviations of the number of draws."""
    library, draws = LIBRARIES[name](), 400
    found = [sampled(library, LABELS, 0.5, seed).rows for seed in range(draws)]
    times, own = np.bincount(np.concatenate(found), minlength=CLASSES), np.unique(LABELS[LABELS >= 0])
    assert times[own].tolist() == [draws] * len(own)
    p = (20 - len(own)) / (CLASSES - len(own))
    assert abs(np.delete(times, own) - draws * p).max() < 5.0 * math.sqrt(draws * p * (1.0 - p))


def test_under_jit_shapes_alone_decide() -> None:
    """The same rows as outside; where a batch might have more classes of its own, as many as it has samples."""
    jax, library = import_module("jax"), LIBRARIES["jax"]()
    labels = library.array(LABELS)
    for rate, rows in ((0.5, 20), (0.01, len(LABELS))):
        jitted = jax.jit(lambda labels, key, rate=rate: sample_classes(labels, CLASSES, rate, rng=key))
        found = [np.asarray(one) for one in jitted(labels, jax.random.key(5))]
        assert len(found[0]) == rows
        np.testing.assert_array_equal(looked_up(*found[:2]), LABELS)
        if rate == 0.5:
            for one, other in zip(found, sampled(library, LABELS, rate, 5), strict=True):
                np.testing.assert_array_equal(one, other)


def test_mlx_draws_by_its_keys() -> None:
    mx = pytest.importorskip("mlx.core", reason="MLX is not installed")
    rows, labels, _ = sample_classes(mx.array(LABELS), CLASSES, 0.5, rng=mx.random.key(1))
    again = sample_classes(mx.array(LABELS), CLASSES, 0.5, rng=mx.random.key(1))
    assert np.asarray(rows).tolist() == np.asarray(again.rows).tolist()
    np.testing.assert_array_equal(looked_up(np.asarray(rows), np.asarray(labels)), LABELS)


def test_no_argument_is_changed() -> None:
    labels = import_module("torch").tensor(LABELS)
    sample_classes(labels, CLASSES, 0.5)
    assert labels.tolist() == LABELS.tolist()


@pytest.mark.parametrize(("change", "error", "message"), [
    ({"labels": LABELS + 9}, ValueError, "labels held -91 at position 2; wanted 0 to 39, or ignore_index = -100"),
    ({"labels": LABELS * 1.0}, TypeError,
     "labels was of dtype float64; wanted an array of integral dtype and shape (B,)"
     " (if those are numbers of classes: labels.astype(int))"),
    ({"num_classes": 0}, ValueError, "num_classes was 0; wanted an integer from 1 below 2**31"),
    ({"rate": 0.0}, ValueError, "rate was 0; wanted a part of the classes above 0 to 1: a number"),
    ({"rate": 20}, ValueError, "rate was 20; wanted a part of the classes above 0 to 1: a number"),
    ({"rank": 2, "ranks": 2}, ValueError, "rank was 2; wanted an integer below ranks, which was 2"),
    ({"ignore_index": 3}, ValueError, "ignore_index was 3; wanted no class: an integer below 0, or from 40"),
    ({"rng": "a"}, TypeError, "rng was 'a'; wanted a numpy.random.Generator, a seed, or None for fresh entropy"),
    ({"rng": True}, TypeError, "rng was True; wanted a numpy.random.Generator, a seed, or None for fresh entropy"),
])
def test_what_cannot_be_sampled_is_refused(change: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{re.escape(f'sample_classes: {message}')}$"):
        sample_classes(**{"labels": LABELS, "num_classes": CLASSES, "rate": 0.2, **change})


@pytest.mark.parametrize(("name", "rng", "message"), [
    ("torch", 0, "rng was 0; wanted a torch.Generator on the device of the labels, or None for the default one"),
    ("jax", None, "rng was None; wanted a key, as jax.random.key(0)")])
def test_a_library_draws_by_what_it_has(name: str, rng: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"^{re.escape(f'sample_classes: {message}')}$"):
        sample_classes(LIBRARIES[name]().array(LABELS), CLASSES, 0.2, rng=rng)


def test_corrected_sums_are_right_on_average() -> None:
    """Σ e^z of the rest: e^ℓ − 1 = Σ e^z / e^z_y. Its mean over many draws is that of all classes, within 4 errors."""
    random = np.random.default_rng(0)
    embeddings, weights = random.normal(size=(len(LABELS), 6)), random.normal(size=(CLASSES, 6))
    normface, corrected = anglos.normface, correct_sampling(anglos.normface)

    def rest(loss: Any, *inputs: Any, **options: Any) -> np.ndarray:
        terms: np.ndarray = np.expm1(loss(*inputs, scale=4.0, reduction="none", **options))
        return terms[LABELS >= 0]

    wanted, found, uncorrected = rest(normface, embeddings, weights, LABELS), [], []
    for seed in range(500):
        rows, labels, log_probability = sample_classes(LABELS, CLASSES, 0.3, rng=seed)
        found.append(rest(corrected, embeddings, weights[rows], labels, log_probability=log_probability))
        uncorrected.append(rest(normface, embeddings, weights[rows], labels))
    error = np.std(found, axis=0, ddof=1) / math.sqrt(len(found))
    assert (abs(np.mean(found, axis=0) - wanted) < 4.0 * error).all()
    assert (abs(np.mean(uncorrected, axis=0) - wanted) > 10.0 * error).all()


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_row_sampled_by_one_half_counts_twice(prototype: Loss[...], name: str) -> None:
    """As if it were there twice: value and gradients of every loss, with its own bias too."""
    if prototype.name in (*NOT_CORRECTED, "inter_topk", "coco"):  # the k nearest, or the scale, would be others
        return
    library = LIBRARIES[name]()
    embeddings, weights, labels = (library.numpy(one) for one in arrays(prototype, library))
    own = np.unique(labels)
    labels, own = np.where(labels == own[-1], own[0], labels), own[:-1]  # one class is not the batch's own
    other = np.setdiff1d(np.arange(len(weights)), own)
    twice = np.concatenate([np.arange(len(weights)), other])
    options = gentle(prototype)
    bias = {"bias": np.linspace(-1.0, 1.0, len(weights))} if prototype.kinds.get("bias") and (
        prototype.kinds["bias"].shapes == ("C",)) else {}
    probability = np.where(np.isin(np.arange(len(weights)), own), 0.0, -math.log(2.0))
    wrt = (*prototype.arrays[:2], *bias)
    values = []
    for loss, rows, more in ((prototype, twice, {}), (correct_sampling(prototype), slice(None),
                                                      {"log_probability": library.array(probability)})):
        biased = {key: library.array(one[rows]) for key, one in bias.items()}
        value, gradients = loss.value_and_grad(
            *map(library.array, (embeddings, weights[rows], labels)), wrt=wrt, **options, **biased, **more)
        first, *per_class = map(library.numpy, gradients)
        if rows is twice:  # what both of them have
            per_class = [np.concatenate([one[:len(weights)]]) + np.bincount(
                twice[len(weights):], minlength=len(weights)).reshape(-1, *[1] * (one.ndim - 1)) * one[:len(weights)]
                for one in per_class]
        values.append([library.numpy(value), first, *per_class])
    for found, wanted in zip(*values, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-12)


def test_losses_without_a_sum_of_exponentials_are_refused(prototype: Loss[...], numpy: Library) -> None:
    inputs, loss = arrays(prototype, numpy), correct_sampling(prototype)
    none = numpy.array(np.zeros(len(inputs[1])))
    with pytest.raises(TypeError, match=rf"^{prototype.name}: log_probability was None; wanted that of anglos\.sample"):
        loss(*inputs)
    if prototype.name in NOT_CORRECTED:
        message = re.escape(f"{prototype.name}: log_probability was given to a loss that "
                            f"{NOT_CORRECTED[prototype.name]}; wanted a loss such as arcface, or no correction")
        with pytest.raises(TypeError, match=f"^{message}$"):
            loss(*inputs, log_probability=none)
    else:
        assert loss(*inputs, log_probability=none) == pytest.approx(prototype(*inputs), rel=1e-12)


def test_a_corrected_loss_is_a_loss() -> None:
    loss = correct_sampling(anglos.arcface)
    assert pickle.loads(pickle.dumps(loss)) is loss is correct_sampling(anglos.arcface)
    assert repr(loss) == "<loss anglos.arcface, correct_sampling>"
    assert "\nlog_probability : array (C,), optional\n    log π: of every row" in (loss.__doc__ or "")
    wanted = "correct_sampling: loss was {}; wanted a loss against class prototypes, such as anglos.arcface"
    for other, what in ((anglos.triplet, "triplet"), (3, "3")):
        with pytest.raises(TypeError, match=f"^{re.escape(wanted.format(what))}$"):
            correct_sampling(other)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^correct_sampling: loss was arcface, which takes log_probability already; "):
        correct_sampling(loss)


@pytest.mark.parametrize("module", ["sampling", "correction"])
def test_examples(module: str) -> None:
    results = import_module("doctest").testmod(import_module(f"anglos.training.{module}"))
    assert results.attempted > 0
    assert results.failed == 0
