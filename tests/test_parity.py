"""The same value and gradients as what pip installs: pytorch-metric-learning, Optax and PyTorch itself."""

import math
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import product
from typing import Any, NamedTuple

import numpy as np
import pytest
from libraries import Library
from samples import CLASSES, DIMENSION, LABELS, has_several

import anglos

torch: Any = import_module("torch")
functional: Any = import_module("torch.nn.functional")
losses: Any = import_module("pytorch_metric_learning.losses")
distances: Any = import_module("pytorch_metric_learning.distances")
miners: Any = import_module("pytorch_metric_learning.miners")
reducers: Any = import_module("pytorch_metric_learning.reducers")
regularizers: Any = import_module("pytorch_metric_learning.regularizers")
jax: Any = import_module("jax")
optax: Any = import_module("optax")

MANY_LABELS = np.tile(LABELS, 4)
MANY_LABELS[1] = 2  # once only: without a positive
PAIRS = np.repeat(np.arange(len(MANY_LABELS) // 2), 2)
CENTERS = 3
MARGIN = 0.5
BETA = torch.tensor(1.1, dtype=torch.float64, requires_grad=True)
BETAS = torch.linspace(0.9, 1.3, CLASSES, dtype=torch.float64, requires_grad=True)
BIAS = torch.linspace(-1.0, 1.0, CLASSES, dtype=torch.float64, requires_grad=True)
CLASS_WEIGHTS = torch.linspace(0.5, 2.0, CLASSES, dtype=torch.float64)
TEMPERATURE, SCALE, MARGIN_OF_TRIPLETS = (
    torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (0.2, 8.0, 0.3))


def of(module: Callable[..., Any], miner: Any = None, **options: Any) -> Callable[..., Any]:
    """One of their modules as a function of our arrays. Its parameters have the shape (C·K, D) or (D, C·K)."""

    def call(embeddings: Any, *rest: Any, **references: Any) -> Any:
        *weights, labels = rest
        made, parameters = module(**options), {}
        for (name, own), given in zip(made.named_parameters(), weights, strict=True):
            rows = given.reshape(-1, DIMENSION)
            parameters[name] = rows if own.shape == rows.shape else rows.T
        mined = () if miner is None else (miner(embeddings, labels, **references),)
        return torch.func.functional_call(made, parameters, (embeddings, labels, *mined), references)

    return call


def with_unit_weights(call: Callable[..., Any]) -> Callable[..., Any]:
    """For a module that gives its weights length 1 behind autograd's back."""
    return lambda embeddings, weights, labels: call(embeddings, functional.normalize(weights, dim=1), labels)


def with_beta(beta: Any, **options: Any) -> Callable[..., Any]:
    """A margin loss that learns its boundary."""
    made = losses.MarginLoss(learn_beta=True, **options)
    return lambda *arrays, **references: torch.func.functional_call(made, {"beta": beta}, arrays, references)


def linear(**options: Any) -> Callable[..., Any]:
    def reference(embeddings: Any, weights: Any, labels: Any, linear_bias: Any = None, **options: Any) -> Any:
        return functional.cross_entropy(functional.linear(embeddings, weights, linear_bias), labels, **options)

    # Older PyTorch lacks it.
    call = getattr(functional, "linear_cross_entropy", reference)
    return lambda *arrays: call(*arrays, **options)


def of_unit_embeddings(call: Callable[..., Any]) -> Callable[..., Any]:
    """For a module that gives length 1 to some of its embeddings, and not to all."""

    def normalized(embeddings: Any, labels: Any, **references: Any) -> Any:
        references = {name: functional.normalize(array) if name == "ref_emb" else array
                      for name, array in references.items()}
        return call(functional.normalize(embeddings), labels, **references)

    return normalized


def of_two_views(call: Callable[..., Any]) -> Callable[..., Any]:
    """For a module that finds queries and their keys by their labels."""
    return lambda queries, keys: call(torch.cat([queries, keys]), torch.arange(len(queries)).repeat(2))


def classified(temperature: Any, queries: Any, keys: Any, negatives: Any = None) -> Any:
    """Cross entropy over similarities, every query a sample and every key a class."""
    queries, keys = functional.normalize(queries), functional.normalize(keys)
    similarities, labels = queries @ keys.T, torch.arange(len(queries))
    if negatives is not None:
        own = torch.sum(queries * keys, dim=1, keepdim=True)
        similarities, labels = torch.cat([own, queries @ functional.normalize(negatives).T], dim=1), 0 * labels
    return torch.nn.CrossEntropyLoss()(similarities / temperature, labels)


class Row(NamedTuple):
    ours: str
    options: dict[str, Any]
    theirs: Callable[..., Any]
    """Of the arrays of ours, in their order."""
    factor: float = 1.0
    """Theirs is that many times ours."""
    tolerance: float = 1e-12
    """Of the value, and of gradients relative to the largest entry."""
    labels: np.ndarray = MANY_LABELS
    arrays: int | None = None
    """How many of ours are given, if not only those that must be."""
    same_gradients: bool = True


SIZES = {"num_classes": CLASSES, "embedding_size": DIMENSION}
# Their angles are degrees, and go on past π as "linear" does.
DEGREES, LINEAR = math.degrees(MARGIN), {"margin": MARGIN, "scale": 64.0, "past_pi": "linear"}
PROTOTYPE_ROWS = [
    Row("arcface", LINEAR, of(losses.ArcFaceLoss, **SIZES, margin=DEGREES, scale=64)),
    Row("subcenter_arcface", LINEAR,
        of(losses.SubCenterArcFaceLoss, **SIZES, margin=DEGREES, scale=64, sub_centers=CENTERS)),
    Row("cosface", {"margin": 0.35, "scale": 64.0}, of(losses.CosFaceLoss, **SIZES, margin=0.35, scale=64)),
    # Theirs know no annealing, and their scale is a factor on top of the lengths.
    Row("sphereface", {"margin": 4}, of(losses.SphereFaceLoss, **SIZES, margin=4, scale=1)),
    Row("large_margin_softmax", {"margin": 3}, of(losses.LargeMarginSoftmaxLoss, **SIZES, margin=3, scale=1)),
    Row("large_margin_softmax", {"margin": 4}, of(losses.LargeMarginSoftmaxLoss, **SIZES, margin=4, scale=1)),
    Row("normface", {"scale": 20.0}, of(losses.NormalizedSoftmaxLoss, **SIZES, temperature=1 / 20)),
    # Squared distances between unit vectors are 2 − 2 cos θ; theirs keeps the label's proxy in the sum (Proxy-NCA++).
    Row("proxy_nca", {"scale": 18.0}, of(losses.ProxyNCALoss, **SIZES, softmax_scale=9)),
    Row("proxy_anchor", {"scale": 32.0, "margin": 0.1}, of(losses.ProxyAnchorLoss, **SIZES, alpha=32, margin=0.1)),
    # Their gamma is the inverse of the paper's.
    Row("soft_triple", {"scale": 20.0, "gamma": 10.0, "margin": 0.01},
        of(losses.SoftTripleLoss, **SIZES, centers_per_class=CENTERS, la=20, gamma=0.1, margin=0.01)),
    # Theirs is the mean of B·C squares, ours of B sums of halved ones. Their weights are short by 1e-7,
    # an epsilon in `renorm`: 2e-7 between the gradients.
    Row("p2sgrad", {}, with_unit_weights(of(losses.P2SGradLoss, num_classes=CLASSES, descriptors_dim=DIMENSION)),
        factor=2 / CLASSES, tolerance=3e-7),
    Row("linear_cross_entropy", {}, linear()),
    Row("linear_cross_entropy", {"bias": BIAS, "label_smoothing": 0.1}, linear(linear_bias=BIAS, label_smoothing=0.1)),
    Row("linear_cross_entropy", {"bias": BIAS, "ignore_index": 3}, linear(linear_bias=BIAS, ignore_index=3)),
    # Weights of classes are weights of samples as long as no label is smoothed.
    Row("linear_cross_entropy", {"sample_weight": CLASS_WEIGHTS[MANY_LABELS]}, linear(weight=CLASS_WEIGHTS)),
]

EUCLIDEAN = {"distance": "euclidean", "margin": 0.05}
PAIR_ROWS = [
    Row("nt_xent", {"temperature": 0.07}, of(losses.NTXentLoss, temperature=0.07)),
    Row("nt_xent", {"temperature": TEMPERATURE}, of(losses.NTXentLoss, temperature=TEMPERATURE)),
    Row("supcon", {"temperature": 0.1}, of(losses.SupConLoss, temperature=0.1)),
    # Their softplus is linear beyond 20: it could be 2e-9 less there, which none of these sums is near enough to show.
    Row("circle", {"margin": 0.4, "scale": 80.0}, of(losses.CircleLoss, m=0.4, gamma=80)),
    Row("circle", {"margin": 0.25, "scale": 2.0}, of(losses.CircleLoss, m=0.25, gamma=2)),
    Row("multi_similarity", {"epsilon": None}, of(losses.MultiSimilarityLoss)),
    Row("multi_similarity", {"epsilon": 0.1}, of(losses.MultiSimilarityLoss, miners.MultiSimilarityMiner(epsilon=0.1))),
    # Theirs is a mean of the positive pairs and a mean of the negative ones, without those of loss 0: sums are alike.
    Row("contrastive", {"squared": False, "reduction": "sum"},
        of(losses.ContrastiveLoss, reducer=reducers.SumReducer())),
    Row("triplet", {**EUCLIDEAN, "mining": "batch_all"}, of(losses.TripletMarginLoss)),
    Row("triplet", {**EUCLIDEAN, "mining": "batch_all", "mean_over": "all"},
        of(losses.TripletMarginLoss, reducer=reducers.MeanReducer())),
    Row("triplet", {"mining": "batch_all"},
        of(losses.TripletMarginLoss, margin=0.2, distance=distances.LpDistance(power=2))),
    Row("triplet", {"mining": "batch_all", "margin": "soft", "distance": "cosine"},
        of(losses.TripletMarginLoss, margin=0, smooth_loss=True, distance=distances.CosineSimilarity())),
    Row("triplet", {"mining": "batch_all", "margin": 0.3, "soft": True, "distance": "euclidean"},
        of(losses.TripletMarginLoss, margin=0.3, smooth_loss=True)),
    Row("triplet", {"margin": MARGIN_OF_TRIPLETS, "soft": True, "distance": "euclidean"},
        of(losses.TripletMarginLoss, miners.BatchHardMiner(), margin=MARGIN_OF_TRIPLETS, smooth_loss=True)),
    Row("triplet", {**EUCLIDEAN, "mining": "batch_hard"}, of(losses.TripletMarginLoss, miners.BatchHardMiner())),
    # Ours takes the nearest semi-hard negative of every pair, as FaceNet does; this miner one for each anchor, the same
    # where that has one positive. Their `TripletMarginMiner` takes all of them.
    Row("triplet", {**EUCLIDEAN, "mining": "semi_hard"},
        of(losses.TripletMarginLoss, miners.BatchEasyHardMiner("hard", "semihard")), labels=PAIRS),
    Row("generalized_lifted", {"lonely_rows": True}, of(losses.GeneralizedLiftedStructureLoss)),
    # Their β is a float32.
    Row("margin_loss", {"beta": 1.25, "over": "triplets"}, of(losses.MarginLoss, beta=1.25)),
    Row("margin_loss", {"beta": BETA, "nu": 0.5, "over": "triplets"}, with_beta(BETA[None], nu=0.5)),
    Row("margin_loss", {"beta": BETAS, "over": "triplets"}, with_beta(BETAS, num_classes=CLASSES)),
    Row("tuplet_margin", {"margin": math.radians(5.73)}, of(losses.TupletMarginLoss)),
    Row("nca", {"scale": 3.0, "normalize": True}, of(losses.NCALoss, softmax_scale=3)),
    Row("angular", {"alpha": math.radians(40)}, of_unit_embeddings(of(losses.AngularLoss, alpha=40))),
]
# Their divisors of a row are larger by 1e-5 for each column, and their weights are differentiated.
RANKED_LIST: dict[str, Any] = {"factor": 0.5, "tolerance": 2e-4}
# By default PyTorch adds 1e-6 to differences, 1e-7 in the value and 2e-6 in gradients; Optax to squared distances, 7e-9
# and 2e-7.
PLAIN_EUCLIDEAN, NO_EPSILON = {"distance": "euclidean", "normalize": False, "margin": 1.0}, {"eps": 0.0}
OTHER_ROWS = [
    Row("ranked_list", {"temperature": 0.0}, of(losses.RankedListLoss, margin=0.4, alpha=1.2, Tn=0), **RANKED_LIST),
    Row("ranked_list", {"temperature": 5.0}, of(losses.RankedListLoss, margin=0.4, alpha=1.2, Tn=5), **RANKED_LIST,
        same_gradients=False),
    # Theirs is right where there are as many classes as samples of each, in order. It computes in float32.
    Row("smooth_ap", {"temperature": 0.1, "include_self": True},
        lambda *arrays: of(losses.SmoothAPLoss, temperature=0.1)(*arrays).double(), tolerance=1e-6,
        labels=np.repeat(np.arange(5), 5)),
    Row("lifted_structure", {}, of(losses.LiftedStructureLoss)),
    Row("snr_contrastive", {}, of(losses.ContrastiveLoss, distance=distances.SNRDistance())),
    Row("snr_contrastive", {"margin": 2.0, "positive_margin": 0.5, "normalize": False}, of(
        losses.ContrastiveLoss, pos_margin=0.5, neg_margin=2.0,
        distance=distances.SNRDistance(normalize_embeddings=False))),
    Row("intra_pair_variance", {}, of(losses.IntraPairVarianceLoss)),
    # Its places in bins are float32 numbers.
    Row("histogram", {"bins": 10}, lambda *arrays: of(losses.HistogramLoss, n_bins=10)(*arrays).double(),
        tolerance=1e-5),
    # Theirs takes no references.
    Row("fast_ap", {"bins": 10}, of(losses.FastAPLoss, num_bins=10)),
    # Their price is on the mean over queries and keys together.
    Row("n_pair", {"regularizer": 0.02},
        of_two_views(of(losses.NPairsLoss, distance=distances.DotProductSimilarity(normalize_embeddings=False),
                        embedding_regularizer=regularizers.LpRegularizer(power=2), embedding_reg_weight=0.04))),
    Row("info_nce", {"temperature": TEMPERATURE}, partial(classified, TEMPERATURE)),
    Row("info_nce", {"temperature": TEMPERATURE}, partial(classified, TEMPERATURE), arrays=3),
    Row("clip", {"scale": SCALE}, lambda queries, keys: (
        classified(1 / SCALE, queries, keys) + classified(1 / SCALE, keys, queries)) / 2),
    Row("clip", {"scale": SCALE}, lambda queries, keys: anglos.clip(keys, queries, scale=SCALE)),
    *(Row("pair_margin", {"distance": "cosine", "squared": False, "margin": 1.0 - margin},
          torch.nn.CosineEmbeddingLoss(margin=margin), tolerance=1e-11) for margin in (0.0, 0.4, -0.5)),
    Row("triplet_margin", PLAIN_EUCLIDEAN, torch.nn.TripletMarginLoss(**NO_EPSILON)),
    Row("triplet_margin", {**PLAIN_EUCLIDEAN, "swap": True}, torch.nn.TripletMarginLoss(**NO_EPSILON, swap=True)),
]
OPTAX_ROWS = [
    # Theirs gives length 1 to nothing shorter than 1.5e-8 (float32: 3.5e-4).
    Row("nt_xent", {"temperature": 0.07}, optax.losses.ntxent),
    Row("triplet_margin", PLAIN_EUCLIDEAN, lambda *triplets: optax.losses.triplet_margin_loss(
        *triplets, **NO_EPSILON).mean()),
]
CASES = [*product(PROTOTYPE_ROWS, ("random", "past_pi")), *product(PAIR_ROWS, ("random", "references")),
         *product(OTHER_ROWS, ("random",))]


def inputs(row: Row, situation: str) -> tuple[list[Any], dict[str, Any]]:
    """At random; or with θ + m past π for every label, whichever of its prototypes is nearest; or with references."""
    loss, labels, random = anglos.LOSSES[row.ours], row.labels, np.random.default_rng(0)
    weights = random.normal(size=(CLASSES, CENTERS, DIMENSION))
    embeddings, keys, others = random.normal(size=(3, len(labels), DIMENSION))
    if situation == "past_pi":
        weights = weights[:, :1] + 0.05 * weights
        embeddings = 0.1 * embeddings - weights[labels, 0]
        unit = weights / np.linalg.norm(weights, axis=2, keepdims=True)
        cos = (unit[labels] @ embeddings[:, :, None])[:, :, 0] / np.linalg.norm(embeddings, axis=1, keepdims=True)
        assert cos.max() < math.cos(math.pi - MARGIN)
    if not has_several(loss):
        weights = weights[:, 0]
    named = {"embeddings": embeddings, "weights": weights, "labels": labels, "queries": embeddings, "keys": keys,
             "anchors": embeddings, "others": keys, "targets": np.where(labels % 2, 1, -1),
             "positives": keys, "negatives": others}
    references = {"reference_embeddings": torch.tensor(others[::2]), "reference_labels": torch.tensor(labels[::2])}
    return ([torch.tensor(named[name]) for name in loss.arrays[:row.arrays or loss.required]],
            references if situation == "references" else {})


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")  # raised inside HistogramLoss
@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning")  # raised inside SphereFaceLoss
@pytest.mark.parametrize(("row", "situation"), CASES, ids=[f"{row.ours}-{situation}" for row, situation in CASES])
def test_parity(row: Row, situation: str) -> None:
    arrays, references = inputs(row, situation)
    options = {**row.options, **references}
    tensors = [array.requires_grad_() for array in (*arrays, *references.values()) if array.is_floating_point()]
    tensors += [option for option in row.options.values() if getattr(option, "requires_grad", False)]
    ours = row.factor * anglos.LOSSES[row.ours](*arrays, **options)
    theirs = row.theirs(*arrays, **dict(zip(("ref_emb", "ref_labels"), references.values(), strict=False)))
    torch.testing.assert_close(ours, theirs, rtol=row.tolerance, atol=0)
    if row.same_gradients:
        for got, wanted in zip(torch.autograd.grad(ours, tensors), torch.autograd.grad(theirs, tensors), strict=True):
            torch.testing.assert_close(got, wanted, rtol=0, atol=row.tolerance * wanted.abs().max().item())


def test_dynamic_soft_margin_step_by_step() -> None:
    """Their momentum is the weight of every pair beside that of the histogram. Their gradients fail."""
    theirs, histogram, momentum = losses.DynamicSoftMarginLoss(momentum=0.01), None, 0.01 * 9 / (0.99 + 0.01 * 9)
    loss: Any = anglos.dynamic_soft_margin
    queries, noise = torch.randn(2, 4, 9, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    keys = queries + 0.5 * noise
    for sides in zip(queries, keys, strict=True):
        ours = loss(*sides, histogram=histogram, momentum=momentum)
        torch.testing.assert_close(ours, theirs(sides[0], ref_emb=sides[1]), rtol=1e-12, atol=0)
        histogram = anglos.dynamic_soft_margin_update(histogram, *sides, momentum=momentum)
        torch.testing.assert_close(histogram[:10], theirs.hist_, rtol=0, atol=1e-12)
    theirs, leaf = losses.DynamicSoftMarginLoss(num_bins=100), queries[0].requires_grad_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        theirs(leaf, ref_emb=keys[0]).backward()
    theirs, labels = losses.DynamicSoftMarginLoss(), torch.arange(9) // 3
    theirs(0.1 * leaf + torch.eye(3)[labels], labels).backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        theirs(0.1 * leaf + torch.eye(3)[labels], labels).backward()


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("soft", [False, True])
def test_targets_and_class_weights_are_torch_s(soft: bool, weighted: bool, smoothing: float, reduction: str) -> None:
    """Value, gradient and gradient penalty, in targets too; on logits and of a linear layer, kept or not."""
    generator = torch.Generator().manual_seed(0)
    x, w, b, t, weight = (torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in (
        (7, 3), (CLASSES, 3), (CLASSES,), (7, CLASSES), (CLASSES,)))
    labels = t if soft else torch.tensor([0, 2, -100, 1, 2, 2, 0])
    leaves = [x, w, b, *([t] if soft else [])]
    options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": reduction}
    given = weight.detach() if weighted else None
    results = []
    linear: Any = partial(anglos.linear_cross_entropy, class_weight=given, **options)
    linear_plain: Any = partial(anglos.linear_cross_entropy.plain, class_weight=given, **options)
    calls: list[Callable[[], Any]] = [
        lambda: functional.cross_entropy(functional.linear(x, w, b), labels, weight=given, **options),
        lambda: anglos.cross_entropy(functional.linear(x, w, b), labels, class_weight=given, **options),
        lambda: anglos.cross_entropy.plain(functional.linear(x, w, b), labels, class_weight=given, **options),
        lambda: linear(x, w, labels, bias=b), lambda: linear(x, w, labels, bias=b, keep_bytes=0),
        lambda: linear_plain(x, w, labels, bias=b)]
    for call in calls:
        value = call()
        gradients = torch.autograd.grad(value.sum(), leaves, create_graph=True)
        results.append((value, *gradients, *torch.autograd.grad(sum((g**2).sum() for g in gradients), leaves)))
    for result in results[1:]:
        for got, wanted in zip(result, results[0], strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("soft", [False, True])
def test_targets_and_class_weights_of_cosines(soft: bool) -> None:
    """As PyTorch's of s cos θ + b: value, gradient and gradient penalty, in scale and targets too, kept or not."""
    generator = torch.Generator().manual_seed(0)
    x, w, b, t = (torch.rand(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in (
        (7, 3), (CLASSES, 3), (CLASSES,), (7, CLASSES)))
    scale = torch.tensor(6.0, dtype=torch.float64, requires_grad=True)
    labels = t if soft else torch.tensor([0, 2, -100, 1, 2, 2, 0])
    leaves, results = [x, w, b, scale, *([t] if soft else [])], []
    normface: Any = partial(anglos.normface, x, w, labels, class_weight=CLASS_WEIGHTS, label_smoothing=0.2)
    plain: Any = partial(anglos.normface.plain, x, w, labels, class_weight=CLASS_WEIGHTS, label_smoothing=0.2)
    calls: list[Callable[[], Any]] = [
        lambda: functional.cross_entropy(
            scale * functional.normalize(x, dim=1) @ functional.normalize(w, dim=1).T + b, labels,
            weight=CLASS_WEIGHTS, label_smoothing=0.2),
        *(partial(call, scale=scale, bias=b, **kept) for call in (normface, plain) for kept in ({}, {"keep_bytes": 0}))]
    for call in calls:
        value = call()
        gradients = torch.autograd.grad(value, leaves, create_graph=True)
        results.append((value, *gradients, *torch.autograd.grad(sum((g**2).sum() for g in gradients), leaves)))
    for result in results[1:]:
        for got, wanted in zip(result, results[0], strict=True):
            torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("row", OPTAX_ROWS, ids=[row.ours for row in OPTAX_ROWS])
def test_parity_with_optax(row: Row, jax_library: Library) -> None:
    arrays = [jax_library.array(array.numpy()) for array in inputs(row, "random")[0]]
    places = tuple(place for place, array in enumerate(arrays) if array.dtype == "float64")
    ours, gradients = jax.jit(jax.value_and_grad(partial(anglos.LOSSES[row.ours], **row.options), places))(*arrays)
    theirs, wanted_gradients = jax.jit(jax.value_and_grad(row.theirs, places))(*arrays)
    np.testing.assert_allclose(ours, theirs, rtol=row.tolerance)
    for got, wanted in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=0, atol=row.tolerance * abs(wanted).max())


@pytest.mark.parametrize("name", ["nt_xent", "supcon", "circle", "angular"])
def test_anchors_without_positives(name: str, jax_library: Library) -> None:
    """They are negatives, and no part of the mean; where all are such, Optax divides 0 by 0."""
    loss: Any = anglos.LOSSES[name]
    embeddings, labels = (array.numpy() for array in inputs(PAIR_ROWS[0], "random")[0])
    alone, distinct = labels == 2, np.arange(len(labels))
    mean = loss(embeddings, labels)
    np.testing.assert_allclose(loss(embeddings, labels, sample_weight=1.0 - alone), mean, rtol=1e-14)
    assert loss(embeddings, labels, ignore_index=2) < mean
    assert np.isnan(jax.jit(optax.losses.ntxent)(embeddings, distinct))
    value, (gradient,) = loss.value_and_grad(embeddings, distinct)
    assert value == 0.0
    np.testing.assert_array_equal(gradient, 0.0)
