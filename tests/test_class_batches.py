"""Batches of classes: what they hold, in which order, on several ranks, in a loader, and beside another library's."""

import doctest
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from libraries import Library
from pytorch_metric_learning.samplers import MPerClassSampler as TheirSampler

import anglos
from anglos.training import class_batches

LABELS = np.random.default_rng(0).permutation(np.repeat(np.arange(12), [1, 2, 3, 5, 8, 8, 9, 9, 10, 20, 30, 40]))


def test_a_batch_has_as_many_of_as_many_classes(library: Library) -> None:
    sampler = anglos.MPerClassSampler(library.array(LABELS), classes=4, samples=3)
    batches = list(sampler)
    assert len(batches) == len(sampler) == len(LABELS) // 12
    for batch in batches:
        assert list(Counter(LABELS[batch].tolist()).values()) == [3, 3, 3, 3]
        for place in range(0, 12, 3):  # a class with enough samples gives none twice, others all that they have
            some = batch[place:place + 3]
            assert len(set(some)) == min(3, (LABELS[some[0]] == LABELS).sum())


def test_classes_and_their_samples_come_in_turn() -> None:
    batches = list(anglos.MPerClassSampler(LABELS, classes=5, samples=2, batches=60))
    classes = Counter(LABELS[[batch[place] for batch in batches for place in range(0, 10, 2)]].tolist())
    assert max(classes.values()) - min(classes.values()) <= 1
    samples = Counter(index for batch in batches for index in batch)
    for label in range(12):
        of_class = [samples[index] for index in np.flatnonzero(label == LABELS).tolist()]
        assert max(of_class) - min(of_class) <= 1


def test_order_is_of_seed_and_epoch_alone() -> None:
    sampler = anglos.MPerClassSampler(LABELS, classes=4, samples=3, seed=5)
    first, second = list(sampler), list(sampler)
    again = anglos.MPerClassSampler(LABELS.tolist(), classes=4, samples=3, seed=5)
    assert first == list(again) != second
    again.set_epoch(1)
    assert list(again) == second
    assert list(anglos.MPerClassSampler(LABELS, classes=4, samples=3, seed=6)) != first


def test_ranks_take_other_classes() -> None:
    ranks = [list(anglos.MPerClassSampler(LABELS, classes=3, samples=2, rank=rank, ranks=4)) for rank in range(4)]
    assert len({len(batches) for batches in ranks}) == 1
    for step in zip(*ranks, strict=True):
        assert len(set(LABELS[np.concatenate(step)].tolist())) == 12


def test_a_loader_takes_it_and_ignored_samples_are_in_no_batch() -> None:
    labels = np.where(LABELS == 11, -100, LABELS)
    data = torch.utils.data.TensorDataset(torch.arange(len(labels)))
    sampler = anglos.MPerClassSampler(labels, classes=4, samples=2, seed=1)
    loader: Any = torch.utils.data.DataLoader(data, batch_sampler=sampler)
    loaded = [indices.tolist() for indices, in loader]
    sampler.set_epoch(0)
    assert loaded == list(sampler)
    assert not (labels[np.concatenate(loaded)] == -100).any()
    every = anglos.MPerClassSampler(labels, classes=12, samples=1, ignore_index=None)
    assert (labels[np.concatenate(list(every))] == -100).any()


def test_theirs_has_as_many_of_a_class_too() -> None:
    """Each class alike; theirs draws the classes of every batch anew, so that some come more often."""
    theirs = np.asarray(list(TheirSampler(LABELS, m=3, batch_size=12, length_before_new_iter=120 * 12))).reshape(-1, 12)
    assert all(sorted(Counter(LABELS[batch].tolist()).values()) == [3, 3, 3, 3] for batch in theirs)
    ours = np.asarray(list(anglos.MPerClassSampler(LABELS, classes=4, samples=3, batches=120)))
    spread = [np.ptp(np.bincount(LABELS[one.ravel()])) for one in (ours, theirs)]
    assert spread[0] == 0 < spread[1]


@pytest.mark.parametrize(("labels", "options", "message"), [
    ([0, 0, 1], {"classes": 3, "samples": 1}, "classes was 3; wanted no more than labels have, which is 2"),
    ([0, 0, 1], {"classes": 2, "samples": 1, "ranks": 2}, "classes was 2 on 2 ranks; wanted no more than labels have"),
    ([0, 0, 1], {"classes": 2, "samples": 0}, "samples was 0; wanted an integer from 1"),
    ([0, 0, 1], {"classes": 1, "samples": 1, "rank": 1}, "rank was 1; wanted an integer below ranks, which was 1"),
    ([0, 0.5], {"classes": 1, "samples": 1}, "labels held 0.5 at position 1; wanted one integer or word per sample"),
    (np.zeros((2, 2), int), {"classes": 1, "samples": 1}, "labels held a list at position 0; wanted one integer"),
    ([0, 1], {"classes": 1, "samples": 1, "ignore_index": "a"}, "ignore_index was 'a'; wanted an integer"),
    ([0, 1], {"m": 2}, r"m was given, which is none of its options; wanted .* \(did you mean samples\?\)$"),
    ([0, 1], {"m": 2, "batch_size": 4}, "m was given"),
    ([0, 1], {"batch_size": 4, "samples": 2}, r"batch_size was given, .* \(did you mean classes\?\)$"),
    (3, {"classes": 1, "samples": 1}, r"labels was 3; wanted an array \(N,\) or a sequence"),
])
def test_refusals(labels: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=f"^MPerClassSampler: {message}"):
        anglos.MPerClassSampler(labels, **options)


def test_examples() -> None:
    results = doctest.testmod(class_batches)
    assert results.attempted > 0
    assert results.failed == 0
