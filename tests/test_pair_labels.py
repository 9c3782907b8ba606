"""Several labels per sample, weights of positives, and pairs left out: against loops over all pairs."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import array_options

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of
from anglos.arrays.partners import OfPartners
from anglos.engines.pairs import keys

BATCH, DIMENSION, COLUMNS = 7, 3, 9
NONE = -100
ROW_LABELS = np.asarray([[1, 2], [2, NONE], [3, 1], [NONE, NONE], [4, 5], [5, NONE], [2, 4]])
COLUMN_LABELS = np.asarray([[1, NONE, NONE], [2, 3, NONE], [NONE] * 3, [5, 6, 1], [7, NONE, NONE], [4, 2, 3],
                            [NONE, 1, NONE], [6, 7, 8], [5, NONE, NONE]])
LABELLED = [loss for loss in anglos.LOSSES.values() if "excluded_pairs" in loss.defaults]


class Pairs:
    """What is given to a loss, and what it says of every pair."""

    def __init__(self, form: str, references: bool, excluded: bool) -> None:
        random = np.random.default_rng(5)
        pair: Any
        self.x = random.normal(size=(BATCH, DIMENSION))
        self.r = random.normal(size=(COLUMNS, DIMENSION)) if references else self.x
        columns = COLUMN_LABELS if references else ROW_LABELS
        if form == "weights":
            self.labels = np.where(random.random((BATCH, len(self.r))) < 0.5, 0.0,
                                   random.uniform(0.2, 3.0, (BATCH, len(self.r))))
            self.weight, pair = self.labels, np.ones(self.labels.shape, dtype=bool)
        else:
            self.labels = ROW_LABELS
            shared = [[len(set(one) & set(other) - {NONE}) for other in columns.tolist()]
                      for one in ROW_LABELS.tolist()]
            self.weight = (np.asarray(shared) > 0).astype(float)
            pair = np.outer((ROW_LABELS != NONE).any(axis=1), (columns != NONE).any(axis=1))
        if not references:
            pair = pair & ~np.eye(BATCH, dtype=bool)
        self.options: dict[str, Any] = {}
        if excluded:
            self.options["excluded_pairs"] = random.random(pair.shape) < 0.25
            pair = pair & ~self.options["excluded_pairs"]
        if references:
            self.options["reference_embeddings"] = self.r
            if form != "weights":
                self.options["reference_labels"] = COLUMN_LABELS
        self.positive, self.negative = pair & (self.weight > 0.0), pair & (self.weight == 0.0)

    def call(self, loss: Any, library: Library, **options: Any) -> Any:
        given = {name: library.array(array) for name, array in self.options.items()}
        return loss(library.array(self.x), library.array(self.labels), **given, **options)


# Of an anchor with weights w of its positives: its loss, and how many terms that is.

def supcon(p: Any, w: Any, n: Any, *, form: str) -> tuple[float, float]:
    if not len(p):
        return 0.0, 0
    everyone = np.log(np.exp(10.0 * p).sum() + np.exp(10.0 * n).sum())
    if form == "out":
        return everyone - (w * 10.0 * p).sum() / w.sum(), 1
    return everyone - math.log((w * np.exp(10.0 * p)).sum() / w.sum()), 1


def soft_supcon(p: Any, w: Any, n: Any, *, normalize_targets: str, divisor: str) -> tuple[float, float]:
    if not len(p):
        return 0.0, divisor == "all"
    w = w / {"sum": w.sum(), "count": len(w), "none": 1.0}[normalize_targets]
    return (w * (np.log(np.exp(10.0 * p).sum() + np.exp(10.0 * n).sum()) - 10.0 * p)).sum(), 1


def nt_xent(p: Any, w: Any, n: Any) -> tuple[float, float]:
    total = 0.0
    for s, weight in zip(p, w, strict=True):
        total -= weight * math.log(math.exp(2.0 * s) / (math.exp(2.0 * s) + np.exp(2.0 * n).sum()))
    return (total, w.sum()) if len(n) else (0.0, 0)


def multi_similarity(p: Any, w: Any, n: Any, *, epsilon: float | None) -> tuple[float, float]:
    if epsilon is not None:
        least, most = min(p, default=math.inf), max(n, default=-math.inf)
        kept = p - epsilon < most
        p, w, n = p[kept], w[kept], n[n + epsilon > least]
    return (math.log(1.0 + (w * np.exp(-2.0 * (p - 0.5))).sum()) / 2.0
            + math.log(1.0 + np.exp(50.0 * (n - 0.5)).sum()) / 50.0), 1


def contrastive(p: Any, w: Any, n: Any, *, squared: bool) -> tuple[float, float]:
    p, n = np.sqrt(2.0 - 2.0 * p), np.maximum(0.0, 1.0 - np.sqrt(2.0 - 2.0 * n))
    total = (w * p**2 / 2.0).sum() + (n**2 / 2.0).sum() if squared else (w * p).sum() + n.sum()
    return total, w.sum() + len(n)


def circle(p: Any, w: Any, n: Any) -> tuple[float, float]:
    if not len(p) or not len(n):
        return 0.0, 0
    return math.log(1.0 + np.exp(8.0 * np.maximum(0.0, n + 0.25) * (n - 0.25)).sum() * (
        w * np.exp(-8.0 * np.maximum(0.0, 1.25 - p) * (p - 0.75))).sum()), 1


def triplet(p: Any, w: Any, n: Any, *, mining: str, margin: Any, mean_over: str) -> tuple[float, float]:
    p, n = 2.0 - 2.0 * p, 2.0 - 2.0 * n
    chosen = []
    for place, near in enumerate(p):
        farther = sorted(far for far in n if far > near)
        if mining == "batch_all":
            chosen += [(near, far, w[place]) for far in n]
        elif mining == "batch_hard":
            chosen += [(near, min(n), w[place])] if len(n) and near == max(p) else []
        elif farther and (mining == "semi_hard_or_easiest" or margin == "soft" or farther[0] < near + margin):
            chosen.append((near, farther[0], w[place]))
        elif mining == "semi_hard_or_easiest" and len(n):
            chosen.append((near, max(n), w[place]))
    total = count = 0.0
    for near, far, weight in chosen:
        one = math.log(1.0 + math.exp(near - far)) if margin == "soft" else max(0.0, near - far + margin)
        total += weight * one
        count += weight * (one > 0.0 or mean_over == "all")
    return total, count


def ranked_list(p: Any, w: Any, n: Any) -> tuple[float, float]:
    p, n = np.sqrt(2.0 - 2.0 * p), np.sqrt(2.0 - 2.0 * n)
    w, p, n = w[p > 0.8], p[p > 0.8], n[n < 1.2]
    weights = np.exp(10.0 * (1.2 - n))
    return (((w * (p - 0.8)).sum() / w.sum() if len(p) else 0.0)
            + ((weights * (1.2 - n)).sum() / weights.sum() if len(n) else 0.0)), 1


def dcl(p: Any, w: Any, n: Any) -> tuple[float, float]:
    return ((w * (np.log(np.exp(10.0 * n).sum()) - 10.0 * p)).sum(), w.sum()) if len(n) else (0.0, 0)


def margin_loss(p: Any, w: Any, n: Any, *, over: str) -> tuple[float, float]:
    if over == "triplets":
        w, times = w * len(n), w.sum()
    else:
        times = 1.0
    p, n = (np.maximum(0.0, error) for error in (np.sqrt(2.0 - 2.0 * p) - 1.0, 1.4 - np.sqrt(2.0 - 2.0 * n)))
    return (w * p).sum() + times * n.sum(), (w * (p > 0.0)).sum() + times * (n > 0.0).sum()


def hcl(p: Any, w: Any, n: Any) -> tuple[float, float]:
    if not len(n):
        return 0.0, 0
    mean = np.exp(4.0 * n).sum() / np.exp(2.0 * n).sum()
    negatives = len(n) * np.maximum((mean - 0.1 * np.exp(2.0 * p)) / 0.9, math.exp(-2.0))
    return (w * np.log(1.0 + negatives * np.exp(-2.0 * p))).sum(), w.sum()


def sincere(p: Any, w: Any, n: Any) -> tuple[float, float]:
    if not len(p) or not len(n):
        return 0.0, 0
    return (w * np.log(1.0 + np.exp(n / 0.07).sum() * np.exp(-p / 0.07))).sum() / w.sum(), 1


def nca(p: Any, w: Any, n: Any) -> tuple[float, float]:
    near = (w * np.exp(2.0 * p - 2.0)).sum()
    return (-math.log(near / (near + np.exp(2.0 * n - 2.0).sum())), 1) if len(p) else (0.0, 0)


def generalized_lifted(p: Any, w: Any, n: Any, *, lonely_rows: bool) -> tuple[float, float]:
    p, n = np.sqrt(2.0 - 2.0 * p), np.sqrt(2.0 - 2.0 * n)
    if not len(p) or not len(n):
        alone = math.log((w * np.exp(p)).sum()) if len(p) else math.log(np.exp(1.0 - n).sum()) if len(n) else 0.0
        return (max(0.0, alone), 1) if lonely_rows else (0.0, 0)
    return max(0.0, math.log((w * np.exp(p)).sum() * np.exp(1.0 - n).sum())), 1


def tuplet_margin(p: Any, w: Any, n: Any) -> tuple[float, float]:
    nearer = np.cos(np.arccos(p) - 0.1)
    return ((w * np.log(1.0 + np.exp(8.0 * n).sum() * np.exp(-8.0 * nearer))).sum(), w.sum()) if len(n) else (0.0, 0)


def unified_threshold(p: Any, w: Any, n: Any) -> tuple[float, float]:
    return (w * np.log(1.0 + np.exp(4.0 - 8.0 * (p - 0.1)))).sum() + np.log(1.0 + np.exp(8.0 * n - 4.0)).sum(), 1


def fast_ap(p: Any, w: Any, n: Any) -> tuple[float, float]:
    if not len(p):
        return 0.0, 0
    knots = np.linspace(0.0, 4.0, 11)[:, None]
    near, far = (np.maximum(0.0, 1.0 - np.abs(2.0 - 2.0 * s - knots) / 0.4) for s in (p, n))
    right = np.cumsum(near @ w)
    everyone = right + np.cumsum(far.sum(axis=1))
    return 1.0 - (near @ w * right / np.where(everyone == 0.0, 1.0, everyone)).sum() / w.sum(), 1


def smooth_ap(p: Any, w: Any, n: Any, *, include_self: bool) -> tuple[float, float]:
    if not len(p):
        return 0.0, 0
    if include_self:
        p, w = np.append(p, 1.0), np.append(w, 1.0)
    among, others = (1.0 / (1.0 + np.exp(5.0 * (p[:, None] - s))) for s in (p, n))
    rank = 0.5 + among.sum(axis=1)  # 1, and not ½ of itself
    return 1.0 - (w * rank / (rank + others.sum(axis=1))).sum() / w.sum(), 1


OF_ANCHOR: list[tuple[Callable[..., tuple[float, float]], dict[str, Any], dict[str, Any]]] = [
    (supcon, {"form": "out"}, {}), (supcon, {"form": "in"}, {}), (nt_xent, {}, {}),
    (soft_supcon, {"normalize_targets": "sum", "divisor": "rows"}, {}),
    (soft_supcon, {"normalize_targets": "count", "divisor": "all"}, {}),
    (soft_supcon, {"normalize_targets": "none", "divisor": "rows"}, {}),
    (multi_similarity, {"epsilon": 0.1}, {}), (multi_similarity, {"epsilon": None}, {}),
    (contrastive, {"squared": True}, {}), (contrastive, {"squared": False}, {}), (circle, {}, {"scale": 8.0}),
    *((triplet, {"mining": mining, "margin": margin, "mean_over": mean_over}, {})
      for mining in ("batch_hard", "batch_all", "semi_hard", "semi_hard_or_easiest")
      for margin, mean_over in ((0.6, "active"), (0.6, "all"), ("soft", "active"))),
    (ranked_list, {}, {}), (dcl, {}, {}), (hcl, {}, {}), (sincere, {}, {}), (nca, {}, {"normalize": True}),
    (generalized_lifted, {"lonely_rows": False}, {}), (generalized_lifted, {"lonely_rows": True}, {}),
    (margin_loss, {"over": "pairs"}, {}), (margin_loss, {"over": "triplets"}, {}),
    (smooth_ap, {"include_self": False}, {"temperature": 0.2}),
    (smooth_ap, {"include_self": True}, {"temperature": 0.2}), (fast_ap, {}, {}), (tuplet_margin, {}, {"scale": 8.0}),
    (unified_threshold, {}, {"scale": 8.0, "bias": 4.0}),
]
FORMS = [(form, references, excluded) for form in ("labels", "weights") for references in (False, True)
         for excluded in (False, True)]


def test_every_loss_of_groups_is_looped_over() -> None:
    assert {of_anchor.__name__ for of_anchor, _, _ in OF_ANCHOR} | {"angular"} == {loss.name for loss in LABELLED}


@pytest.mark.parametrize(("of_anchor", "options", "fixed"), OF_ANCHOR, ids=[
    "-".join(map(str, (of.__name__, *options.values()))) for of, options, _ in OF_ANCHOR])
def test_value_is_that_of_loops(of_anchor: Callable[..., tuple[float, float]], options: dict[str, Any],
                                fixed: dict[str, Any], library: Library) -> None:
    loss: Any = getattr(anglos, of_anchor.__name__)
    call = {**options, **fixed}
    for form, references, excluded in FORMS:
        pairs = Pairs(form, references, excluded)
        x, r = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in (pairs.x, pairs.r))
        rows = [of_anchor(cosines[positive], weight[positive], cosines[negative], **options) for
                cosines, positive, negative, weight in zip(
                    x @ r.T, pairs.positive, pairs.negative, pairs.weight, strict=True)]
        counted = np.ones(BATCH, dtype=bool) if form == "weights" else (ROW_LABELS != NONE).any(axis=1)
        values, counts = np.where(counted[:, None], np.asarray(rows), 0.0).T
        np.testing.assert_allclose(library.numpy(pairs.call(loss, library, reduction="none", **call)), values,
                                   rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(float(pairs.call(loss, library, **call)), values.sum() / counts.sum(), rtol=1e-10)


BOTH = ("embeddings", "reference_embeddings")
CALLS: list[tuple[Any, dict[str, Any]]] = [
    *((getattr(anglos, of.__name__), {**options, **fixed}) for of, options, fixed in OF_ANCHOR), (anglos.angular, {})]


@pytest.mark.parametrize(("called", "options"), CALLS, ids=str)
def test_gradient_is_that_of_the_value(called: Any, options: dict[str, Any]) -> None:
    """By autodiff of the value, to second order; weights are constants."""
    torch: Any = pytest.importorskip("torch")
    numpy = LIBRARIES["numpy"]()
    for form, references, excluded in FORMS:
        pairs = Pairs(form, references, excluded)
        wrt = BOTH[: 1 + references]
        _, gradients = pairs.call(called.value_and_grad, numpy, **options, wrt=wrt)
        inputs = [torch.tensor(points, requires_grad=True) for points in (pairs.x, pairs.r)[: len(wrt)]]
        labels = torch.tensor(pairs.labels, requires_grad=form == "weights")
        given = {name: torch.tensor(array) for name, array in pairs.options.items()}
        seconds = []
        for value_of in (called, called.plain):
            call = {**given, **options, **({"reference_embeddings": inputs[1]} if references else {})}
            firsts = torch.autograd.grad(value_of(inputs[0], labels, **call), inputs, create_graph=True)
            for got, want in zip(firsts, gradients, strict=True):
                np.testing.assert_allclose(got.detach().numpy(), want, rtol=1e-9, atol=1e-11)
            total = sum((first * torch.arange(1.0, 1.0 + first.shape[1])).sum() for first in firsts)
            seconds.append(torch.autograd.grad(total, [*inputs, labels] if form == "weights" else inputs,
                                               allow_unused=True))
        for got, want in zip(*seconds, strict=True):
            assert (got is None) == (want is None)
            if got is not None:
                np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-8, atol=1e-9)
        assert form != "weights" or seconds[0][-1] is None


def test_gradient_in_options(labelled: Loss[...]) -> None:
    """By autodiff of the value; weights multiply there too."""
    torch: Any = pytest.importorskip("torch")
    called: Any = labelled
    names = {name: values[0] for name, values in array_options(labelled).items() if name != "sample_weight"}
    if not names:
        pytest.skip("no option has a gradient")
    for more in ({}, {"mining": "batch_all"}) if "mining" in labelled.defaults else ({},):
        pairs = Pairs("weights", references=True, excluded=True)
        numbers = {name: np.asarray(value) for name, value in names.items()}
        _, gradients = pairs.call(called.value_and_grad, LIBRARIES["numpy"](), **numbers, **more, wrt=tuple(names))
        tensors = {name: torch.tensor(number, requires_grad=True) for name, number in numbers.items()}
        value = pairs.call(called.plain, LIBRARIES["torch"](), **tensors, **more)
        for got, want in zip(gradients, torch.autograd.grad(value, list(tensors.values())), strict=True):
            np.testing.assert_allclose(got, want.numpy(), rtol=1e-9, atol=1e-11)


def test_tiles_give_the_same_numbers(labelled: Loss[...], library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    for form in ("labels", "weights"):
        pairs, both = Pairs(form, references=True, excluded=True), (labelled.arrays[0], "reference_embeddings")
        value, gradients = pairs.call(labelled.value_and_grad, library, wrt=both)
        with monkeypatch.context() as patch:
            patch.setattr(backend_of(gradients[0]), "tile_width", lambda *_: 3)
            other, other_gradients = pairs.call(labelled.value_and_grad, library, wrt=both)
        np.testing.assert_allclose(library.numpy(other), library.numpy(value), rtol=1e-13)
        for got, want in zip(other_gradients, gradients, strict=True):
            np.testing.assert_allclose(library.numpy(got), library.numpy(want), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(("called", "options"), CALLS, ids=str)
def test_one_label_in_every_form(called: Any, options: dict[str, Any], library: Library,
                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """(B,), (B, 1), padded, and weights of zeros and ones are the same; so are pairs left out and samples ignored.

    Labels in every bit where pairs are compared one by one; otherwise as weights.
    """
    x, labels = Pairs("labels", references=False, excluded=False).x, np.asarray([1, 2, 1, 2, 3, 1, 3])
    same = labels[:, None] == labels
    fused, (its_gradient,) = called.value_and_grad(library.array(x), library.array(labels), **options)
    with monkeypatch.context() as patch:
        patch.setattr(keys, "reduction_of", lambda *_: None)
        value, (gradient,) = called.value_and_grad(library.array(x), library.array(labels), **options)
    for form in (labels[:, None], np.stack([labels, np.full(BATCH, NONE)], axis=1)):
        got, (slope,) = called.value_and_grad(library.array(x), library.array(form), **options)
        assert float(got) == float(value)
        np.testing.assert_array_equal(library.numpy(slope), library.numpy(gradient))
    of_weights = [called.value_and_grad(library.array(x), library.array(same.astype(dtype)), **options)
                  for dtype in ("float64", "float32")]
    for got, (slope,) in (*of_weights, (fused, (its_gradient,))):
        np.testing.assert_allclose(float(got), float(value), rtol=1e-13)
        np.testing.assert_allclose(library.numpy(slope), library.numpy(gradient), rtol=1e-11, atol=1e-13)
    gone = np.asarray([False, True, False, False, False, False, True])
    wanted = called(library.array(x), library.array(np.where(gone, NONE, labels)), **options, reduction="none")
    excluded = library.array(gone[:, None] | gone)
    for form in (labels, same.astype("float64")):
        got = called(library.array(x), library.array(form), **options, excluded_pairs=excluded, reduction="none")
        np.testing.assert_allclose(library.numpy(got)[~gone], library.numpy(wanted)[~gone], rtol=1e-13)


@pytest.mark.parametrize("width", [None, 3])
@pytest.mark.parametrize(("called", "options"), [(anglos.dcl, {}), (anglos.nt_xent, {}), (anglos.supcon, {}),
                                                 (anglos.supcon, {"form": "in"})], ids=str)
def test_classes_are_compared_as_their_samples_are(called: Any, options: Any, width: int | None, library: Library,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    """However few they are: classes of several samples, of one, of none among the others, and samples ignored."""
    pairs, random = Pairs("labels", references=True, excluded=False), np.random.default_rng(0)
    x, references = library.array(pairs.x), library.array(pairs.r)
    far = 10**12
    for labels, others in (([1, far, 1, NONE, 3, 1, NONE], [far, 1, NONE, 5, 1, 1, 3, NONE, -7]), ([2] * 7, [2] * 9),
                           (random.permutation(7), random.permutation(9))):
        labels, others = library.array(np.asarray(labels)), library.array(np.asarray(others))
        for given in (options, {**options, "reference_embeddings": references, "reference_labels": others}):
            found = []
            for few in (0, keys.FEW):
                with monkeypatch.context() as patch:
                    patch.setattr(keys, "FEW", few)
                    patch.setattr(OfPartners, "meets_partners", lambda backend, *_: backend.changes_arrays())
                    if few:
                        patch.setattr(keys, "reduction_of", lambda *_: None)
                    elif width is not None:
                        patch.setattr(backend_of(x), "tile_width", lambda *_: width)
                    wrt = BOTH[:1 + ("reference_labels" in given)]
                    value, gradients = called.value_and_grad(x, labels, **given, wrt=wrt)
                    each = called(x, labels, **given, reduction="none")
                found.append([library.numpy(one) for one in (value, each, *gradients)])
            for got, want in zip(*found, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize(("called", "options"), [(anglos.nt_xent, {}), (anglos.supcon, {"form": "in"})], ids=str)
def test_partners_are_gathered_where_they_are_few(called: Any, options: Any, name: str, monkeypatch: pytest.MonkeyPatch
                                                  ) -> None:
    """Of many samples; and all pairs are compared where they are not."""
    library, random, reduction_of = LIBRARIES[name](), np.random.default_rng(0), keys.reduction_of
    x = library.array(random.normal(size=(600, 40)))
    made: list[Any] = []

    def watched(*given: Any) -> Any:
        made.append(reduction_of(*given))
        return made[-1]

    for size, are_few in ((3, True), (200, False)):
        labels, found = library.array(random.permutation(600) // size), []
        for gathers in (True, False):
            with monkeypatch.context() as patch:
                patch.setattr(keys, "reduction_of", watched)
                if not gathers:
                    patch.setattr(keys, "FEW", math.inf)
                found.append(called.value_and_grad(x, labels, **options))
            assert (made.pop() is not None) == (gathers and are_few)
        (value, (gradient,)), (wanted, (slope,)) = found
        assert float(value) == pytest.approx(float(wanted), rel=1e-13)
        np.testing.assert_allclose(library.numpy(gradient), library.numpy(slope), rtol=1e-11, atol=1e-16)


def test_padding_may_repeat_itself(library: Library) -> None:
    """A batch of nothing else, too, and labels beside it that are all one."""
    x = library.array(Pairs("labels", references=False, excluded=False).x)
    nothing, one = np.full((BATCH, 3), NONE), np.full((BATCH, 3), -1)
    one[:, 0] = 0
    assert float(anglos.supcon(x, library.array(nothing))) == 0.0
    wanted = anglos.supcon(x, library.array(one[:, 0]))
    assert float(anglos.supcon(x, library.array(one), ignore_index=-1)) == float(wanted)


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_wrong_weight_is_never_a_silent_number(wrong: float) -> None:
    """Refused where values can be read; else its row is NaN."""
    jax: Any = pytest.importorskip("jax")
    pairs = Pairs("weights", references=False, excluded=False)
    weights = pairs.labels.copy()
    weights[2, 4] = wrong
    for name in ("numpy", "torch", "jax"):
        library = LIBRARIES[name]()
        with pytest.raises(ValueError, match=f"^supcon: labels held {wrong:g}; wanted weights of positives from 0, "):
            anglos.supcon(library.array(pairs.x), library.array(weights))
    for loss in LABELLED:
        call: Any = loss
        rows = np.asarray(jax.jit(lambda x, y, call=call: call(x, y, reduction="none"))(pairs.x, weights))
        np.testing.assert_array_equal(np.isnan(rows), np.arange(BATCH) == 2)
    library = LIBRARIES["strict"]()
    value, (gradient,) = anglos.triplet.value_and_grad(library.array(pairs.x), library.array(weights))
    assert np.isnan(float(value))
    assert np.isnan(library.numpy(gradient)).all()


def test_mining() -> None:
    """The rows that `triplet` selects."""
    numpy = LIBRARIES["numpy"]()
    for form, references, excluded in FORMS:
        pairs = Pairs(form, references, excluded)
        x, r = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in (pairs.x, pairs.r))
        for name in ("batch_hard", "semi_hard", "semi_hard_or_easiest"):
            a, p, n = pairs.call(getattr(anglos.mining, name), numpy)
            known = np.ones(BATCH, dtype=bool) if form == "weights" else (ROW_LABELS != NONE).any(axis=1)
            assert len(a)
            assert (known[a] & pairs.positive[a, p] & pairs.negative[a, n]).all()
            if name != "semi_hard":
                near, far = 2.0 - 2.0 * np.sum(x[a] * r[p], axis=1), 2.0 - 2.0 * np.sum(x[a] * r[n], axis=1)
                each, weight = np.maximum(0.0, near - far + 1.0), pairs.weight[a, p]
                value = pairs.call(anglos.triplet, numpy, mining=name, margin=1.0, reduction="sum")
                np.testing.assert_allclose(float(value), (weight * each).sum(), rtol=1e-12)


def test_zeros_and_ones_are_no_labels_of_a_sample() -> None:
    """Refused where values can be read; else the loss is NaN."""
    jax: Any = pytest.importorskip("jax")
    pairs = Pairs("labels", references=False, excluded=False)
    assert np.isnan(jax.jit(anglos.circle)(pairs.x, np.eye(BATCH, dtype=int)))
    assert np.isfinite(jax.jit(anglos.circle)(pairs.x, pairs.labels))


def of_weights(loss: Any) -> tuple[Callable[..., Any], tuple[Any, ...], Any, Any]:
    """The loss of four arrays; them; its value; and its gradient in the first."""
    def of(x: Any, weights: Any, r: Any, excluded: Any) -> Any:
        return loss(x, weights, reference_embeddings=r, excluded_pairs=excluded)

    pairs = Pairs("weights", references=True, excluded=True)
    value, (gradient,) = pairs.call(loss.value_and_grad, LIBRARIES["numpy"]())
    return of, (pairs.x, pairs.labels, pairs.r, pairs.options["excluded_pairs"]), value, gradient


@pytest.mark.parametrize("loss_of_weights", [anglos.supcon, anglos.triplet], ids=str)
def test_jit_and_vmap(loss_of_weights: Any, jax_library: Library) -> None:
    jax: Any = pytest.importorskip("jax")
    of, arrays, wanted, gradient = of_weights(loss_of_weights)
    value, slope = jax.jit(jax.value_and_grad(of))(*arrays)
    np.testing.assert_allclose(float(value), float(wanted), rtol=1e-12)
    np.testing.assert_allclose(np.asarray(slope), gradient, rtol=1e-10, atol=1e-12)
    twice = jax.vmap(jax.grad(of))(*(jax.numpy.asarray([array, array]) for array in arrays))
    np.testing.assert_allclose(np.asarray(twice), [gradient] * 2, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dynamo's own
def test_torch_compile() -> None:
    torch: Any = pytest.importorskip("torch")
    of, arrays, wanted, gradient = of_weights(anglos.supcon)
    x, *others = map(torch.tensor, arrays)
    value = torch.compile(of, backend="aot_eager", fullgraph=True)(x.requires_grad_(), *others)
    value.backward()
    np.testing.assert_allclose(value.item(), float(wanted), rtol=1e-12)
    np.testing.assert_allclose(x.grad.numpy(), gradient, rtol=1e-10, atol=1e-12)


def test_mlx() -> None:
    mx: Any = pytest.importorskip("mlx.core")
    for loss in (anglos.supcon, anglos.triplet, anglos.circle):
        of, arrays, wanted, gradient = of_weights(loss)
        given = [mx.array(array.astype("float32") if array.dtype == "float64" else array) for array in arrays]
        value, slope = mx.value_and_grad(of)(*given)
        np.testing.assert_allclose(value.item(), float(wanted), rtol=1e-5)
        np.testing.assert_allclose(np.asarray(slope), gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("known_constants")
@pytest.mark.parametrize("form", ["labels", "weights"])
def test_onnx(form: str) -> None:
    """A graph for a batch of any size."""
    ndx: Any = pytest.importorskip("ndonnx")
    runtime: Any = pytest.importorskip("onnxruntime")
    pairs = Pairs(form, references=False, excluded=True)
    arrays = {"x": pairs.x, "labels": pairs.labels, "excluded": pairs.options["excluded_pairs"]}
    shapes = {"x": ("B", DIMENSION), "labels": ("B", 2) if form == "labels" else ("B", "B"), "excluded": ("B", "B")}
    for loss in (anglos.supcon, anglos.multi_similarity, anglos.triplet):
        call: Any = loss
        inputs = {name: ndx.argument(shape=shapes[name], dtype=getattr(ndx, str(array.dtype)))
                  for name, array in arrays.items()}
        value, (gradient,) = call.value_and_grad(inputs["x"], inputs["labels"], excluded_pairs=inputs["excluded"])
        graph = ndx.build(inputs, {"value": value, "gradient": gradient})
        session = runtime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        got = session.run(None, arrays)
        wanted, (slope,) = pairs.call(call.value_and_grad, LIBRARIES["numpy"]())
        np.testing.assert_allclose(got[0], wanted, rtol=1e-12)
        np.testing.assert_allclose(got[1], slope, rtol=1e-11, atol=1e-13)
