"""`anglos.diagnose`: its figures, its advice, and a training with our defaults that does not start, with its cures."""

import math
import re
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from libraries import Library
from sklearn.datasets import load_digits

import anglos
from anglos import LOSSES, Diagnosis, Loss, diagnose
from anglos.arrays.dispatch import backend_of
from anglos.backends.torch import Head
from anglos.training import chance, head_rows

RANDOM = np.random.default_rng(0)
X, W, Y = RANDOM.normal(size=(203, 6)), RANDOM.normal(size=(9, 6)), RANDOM.integers(0, 9, 203)
HEADS = [loss for loss in LOSSES.values() if ("embeddings", "weights", "labels") in loss.engine.ROLES]


def brute_force(x: Any, w: Any, y: Any, margin: Any, scale: float) -> dict[str, Any]:
    """The figures of ArcFace whose angles are below π − m, each by its formula."""
    x, w = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (x, w))
    cos, rows, classes = x @ w.T, np.arange(len(y)), len(w)
    angles, label = np.degrees(np.arccos(cos)), np.degrees(np.arccos(cos[rows, y]))
    others = np.where(np.arange(classes) == y[:, None], 999.0, angles)
    logits = scale * cos
    logits[rows, y] = scale * np.cos(np.radians(label) + margin)
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    slopes = p - np.eye(classes)[y]
    slopes[rows, y] *= np.sin(np.radians(label) + margin) / np.sin(np.radians(label))
    pull = slopes @ w
    gradients = np.linalg.norm(pull - x * np.sum(x * pull, axis=1, keepdims=True), axis=1)
    spectrum = np.linalg.svd(x, compute_uv=False) ** 2 / len(x)
    slopes_of_cost = [1.0 - np.sin(at + margin) / np.sin(at) for at in np.radians([91.0, 110.0])]
    between = np.degrees(np.arccos(np.clip(w @ w.T, -1, 1))) + 999.0 * np.eye(classes)
    hardest = np.sort(gradients)[::-1][:math.ceil(len(y) / 100)]
    nearest = set(angles.argmin(axis=1).tolist())
    odds = (classes - 1) * np.exp(-scale * (np.cos(margin) + 1 / (classes - 1)))
    return {
        "samples": len(y), "classes": classes, "dimension": w.shape[1], "prototypes": 1,
        "label_angle": label.mean(), "label_angle_spread": label.std(),
        "other_angle": others.min(axis=1).mean(), "other_angle_spread": others.min(axis=1).std(),
        "gap": (others.min(axis=1) - label).mean(), "accuracy": (angles.argmin(axis=1) == y).mean(),
        "past": (np.radians(label) > math.pi - margin).mean(), "away": 0.0, "outward": scale * np.mean(slopes_of_cost),
        "p_median": np.median(p[rows, y]), "p_low": (p[rows, y] < 0.01).mean(), "ceiling": np.mean(1 / (1 + odds)),
        "ceiling_without_margin": 1 / (1 + (classes - 1) * math.exp(-scale * classes / (classes - 1))),
        "scale": scale, "scale_ratio": scale / ((classes - 1) / classes * math.log((classes - 1) * 99.0)),
        "gradient": gradients.mean(), "top1": hardest.sum() / gradients.sum(),
        "common": np.linalg.norm(x.mean(axis=0)), "rank": math.exp(-np.sum(spectrum * np.log(spectrum))),
        "twin": between.min(), "twin_classes": tuple(sorted(np.unravel_index(between.argmin(), between.shape))),
        "dead": len(set(y.tolist()) - nearest), "absent": classes - len(set(y.tolist())),
        "least_probable": tuple(np.argsort(p[rows, y])[:10].tolist())}


def figures(found: Diagnosis) -> dict[str, Any]:
    return {name: value for name, value in vars(found).items()
            if name not in ("loss", "stage", "advice", "label_at_random", "gap_at_random", "twin_at_random")
            and not hasattr(value, "dtype")}


def agree(found: Diagnosis, wanted: dict[str, Any]) -> None:
    for name, value in figures(found).items():
        assert value == (wanted[name] if isinstance(value, tuple) else pytest.approx(wanted[name], rel=1e-9, abs=1e-12)
                         ), name


@pytest.mark.parametrize("per_sample", [False, True])
def test_figures_are_their_formulas(library: Library, per_sample: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is in one tile and in several; with samples that are left out; with prototypes that nobody is near."""
    y = np.where((Y == 3) | (Y == 5), 0, Y)
    kept = np.arange(len(y)) % 7 != 0
    w = W.copy()
    w[8] = -10.0 * W[7] + 0.1 * W[1]
    cos = np.sum(X * w[y], axis=1) / np.linalg.norm(X, axis=1) / np.linalg.norm(w[y], axis=1)
    kept &= np.arccos(cos) < math.pi - 0.8
    margin, scale = (np.linspace(0.1, 0.7, len(y)), 4.0) if per_sample else (np.full(len(y), 0.5), 64.0)
    wanted = brute_force(X[kept], w, y[kept], margin[kept], scale)
    wanted["least_probable"] = tuple(np.flatnonzero(kept)[list(wanted["least_probable"])].tolist())
    arrays = [library.array(one) for one in (X, w, np.where(kept, y, -100))]
    options: dict[str, Any] = {"margin": library.array(margin) if per_sample else 0.5, "scale": scale}
    if per_sample:  # every sample counts as one all the same
        options["class_weight"] = library.array(np.linspace(0.0, 2.0, len(w)))
    found = diagnose(anglos.arcface, *arrays, **options)
    agree(found, wanted)
    assert np.isnan(library.numpy(found.label_angles)).tolist() == (~kept).tolist()
    if library.name == "jax":  # which compiles every shape
        return
    monkeypatch.setattr(backend_of(arrays[0]), "class_tile_width", lambda *_: 4)
    monkeypatch.setattr(backend_of(arrays[0]), "tile_elements", 9)
    agree(diagnose(anglos.arcface, *arrays, **options), wanted)


def test_past_is_where_the_margin_passes_pi(library: Library) -> None:
    """By the head's own curves: of any loss with that option, and whatever its margin is."""
    angles = np.radians([10.0, 100.0, 149.0, 152.0, 170.0])
    x, w = np.stack([np.cos(angles), np.sin(angles)], axis=1), np.asarray([[1.0, 0.0], [0.0, 1.0]])
    arrays = [library.array(one) for one in (x, w, np.zeros(5, np.int64))]
    for choice in ("smooth", "linear", "easy", "clamp")[:1 if library.name == "jax" else 4]:
        assert diagnose(anglos.arcface, *arrays, past_pi=choice).past == pytest.approx(0.4)
    found = diagnose(anglos.arcface, *arrays, past_pi="reflect", stage="start")
    assert found.away == pytest.approx(0.4)
    assert found.advice.rule == "not_monotone"
    assert diagnose(anglos.combined_margin, *arrays, m1=2.0, m2=0.0).past == pytest.approx(0.8)
    assert diagnose(anglos.arcface, *arrays, margin=library.array(np.asarray([3.1, 0.0, 1.0, 0.0, 0.0]))).past == 0.4
    assert diagnose(anglos.cosface, *arrays).past is None


@pytest.mark.parametrize("subject", HEADS, ids=lambda loss: loss.name)
def test_every_head_has_figures(subject: Loss[...]) -> None:
    """Finite, for the same batch the same angles, and probabilities that the loss has."""
    several = subject.kinds[subject.arrays[1]].shapes == ("C K D",)
    w = np.stack([W, 2.0 * W, W], axis=1) if several else W
    found = diagnose(subject, X, w, Y)
    shown = [value for value in figures(found).values() if value is not None]
    assert np.isfinite(np.asarray([value for value in shown if isinstance(value, (int, float))])).all()
    if subject.name != "soft_triple":  # whose merged cosine is no angle's
        agrees = brute_force(X, W, Y, 0.0, 1.0)
        for name in ("label_angle", "gap", "accuracy", "twin", "twin_classes", "common", "dead", "absent"):
            assert getattr(found, name) == pytest.approx(agrees[name]), name
    if subject.name in ("normface", "cosface", "linear_cross_entropy", "adaface", "inter_topk", "mv_softmax"):
        p: Any = np.exp(-subject(X, w, Y, reduction="none"))
        assert found.label_probabilities is not None
        np.testing.assert_allclose(found.label_probabilities, p, rtol=1e-9)
    assert found.loss in str(found)


@pytest.mark.parametrize("name", ["arcface", "inter_topk", "mv_softmax", "curricularface", "circle_softmax", "cosface"])
def test_the_ceiling_is_reached_by_a_simplex(name: str) -> None:
    options: dict[str, Any] = {"scale": 6.0}
    simplex = np.eye(5) - 0.2
    found = diagnose(LOSSES[name], simplex, simplex, np.arange(5), **options)
    assert found.ceiling == pytest.approx(found.p_median, rel=1e-6)  # at θ = 0 the slope is infinite
    found = diagnose(anglos.normface, simplex, simplex, np.arange(5), **options)
    assert found.ceiling_without_margin == pytest.approx(found.p_median)


def test_prototypes_that_are_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    w = W.copy()
    w[6] = 3.0 * w[2] + 1e-3 * w[1]
    found = diagnose(anglos.cosface, X, w, Y)
    assert found.twin_classes == (2, 6)
    assert found.twin < 1.0
    monkeypatch.setattr(head_rows, "_ALL_PAIRS", 3)
    assert diagnose(anglos.cosface, X, w, Y).twin_classes == (2, 6)
    neither = np.where((Y == 2) | (Y == 6), 0, Y)
    assert diagnose(anglos.cosface, X, w, neither).twin > 1.0
    monkeypatch.undo()
    several = RANDOM.normal(size=(4, 3, 6))
    several[3, 1] = several[0, 2]  # one prototype alone collects what belongs to the other class
    assert diagnose(anglos.subcenter_arcface, X, several, Y % 4).twin > 1.0
    several[3] = several[0, [2, 0, 0]]
    found = diagnose(anglos.subcenter_arcface, X, several, Y % 4)
    assert found.twin_classes == (0, 3)
    assert found.twin < 1e-3


def test_vectors_without_direction() -> None:
    """At 90° to all, and without a gradient."""
    found = diagnose(anglos.arcface, 0.0 * X, W, Y)
    assert found.label_angle == pytest.approx(90.0)
    assert (found.gradient, found.common, found.rank) == (0.0, 0.0, 0.0)
    assert math.isnan(found.top1)
    assert diagnose(anglos.arcface, X, 0.0 * W, Y).twin == pytest.approx(90.0)
    assert diagnose(anglos.arcface, X[:1], W, Y[:1]).samples == 1


def test_what_a_random_start_has() -> None:
    """Against draws."""
    draws = RANDOM.normal(size=(4000, 10, 16))
    draws /= np.linalg.norm(draws, axis=2, keepdims=True)
    nearest = np.degrees(np.arccos(draws[:, 1:] @ draws[:, 0, :, None])).min(axis=(1, 2))
    assert chance.nearest_at_random(9, 16) == pytest.approx(np.median(nearest), abs=0.6)
    assert chance.nearest_at_random(1, 3) == pytest.approx(90.0)
    assert chance.nearest_at_random(1e12, 2) == pytest.approx(180.0 * math.log(2.0) / 1e12, rel=1e-6)


# What a training of digits ends with, by the layers and the loss.


@cache
def trained(loss: Loss[...], *, margin: float = 0.5, steps_of_warmup: int = 0, norm: bool = False, adam: bool = False,
            prototypes: tuple[int, ...] = (), **options: Any) -> tuple[Diagnosis, float, Diagnosis]:
    """Fifteen epochs of a small network from a cold start, its last loss, and what is said at the start."""
    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images[:1200] / 16.0, dtype=torch.float32), torch.tensor(labels[:1200])
    order: Any = ()
    torch.manual_seed(0)
    layers = [torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 64), torch.nn.ReLU(),
              torch.nn.Linear(64, 16), *([torch.nn.BatchNorm1d(16, affine=False)] if norm else [])]
    network, weights = torch.nn.Sequential(*layers), torch.nn.init.xavier_uniform_(torch.empty(10, *prototypes, 16))
    weights.requires_grad_()
    parameters = [*network.parameters(), weights]
    optimizer = torch.optim.Adam(parameters) if adam else torch.optim.SGD(parameters, 0.005, momentum=0.9)
    start = diagnose(loss, network(x), weights, y, margin=margin, stage="start", **options)
    for step in range(15 * 12):
        if step % 12 == 0:
            order = torch.randperm(1200).reshape(12, 100)
        batch = order[step % 12]
        now = anglos.margin_warmup(step, steps=steps_of_warmup, margin=margin)
        value = loss(network(x[batch]), weights, y[batch], margin=now, **options)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return diagnose(loss, network.eval()(x), weights, y, margin=margin, **options), value.item(), start


def test_the_defaults_can_end_opposite_of_the_prototypes() -> None:
    """Few classes, s = 64, m = 0.5, and no batch norm."""
    found, _, start = trained(anglos.arcface)
    assert start.advice.rule == "antipodal_risk"
    assert re.search(r"batch norm.*cosface.*margin_warmup.*past_pi=.easy", start.advice.text)
    assert found.advice.rule == "antipodal"
    assert found.label_angle > 150.0
    assert found.common > 0.97
    assert start.advice.text.partition("Before you train, ")[2] in found.advice.text


def test_reflected_the_loss_is_near_0_and_so_is_the_accuracy() -> None:
    found, loss, start = trained(anglos.arcface, past_pi="reflect")
    assert loss < 0.05
    assert found.accuracy < 0.05
    assert found.away > 0.9
    assert found.advice.rule == "antipodal"
    assert re.search(r"smooth.* cures nothing: start anew and put a batch norm.*cosface", found.advice.text)
    assert "Take past_pi" not in found.advice.text
    assert start.advice.rule == "antipodal_risk"


@pytest.mark.parametrize("cure", [
    lambda: trained(anglos.arcface, norm=True), lambda: trained(anglos.arcface, steps_of_warmup=120),
    lambda: trained(anglos.cosface, margin=0.35), lambda: trained(anglos.arcface, past_pi="easy"),
    lambda: trained(anglos.arcface, margin=0.25), lambda: trained(anglos.arcface, adam=True)],
    ids=["batch norm", "warm-up", "cosface", "easy", "smaller margin", "adam"])
def test_each_cure_lets_it_start(cure: Callable[[], tuple[Diagnosis, float, Diagnosis]],
                                 request: pytest.FixtureRequest) -> None:
    """Of this start; a small margin and a warm-up fail in others, and are warned of."""
    found, _, start = cure()
    helps_anywhere = request.node.callspec.id in ("batch norm", "cosface", "easy")
    assert start.advice.rule == ("none" if helps_anywhere else "antipodal_risk")
    assert found.label_angle < 60.0
    assert found.accuracy > 0.9
    assert found.common < 0.6
    assert found.advice.rule in ("none", "converged", "in_progress")


def test_several_prototypes_per_class_can_end_in_one_place() -> None:
    """One of each class comes to where all embeddings are: the angle is 0 at the accuracy of chance."""
    found, _, start = trained(anglos.subcenter_arcface, prototypes=(3,))
    assert start.advice.rule == "merged_risk"
    assert found.label_angle < 10.0
    assert found.accuracy < 0.5
    assert found.twin > found.twin_at_random / 2.0  # the others of a class stay where they were
    assert found.advice.rule == "merged"
    assert start.advice.text.partition("Before you train, ")[2] in found.advice.text
    assert "suggest_scale(10, 0.99)" in found.advice.text
    found, _, _ = trained(anglos.subcenter_arcface, prototypes=(3,), scale=16.0)
    assert found.accuracy > 0.9
    assert found.advice.rule in ("none", "converged", "in_progress")


# What rules say.

FAR = np.linalg.qr(RANDOM.normal(size=(16, 16)))[0][:10]
LABELS = np.repeat(np.arange(10), 20)
NEAR = FAR[LABELS] + 0.05 * RANDOM.normal(size=(200, 16))


@pytest.mark.parametrize(("rule", "stage", "name", "options"), [
    ("scale_too_small", "start", "normface", {"scale": 4.0}),
    ("scale_too_large", "start", "normface", {"scale": 256.0}),
    ("margin_unattainable", "start", "cosface", {"margin": 1.3, "scale": 16.0}),
    ("margin_too_large", "middle", "cosface", {"margin": 1.0}),
    ("none", "start", "arcface", {}),
    ("none", "middle", "arcface", {"scale": 16.0, "margin": 0.3}),
])
def test_rules_of_scale_and_margin(rule: str, stage: str, name: str, options: dict[str, Any]) -> None:
    assert diagnose(LOSSES[name], NEAR, FAR, LABELS, stage=stage, **options).advice.rule == rule


@pytest.mark.parametrize("stage", ["start", "middle", "end"])
def test_of_zero_vectors_it_says_so(stage: str) -> None:
    assert diagnose(anglos.arcface, np.zeros_like(X), W, Y, stage=stage).advice.rule == "no_directions"


@pytest.mark.parametrize("past_pi", ["smooth", "reflect"])
@pytest.mark.parametrize("stage", ["start", "middle", "end"])
def test_the_far_side_is_told_at_every_stage(stage: str, past_pi: str) -> None:
    opposite = -W[Y] / np.linalg.norm(W[Y], axis=1, keepdims=True) + 0.05 * X
    assert diagnose(anglos.arcface, opposite, W, Y, stage=stage, past_pi=past_pi).advice.rule == "antipodal"


def test_a_start_is_no_other_state_of_few_classes() -> None:
    """At 135° in two dimensions; and of two classes with four right of five, however near all are."""
    angles, y = np.radians([0.0, 120.0, 240.0]), np.arange(90) % 3
    w, x = (np.stack([np.cos(at), np.sin(at)], axis=1) for at in (angles, angles[y] + np.radians(135.0)))
    assert diagnose(anglos.arcface, x, w, y).advice.rule == "antipodal"
    y = np.arange(100) % 2
    x = np.eye(3)[2] + 0.05 * np.eye(3)[np.where(np.arange(100) % 10 < 8, y, 1 - y)]
    assert diagnose(anglos.cosface, x, np.eye(2, 3), y, scale=8.0, margin=0.1).advice.rule != "not_begun"


def test_at_the_start_only_options_are_judged() -> None:
    """Where all embeddings share a direction."""
    x, w = 10.0 * W[0] + X, 10.0 * W[0] + W
    assert diagnose(anglos.cosface, x, w, Y, scale=32.0).advice.rule == "merged"
    assert diagnose(anglos.cosface, x, w, Y, scale=32.0, stage="start").advice.rule == "none"
    assert diagnose(anglos.cosface, x, W, Y, scale=32.0).advice.rule == "not_begun"
    assert diagnose(anglos.cosface, x, -x[:9], Y, scale=32.0).advice.rule == "antipodal"
    one = np.zeros_like(Y)  # of a class there is one direction
    assert diagnose(anglos.cosface, x, np.eye(9, 6) + W[0], one, scale=32.0).advice.rule not in ("merged", "antipodal")


@pytest.mark.parametrize(("name", "options", "speaks"), [
    ("arcface", {}, True), ("arcface", {"past_pi": "reflect"}, True), ("arcface", {"margin": 0.25}, True),
    ("arcface", {"scale": 16.0}, True), ("arcface", {"scale": 10.0, "margin": 0.7}, True),
    ("combined_margin", {}, True), ("magface", {}, True), ("mv_softmax", {}, True), ("arcnegface", {}, True),
    ("arcface", {"margin": 0.1}, False), ("arcface", {"scale": 16.0, "margin": 0.35}, False),
    ("arcface", {"past_pi": "easy"}, False), ("cosface", {}, False), ("cosface", {"margin": 0.5}, False),
    ("adaface", {}, False), ("airface", {}, False), ("curricularface", {}, False), ("inter_topk", {}, False),
    ("sphereface_r", {}, False)])
def test_the_risk_of_ending_opposite_is_told_at_the_start(name: str, options: dict[str, Any], speaks: bool) -> None:
    """Of losses and options as ten digits, four starts and 15 to 40 epochs without batch norm ended with them."""
    x = 3.0 * W[0] + X - 3.0 * W.mean(axis=0)
    found = diagnose(LOSSES[name], x, W, Y, stage="start", **options)
    assert found.common > 0.9
    assert (found.advice.rule == "antipodal_risk") == speaks
    assert diagnose(LOSSES[name], X, W, Y, stage="start", **options).advice.rule != "antipodal_risk"  # nothing shared
    assert diagnose(LOSSES[name], x, W[:2], Y % 2, stage="start", **options).advice.rule != "antipodal_risk"


@pytest.mark.parametrize(("common", "speaks"), [(0.75, False), (0.85, True)])
def test_a_risk_needs_a_shared_direction(common: float, speaks: bool) -> None:
    """Not all of the length, as of inputs that are centred."""
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    shared, rest = W[0] / np.linalg.norm(W[0]), unit - unit.mean(axis=0)
    rest -= np.outer(rest @ shared, shared)
    x = common * shared + math.sqrt(1.0 - common**2) * rest / np.linalg.norm(rest, axis=1, keepdims=True)
    found = diagnose(anglos.arcface, x, W, Y, stage="start")
    assert found.common == pytest.approx(common, abs=0.02)
    assert (found.advice.rule == "antipodal_risk") == speaks


@pytest.mark.parametrize(("name", "classes", "shared"), [
    ("arcface", 9, 0.0), ("arcface", 9, 30.0), ("arcface", 2, 0.0), ("arcface", 2, 30.0), ("subcenter_arcface", 9, 0.0),
    ("normface", 9, 0.0)])
@pytest.mark.parametrize("stage", ["middle", "end"])
def test_before_the_first_step_it_says_so(name: str, classes: int, shared: float, stage: str) -> None:
    w = np.stack([W, np.roll(W, 1, axis=1), W[::-1]], axis=1)[:classes] if "sub" in name else W[:classes]
    x = X + shared * np.eye(6)[3]
    found = diagnose(LOSSES[name], x, w, Y % classes, stage=stage)
    assert found.advice.rule == "not_begun"
    assert re.search(r"before the first step.* ask with stage=.start.*optimizer", found.advice.text)
    assert diagnose(LOSSES[name], x, w, Y % classes, stage="start").advice.rule != "not_begun"


@pytest.mark.parametrize("tilt", [33.0, 41.0])
def test_what_lies_opposite_has_not_converged(tilt: float) -> None:
    """Though all are classified, and few have a gradient."""
    around, t = np.radians([0.0, 120.0, 240.0]), math.radians(tilt)
    ring = np.stack([math.sin(t) * np.cos(around), math.sin(t) * np.sin(around), 0.0 * around], axis=1)
    up, labels = math.cos(t) * np.eye(3)[2], np.arange(600) % 3
    x = ring[labels] * np.where(np.arange(600) < 6, 0.4, 1.0)[:, None] + up
    found = diagnose(anglos.arcface, x, ring - up, labels, margin=0.35, scale=48.0, stage="end")
    assert found.label_angle == pytest.approx(180.0 - 2.0 * tilt, abs=1.0)
    assert (found.accuracy, found.top1 > 0.1, found.p_low) == (1.0, True, 0.0)
    assert found.advice.rule == ("antipodal" if tilt < 40.0 else "none")


def test_rules_of_classes() -> None:
    options: dict[str, Any] = {"scale": 16.0, "margin": 0.2}
    kept = LABELS < 7
    found = diagnose(anglos.cosface, NEAR[kept], FAR, LABELS[kept], stage="start", **options)
    assert (found.advice.rule, found.absent) == ("absent", 3)
    few = diagnose(anglos.cosface, NEAR[::20], FAR, LABELS[::20] % 7, stage="start", **options)
    assert (few.advice.rule, few.absent) == ("none", 3)  # as by chance
    twins = FAR.copy()
    twins[9] = FAR[4] + 0.1 * FAR[9]
    found = diagnose(anglos.cosface, NEAR, twins, LABELS, **options)
    assert found.advice.rule == "twins"
    assert "classes 4 and 9" in found.advice.text
    angles = np.radians(36.0 * np.arange(10))
    plane = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shifted = plane[LABELS] + 0.8 * RANDOM.normal(size=(200, 2))
    assert diagnose(anglos.cosface, shifted, plane, LABELS, **options).advice.rule == "dimension_too_small"


def test_wrong_labels_are_seen_on_samples_that_were_not_trained_on() -> None:
    labels = np.where(np.arange(200) % 8 == 3, (LABELS + 1) % 10, LABELS)
    options: dict[str, Any] = {"scale": 16.0, "margin": 0.2, "stage": "end"}
    found = diagnose(anglos.cosface, NEAR, FAR, labels, held_out=True, **options)
    assert found.advice.rule == "wrong_labels"
    assert all(row % 8 == 3 and str(row) in found.advice.text for row in found.least_probable)
    assert diagnose(anglos.cosface, NEAR, FAR, labels, **options).advice.rule != "wrong_labels"


def test_the_table() -> None:
    found = diagnose(anglos.arcface, NEAR, FAR, LABELS, scale=2.0)
    text = str(found)
    assert repr(found) == text
    assert text.startswith("arcface: 200 samples of 10 classes in 16 dimensions, stage 'middle'\n")
    assert re.search(r"angle to the label's prototype +11° ± \d° +90°\n", text)
    assert re.search(r"scale over suggest_scale\(C, 0.99\) +0.327 *\n", text)
    assert "\nscale_too_small: the label's probability cannot exceed 0.51 at this scale" in text
    assert "–" in str(diagnose(anglos.p2sgrad, NEAR, FAR, LABELS))
    assert max(map(len, text.splitlines())) <= 78


def test_in_mlx() -> None:
    mx: Any = pytest.importorskip("mlx.core", reason="MLX is not installed")
    kept = np.where(np.arange(203) % 5 == 0, -100, Y)
    wanted = figures(diagnose(anglos.arcface, X, W, kept, margin=0.2, scale=4.0))
    arrays = mx.array(X, mx.float32), mx.array(W, mx.float32), mx.array(kept)
    found = diagnose(anglos.arcface, *arrays, margin=0.2, scale=4.0)
    for name, value in figures(found).items():
        assert value == (wanted[name] if isinstance(value, tuple) else pytest.approx(wanted[name], rel=1e-4)), name


def test_a_head_in_place_of_its_loss() -> None:
    jax, flax, _ = (pytest.importorskip(name) for name in ("jax", "flax.nnx", "equinox"))
    for head in (import_module("anglos.backends.flax").Head(anglos.normface, 9, 6, rngs=flax.Rngs(0)),
                 import_module("anglos.backends.equinox").Head(anglos.normface, 9, 6, key=jax.random.key(0))):
        with pytest.raises(TypeError, match=r"loss was a Head of normface; .*head\.weight, labels, \*\*head\.all_opt"):
            diagnose(head, X, head.weight, Y)


def test_of_a_head() -> None:
    head = Head(anglos.arcface, num_classes=9, embedding_dim=6, margin=0.3)
    x, y = torch.tensor(X, dtype=torch.float32, requires_grad=True), torch.tensor(Y)
    found = diagnose(head.loss, x, head.weight, y, **head.all_options)
    agree_to = brute_force(X, head.weight.detach().double().numpy(), Y, 0.3, 64.0)
    assert found.gap == pytest.approx(agree_to["gap"], rel=1e-4)
    assert found.ceiling == pytest.approx(agree_to["ceiling"], rel=1e-4)
    assert not found.label_angles.requires_grad
    assert x.grad is None


@pytest.mark.parametrize(("call", "message"), [
    (lambda: diagnose("arcface", X, W, Y),  # type: ignore[arg-type]
     "loss was 'arcface'; wanted a loss over prototypes, as anglos.arcface; of a Head, head.loss"),
    (lambda: diagnose(Head(anglos.cosface, num_classes=9, embedding_dim=6), X, Y),
     "loss was a Head of cosface; wanted its loss, weight and options: diagnose(head.loss, embeddings, head.weight, "
     "labels, **head.all_options)"),
    (lambda: diagnose(anglos.arcface, X, Y), "labels was not given; wanted diagnose(loss, embeddings, weights, "),
    (lambda: diagnose(anglos.ham_softmax, X, W, Y), "loss was ham_softmax, which makes no logits of cosines with "
     "prototypes; wanted one that does, as anglos.arcface; of ham_softmax look at the losses that reduction=\"none\" "
     "returns, and at the classes that Head.logits ranks first"),
    (lambda: diagnose(anglos.supcon, X, W, Y), "loss was supcon, which makes no logits of cosines with "
     "prototypes; wanted one that does, as anglos.arcface"),
    (lambda: diagnose(anglos.batch_coco, X, W, Y), "loss was batch_coco, which makes no logits"),
    (lambda: diagnose(anglos.cross_entropy, X, W, Y), "loss was cross_entropy, which makes no logits"),
    (lambda: diagnose(anglos.arcface, X, W, Y, stage="late"), "stage was 'late'; wanted one of 'start', 'middle', 'en"),
    (lambda: diagnose(anglos.arcface, X, W, Y, held_out=1),  # type: ignore[arg-type]
     "held_out was 1; wanted one of True, False"),
    (lambda: diagnose(anglos.arcface, X, W, Y, sample_weight=np.ones(203)), "sample_weight was"),
    (lambda: diagnose(anglos.arcface, X, W, Y + np.nan), "arcface: labels"),
    (lambda: diagnose(anglos.arcface, X, W, Y + 1), "arcface: labels held 9 at position"),
    (lambda: diagnose(anglos.arcface, X, W[:1], 0 * Y), "weights had 1 classes; wanted at least 2"),
    (lambda: diagnose(anglos.arcface, X, W, 0 * Y - 100), "labels had no sample that counts; wanted at least one"),
    (lambda: diagnose(anglos.arcface, X[:0], W, Y[:0]), "labels had no sample that counts; wanted at least one"),
    (lambda: diagnose(anglos.arcface, X * np.nan, W, Y), "embeddings held NaN or infinity; wanted finite numbers"),
    (lambda: diagnose(anglos.arcface, X, W, Y, margn=0.3), "arcface: "),
    (lambda: diagnose(anglos.linear_cross_entropy, X, W, np.eye(9)[Y]), "labels was an array of dtype float64 and"),
])
def test_what_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(message)) as refused:
        call()
    assert str(refused.value).startswith(("diagnose: ", "arcface: "))


def test_traced_arrays_and_labels_that_cannot_be_read(library: Library) -> None:
    arrays = [library.array(one) for one in (X, W, Y + 1)]
    with pytest.raises(ValueError, match="labels held"):
        diagnose(anglos.arcface, *arrays)
    if library.name == "jax":
        jax = pytest.importorskip("jax")
        mesh = jax.make_mesh((1,), ("all",))
        sharded = import_module("anglos.backends.jax").class_sharded(anglos.arcface, mesh, "all")
        with pytest.raises(ValueError, match=r"^diagnose: loss was <loss anglos\.arcface, class_sharded over all>, of"):
            diagnose(sharded, *arrays)
        with pytest.raises(TypeError, match=r"^diagnose: embeddings was traced"):
            jax.jit(lambda x: diagnose(anglos.arcface, x, W, Y).gap)(arrays[0])
