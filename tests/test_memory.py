"""A memory of past batches, against a plain list."""

import itertools
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library

import anglos
from anglos.memory import Memory, empty, enqueue

SIZES = (2, 0, 3, 5, 11, 1, 4, 16)
"""Of batches, for a memory of 5."""


def batches(library: Library) -> Any:
    random, first = np.random.default_rng(0), itertools.count()
    for size in SIZES:
        yield library.array(random.normal(size=(size, 3))), library.array(np.asarray([next(first) for _ in range(size)],
                                                                                     np.int64))


def test_it_holds_the_last_embeddings(library: Library) -> None:
    memory = empty(5, library.array(np.ones((1, 3))))
    seen: list[Any] = []
    for embeddings, labels in batches(library):
        before = [library.numpy(one).copy() for one in memory]
        after = enqueue(memory, embeddings, labels)
        for one, was in zip(memory, before, strict=True):
            np.testing.assert_array_equal(library.numpy(one), was)
        for one, was in zip(after, memory, strict=True):
            assert (one.dtype, one.shape, getattr(one, "device", None)) == (
                was.dtype, was.shape, getattr(was, "device", None))
        memory = after
        seen += zip(library.numpy(embeddings), library.numpy(labels), strict=True)
        kept = {int(label): row for row, label in seen[-5:]}
        found = {int(label): row for label, row in zip(*map(library.numpy, (memory.labels, memory.embeddings)),
                                                       strict=True) if label != -100}
        assert found.keys() == kept.keys()
        assert all(np.array_equal(found[label], kept[label]) for label in kept)
        oldest = library.numpy(memory.labels)[int(memory.place)]
        assert oldest == (-100 if len(kept) < 5 else min(kept))


def test_a_loss_ignores_what_is_not_there_yet(library: Library) -> None:
    x, y = library.array(np.random.default_rng(1).normal(size=(6, 3))), library.array(np.asarray([0, 0, 1, 1, 2, 2]))
    memory = enqueue(empty(64, x), x, y)
    value, (gradient,) = anglos.supcon.value_and_grad(x, y, reference_embeddings=memory.embeddings,
                                                      reference_labels=memory.labels)
    wanted, (slope,) = anglos.supcon.value_and_grad(x, y, reference_embeddings=x, reference_labels=y)
    np.testing.assert_allclose(library.numpy(value), library.numpy(wanted), rtol=1e-14)
    np.testing.assert_allclose(library.numpy(gradient), library.numpy(slope), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "options"), [
    ("info_nce", {}), ("info_nce", {"in_batch": True, "hardness": 1.0}), ("nce", {})])
def test_of_a_queue_of_negatives_what_is_filled_counts(name: str, options: Any, library: Library) -> None:
    """Whatever stands in the other places: value and gradient, jitted or not; no labels are needed."""
    random, loss = np.random.default_rng(2), anglos.LOSSES[name].value_and_grad
    x, keys, old = (library.array(random.normal(size=(4, 3))) for _ in range(3))
    memory = enqueue(empty(10, keys, labels=False), old)
    filled = memory.labels != -100
    spoilt = library.array(np.where(library.numpy(filled)[:, None], library.numpy(memory.embeddings), np.nan))

    def of_queue(x: Any, keys: Any, queue: Any, filled: Any) -> Any:
        return loss(x, keys, queue, negatives_mask=filled, **options)

    step = import_module("jax").jit(of_queue) if library.name == "jax" else of_queue
    value, gradients = step(x, keys, spoilt, filled)
    wanted, slopes = loss(x, keys, old, **options)
    *found, d_queue = map(library.numpy, (value, *gradients))
    found += [d_queue[library.numpy(filled)], d_queue[library.numpy(~filled)]]
    expected: list[Any] = [*map(library.numpy, (wanted, *slopes)), 0.0]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("in_batch", [None, True])
def test_of_a_queue_that_nothing_is_in(in_batch: bool | None, library: Library) -> None:
    """Without rows it is as none, and its mask with it; empty places are negatives of nothing."""
    random = np.random.default_rng(2)
    x, keys = (library.array(random.normal(size=(4, 3))) for _ in range(2))
    loss, matryoshka = anglos.info_nce, anglos.matryoshka(anglos.info_nce, dims=(3,), weights=(1.0,))
    memory = empty(2, keys, labels=False)
    filled = memory.labels != -100
    for call in (loss, loss.plain, matryoshka, matryoshka.plain):
        found = call(x, keys, memory.embeddings[:0, :], negatives_mask=filled[:0], in_batch=in_batch)
        assert float(found) == float(loss(x, keys)) > 0.0
        found = call(x, keys, memory.embeddings, negatives_mask=filled, in_batch=in_batch)
        assert float(found) == pytest.approx(float(loss(x, keys)) if in_batch else 0.0, rel=1e-14)
    for one in (loss, matryoshka):
        found, gradients = one.value_and_grad(x, keys, memory.embeddings[:0, :], negatives_mask=filled[:0])
        assert float(found) == float(loss(x, keys))
        assert len(gradients) == 2
    with pytest.raises(TypeError, match="info_nce: negatives was None, or without rows; wanted it together with negat"):
        loss(x, keys, memory.embeddings[:0, :], negatives_mask=filled)


def test_one_graph_for_all_steps(jax_library: Library) -> None:
    jax: Any = import_module("jax")
    traces = []

    def enqueued(memory: Memory, embeddings: Any, labels: Any) -> Memory:
        traces.append(1)
        return enqueue(memory, embeddings, labels)

    step = jax.jit(enqueued)
    memory = kept = empty(5, jax_library.array(np.ones((1, 3))))
    for number in range(4):
        given = jax_library.array(np.full((3, 3), float(number))), jax_library.array(np.full(3, number))
        memory, kept = step(memory, *given), enqueue(kept, *given)
        assert all(np.array_equal(one, other) for one, other in zip(memory, kept, strict=True))
    assert len(traces) == 1


def test_labels_are_of_all_or_of_nothing(jax_library: Library) -> None:
    """Under a trace too."""
    jax: Any = import_module("jax")
    with_labels, without = (empty(3, jax_library.array(X), labels=labels) for labels in (True, False))
    for step in (enqueue, jax.jit(enqueue)):
        with pytest.raises(TypeError, match=r"^memory.enqueue: labels was None; wanted an array .* labels=False\)\)"):
            step(with_labels, X)
        with pytest.raises(TypeError, match=r"^memory.enqueue: labels was given; wanted None, as this memory was made"):
            step(without, X, np.asarray([0, 1]))
        assert step(without, X).labels.tolist() == [0, 0, -100]


def test_nothing_is_differentiated_through_it(torch_library: Library) -> None:
    """What comes in another type is kept in the memory's."""
    torch: Any = import_module("torch")
    x = torch.ones(2, 3, requires_grad=True)
    memory = enqueue(empty(4, x), (x * 2.0).to(torch.bfloat16), torch.tensor([1, 2]))
    assert not memory.embeddings.requires_grad
    assert memory.embeddings.dtype == torch.float32
    assert memory.embeddings.tolist() == [[2.0] * 3] * 2 + [[0.0] * 3] * 2


X = np.ones((2, 3))
unchecked: Any = enqueue


@pytest.mark.parametrize(("call", "kind", "message"), [
    (lambda: empty(0, X), ValueError, "memory.empty: size was 0; wanted an integer from 1"),
    (lambda: empty(3, X[0]), ValueError, r"memory.empty: embeddings was of shape \(3,\); wanted \(B, D\)"),
    (lambda: unchecked((X, X), X), TypeError, "memory.enqueue: memory was a tuple; wanted a Memory, as anglos.memory"),
    (lambda: enqueue(empty(3, X), X[:, :2]), ValueError,
     r"memory.enqueue: embeddings was of shape \(2, 2\); wanted \(B, D\), with D = 3 in memory"),
    (lambda: enqueue(empty(3, X), X, np.asarray([1])), ValueError,
     r"memory.enqueue: labels was of shape \(1,\); wanted \(B,\), with B = 2 in embeddings"),
    (lambda: enqueue(empty(3, X), X, X[0, :2]), TypeError, "memory.enqueue: labels was of dtype float64; wanted "),
])
def test_refusals(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=rf"^{message}"):
        call()
