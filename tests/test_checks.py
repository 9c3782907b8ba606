"""Every refusal: before any arithmetic, with the argument's name, what it was and what is wanted."""

import math
import re
import warnings
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from libraries import LIBRARIES, Library
from samples import arrays

import anglos
from anglos import Loss
from anglos.call.plan import kept_plan

with warnings.catch_warnings():
    warnings.simplefilter("ignore", PendingDeprecationWarning)
    MATRIX = np.matrix(np.ones((6, 4)))
X, W, Y = np.ones((6, 4)), np.ones((5, 4)), np.asarray([0, 3, 0, 1, 4, 3])
ANGLE = "wanted an angle in radians from 0 to 3.14159: a number or an array of real floating dtype and shape () or (B,)"
GROUPS = ("an array of integral dtype and shape (B,) or (B, L), or an array of real floating dtype and shape "
          "(B, N)")
SCALAR = "an array of real floating dtype and shape ()"
ARRAY = "of NumPy, PyTorch, JAX, CuPy or another library of the array API standard"

REFUSED: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ((X[0], W, Y), {}, ValueError, "embeddings was of shape (4,); wanted (B, D)"),
    ((X, W[None], Y), {}, ValueError, "weights was of shape (1, 5, 4); wanted (C, D), with D = 4 in embeddings"),
    ((X, W[:, :3], Y), {}, ValueError, "weights was of shape (5, 3); wanted (C, D), with D = 4 in embeddings"),
    ((X, W[:0], Y), {}, ValueError, "weights was of shape (0, 4); wanted C to be at least 1 in (C, D)"),
    ((X, W, Y[:5]), {}, ValueError, "labels was of shape (5,); wanted (B,), with B = 6 in embeddings"),
    ((X, W, Y.astype(float)), {}, TypeError,
     "labels was of dtype float64; wanted an array of integral dtype and shape (B,) (if those are numbers of classes: "
     "labels.astype(int))"),
    ((X, W, Y.astype(float)), {"ignore_index": -1}, TypeError,
     "labels was of dtype float64; wanted an array of integral dtype and shape (B,) (if those are numbers of classes: "
     "labels.astype(int))"),
    ((X.astype(int), W, Y), {}, TypeError,
     "embeddings was of dtype int64; wanted an array of real floating dtype and shape (B, D)"),
    ((X + 0j, W, Y), {}, TypeError,
     "embeddings was of dtype complex128; wanted an array of real floating dtype and shape (B, D)"),
    ((X, W, Y + 2), {}, ValueError, "labels held 5 at position 1; wanted 0 to 4, or ignore_index = -100"),
    ((X, W, Y - 1), {}, ValueError, "labels held -1 at position 0; wanted 0 to 4, or ignore_index = -100"),
    ((X.tolist(), W, Y), {}, TypeError,
     f"embeddings was a list; wanted an array of real floating dtype and shape (B, D), {ARRAY}"),
    ((X, W, Y.tolist()), {}, TypeError,
     f"labels was a list; wanted an array of integral dtype and shape (B,), {ARRAY}"),
    ((MATRIX, W, Y), {}, TypeError,
     f"embeddings was a numpy.matrix; wanted an array of real floating dtype and shape (B, D), {ARRAY}"),
    ((np.ma.masked_array(X), W, Y), {}, TypeError,
     f"embeddings was a numpy.ma.MaskedArray; wanted an array of real floating dtype and shape (B, D), {ARRAY}"),
    ((None, W, Y), {}, TypeError,
     f"embeddings was None; wanted an array of real floating dtype and shape (B, D), {ARRAY}"),
    ((X, W), {}, TypeError, "the arrays were 2; wanted 3: embeddings, weights, labels (a layer that keeps the weights: "
     "Head, of anglos.backends.torch, flax or equinox)"),
    ((X, W, Y, 0.5), {}, TypeError, "the arrays were 4; wanted 3: embeddings, weights, labels (options go by name)"),
    ((X, Y, W), {}, TypeError,
     "weights was of dtype int64; wanted an array of real floating dtype and shape (C, D) (labels come last)"),
    ((Y, W, X), {}, TypeError,
     "embeddings was of dtype int64; wanted an array of real floating dtype and shape (B, D) (labels come last)"),
    ((X, W.T, Y), {}, ValueError,
     "weights was of shape (4, 5); wanted (C, D), with D = 4 in embeddings (as weights.T is)"),
    ((X, W[:, :3].T, Y), {}, ValueError, "weights was of shape (3, 5); wanted (C, D), with D = 4 in embeddings"),
    ((X, W, np.eye(5)[Y]), {}, TypeError,
     "labels was of dtype float64; wanted an array of integral dtype and shape (B,) (one-hot: labels.argmax(-1))"),
    ((X, W, np.eye(5, dtype=bool)[Y]), {}, TypeError,
     "labels was of dtype bool; wanted an array of integral dtype and shape (B,) (one-hot: labels.argmax(-1))"),
    ((X, W, np.eye(5, dtype=int)[Y]), {}, ValueError,
     "labels was of shape (6, 5); wanted (B,), with B = 6 in embeddings (one-hot: labels.argmax(-1))"),
    ((X, W, Y[:, None]), {}, ValueError,
     "labels was of shape (6, 1); wanted (B,), with B = 6 in embeddings (in one column: labels[:, 0])"),
    ((X, W, np.stack([Y, Y, Y], axis=1)), {}, ValueError,
     "labels was of shape (6, 3); wanted (B,), with B = 6 in embeddings"),
    ((X, W), {"labels": Y}, TypeError,
     "labels was given by name; wanted it by position, in the order embeddings, weights, labels"),
    ((X, W, Y), {"margn": 0.5}, TypeError,
     "margn was given, which is none of its options; wanted margin, scale, past_pi, gradient, bias, class_margin, "
     "label_smoothing, class_weight, sample_weight, ignore_index, keep_bytes, gradient_products, reduction (did "
     "you mean margin?)"),
    ((X, W, Y), {"margin": 28.6}, ValueError,
     f"margin was 28.6; {ANGLE} (if that is in degrees: math.radians(28.6) is 0.4992)"),
    ((X, W, Y), {"margin": np.asarray(28.6)}, ValueError,
     f"margin held 28.6; {ANGLE} (if that is in degrees: math.radians(28.6) is 0.4992)"),
    ((X, W, Y), {"margin": -0.1}, ValueError, f"margin was -0.1; {ANGLE}"),
    ((X, W, Y), {"margin": math.nan}, ValueError, f"margin was nan; {ANGLE}"),
    ((X, W, Y), {"margin": "0.5"}, TypeError, f"margin was '0.5'; {ANGLE}"),
    ((X, W, Y), {"margin": True}, TypeError, f"margin was True; {ANGLE}"),
    ((X, W, Y), {"margin": None}, TypeError, f"margin was None; {ANGLE}"),
    ((X, W, Y), {"margin": np.full(5, 0.5)}, ValueError,
     "margin was of shape (5,); wanted () or (B,), with B = 6 in embeddings (one for each class: "
     "class_margin=margin, margin=0.0)"),
    ((X, W, Y), {"class_margin": np.full(5, -28.6)}, ValueError, "class_margin held -28.6; wanted an array of real "
     "floating dtype and shape (C,) or None, each an angle in radians from -3.14159 to 3.14159 (if that is in degrees: "
     "math.radians(-28.6) is -0.4992)"),
    ((X, W, Y), {"temperature": 0.1}, TypeError,
     "temperature was given, which is none of its options; wanted margin, scale, past_pi, gradient, bias, "
     "class_margin, label_smoothing, class_weight, sample_weight, ignore_index, keep_bytes, gradient_products, "
     "reduction (did you mean scale = 1 / temperature?)"),
    ((X, W, Y), {"margin": np.asarray([1] * 6)}, TypeError, f"margin was of dtype int64; {ANGLE}"),
    ((X, W, Y), {"scale": 0}, ValueError,
     "scale was 0; wanted a scale above 0: a number or an array of real floating dtype and shape ()"),
    ((X, W, Y), {"scale": math.inf}, ValueError,
     "scale was inf; wanted a scale above 0: a number or an array of real floating dtype and shape ()"),
    ((X, W, Y), {"label_smoothing": 1.5}, ValueError,
     f"label_smoothing was 1.5; wanted a probability from 0 to 1: a number or {SCALAR}"),
    ((X, W, Y), {"label_smoothing": np.asarray(1.5)}, ValueError,
     f"label_smoothing held 1.5; wanted a probability from 0 to 1: a number or {SCALAR}"),
    ((X, W, Y), {"reduction": "avg"}, ValueError, "reduction was 'avg'; wanted one of 'mean', 'sum', 'none'"),
    ((X, W, Y), {"reduction": None}, ValueError, "reduction was None; wanted one of 'mean', 'sum', 'none'"),
    ((X, W, Y), {"past_pi": "keep"}, ValueError,
     "past_pi was 'keep'; wanted one of 'smooth', 'linear', 'shifted', 'reflect', 'clamp', 'easy'"),
    ((X, W, Y), {"gradient": "full"}, ValueError, "gradient was 'full'; wanted one of 'exact', 'straight_through'"),
    ((X, W, Y), {"ignore_index": 1.0}, TypeError, "ignore_index was 1.0; wanted an integer"),
    ((X, W, Y), {"sample_weight": np.ones(5)}, ValueError,
     "sample_weight was of shape (5,); wanted (B,), with B = 6 in embeddings (one for each class: "
     "class_weight=sample_weight)"),
    ((X, W, Y), {"wrt": ("labels",)}, ValueError,
     "wrt was ('labels',); wanted a tuple of names out of embeddings, weights, margin, scale, bias, "
     "class_margin, label_smoothing, sample_weight"),
    ((X, W, Y), {"wrt": "weights"}, ValueError,
     "wrt was 'weights'; wanted a tuple of names out of embeddings, weights, margin, scale, bias, "
     "class_margin, label_smoothing, sample_weight"),
]


@pytest.mark.parametrize(("inputs", "options", "kind", "message"), REFUSED, ids=[case[3][:60] for case in REFUSED])
def test_refusals(inputs: tuple[Any, ...], options: dict[str, Any], kind: type[Exception], message: str) -> None:
    """Also after calls that were like it."""
    methods: list[Any] = [anglos.arcface, anglos.arcface.plain, anglos.arcface.value_and_grad]
    for method in (methods[-1:] if "wrt" in options else methods) * 2:
        for like in ({}, {"margin": 1.0}, {"scale": 1}, {"sample_weight": np.ones(6), "margin": np.asarray(0.5)}):
            method(X, W, Y, **like)
        with pytest.raises(kind) as caught:
            method(*inputs, **options)
        assert str(caught.value) == f"arcface: {message}"


OTHER_REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (anglos.cosface, {"margin": 28.6}, "cosface: margin was 28.6; wanted a margin on the cosine from -2 to 2: "
     "a number or an array of real floating dtype and shape () or (B,)"),
    (anglos.sphereface, {"margin": 28.6}, "sphereface: margin was 28.6; wanted a factor of the angle from 1 to 10: "
     "a number or an array of real floating dtype and shape () or (B,)"),
    (anglos.sphereface, {"margin": 0.4}, "sphereface: margin was 0.4; wanted a factor of the angle from 1 to 10: "
     "a number or an array of real floating dtype and shape () or (B,)"),
    (anglos.combined_margin, {"m2": 28.6}, f"combined_margin: m2 was 28.6; {ANGLE} (if that is in degrees: "
     "math.radians(28.6) is 0.4992)"),
    (anglos.l2_softmax, {"bias": np.ones(4)}, "l2_softmax: bias was of shape (4,); wanted (C,), with C = 5 in weights"),
    (anglos.l2_softmax, {"bias": 1.0},
     f"l2_softmax: bias was 1.0; wanted an array of real floating dtype and shape (C,) or None, {ARRAY}"),
]


Q, N = np.ones((6, 4)), np.ones((3, 4))
T, N5 = np.eye(5)[Y], np.ones((6, 5))
PAIRS_REFUSED: list[tuple[Any, tuple[Any, ...], dict[str, Any], str]] = [
    (anglos.info_nce, (Q,), {}, "info_nce: the arrays were 1; wanted 2 or 3: queries, keys, negatives"),
    (anglos.triplet, (Q, Q, Q), {}, "triplet: the arrays were 3; wanted 2: embeddings, labels (chosen triplets or "
     "pairs: triplet_margin, pair_margin)"),
    (anglos.info_nce, (Q, Q[:5]), {},
     "info_nce: keys was of shape (5, 4); wanted (B, D), with B = 6 in queries, D = 4 in queries"),
    (anglos.info_nce, (Q, Q, N[:0, :3]), {},
     "info_nce: negatives was of shape (0, 3); wanted (M, D), with D = 4 in queries"),
    (anglos.info_nce, (Q, Q, N), {"symmetric": True},
     "info_nce: symmetric was True; wanted False with negatives, which have no queries"),
    (anglos.info_nce, (Q, Q, N), {"false_negatives": np.zeros((6, 3), dtype=bool), "in_batch": True},
     "info_nce: false_negatives was of shape (6, 3); wanted (B, B), with B = 6 in queries"),
    (anglos.info_nce, (Q, Q), {"symmetric": True, "directions": ("query_to_key", "key_to_key")},
     "info_nce: symmetric was True; wanted False with directions; the mean of both ways is "
     "directions=('query_to_key', 'key_to_query'), partition='separate'"),
    (anglos.info_nce, (Q, Q, N), {"directions": ("key_to_key",)},
     "info_nce: directions was ('key_to_key',); wanted 'query_to_key' among them, with negatives"),
    (anglos.info_nce, (Q, Q), {"directions": ("query_to_document",)},
     "info_nce: directions was ('query_to_document',); wanted a tuple of one or several of 'query_to_key', "
     "'key_to_query', 'query_to_query', 'key_to_key'"),
    (anglos.info_nce, (Q, Q), {"directions": "query_to_key"},
     "info_nce: directions was 'query_to_key'; wanted a tuple of one or several of 'query_to_key', 'key_to_query', "
     "'query_to_query', 'key_to_key'"),
    (anglos.info_nce, (Q, Q), {"false_negatives_key_to_key": np.zeros((6, 6), dtype=bool)},
     "info_nce: false_negatives_key_to_key was given; wanted None without 'key_to_key' among directions"),
    (anglos.info_nce, (Q, Q), {"hardness_on": "given", "hardness": 1.0},
     "info_nce: hardness_on was 'given'; wanted 'all' without negatives and hard_negatives"),
    (anglos.info_nce, (Q, Q, N[:0]), {"in_batch": False},
     "info_nce: in_batch was False; wanted None without negatives and hard_negatives"),
    (anglos.mining.semi_hard, (X, Y), {"normalize": False, "distance": "angle"},
     "mining.semi_hard: normalize was False; wanted True with distance = 'angle'"),
    (anglos.info_nce, (Q, Q, N), {"hardness_on": "in_batch", "hardness": 1.0},
     "info_nce: hardness_on was 'in_batch'; wanted 'all', or in_batch=True beside it"),
    (anglos.info_nce, (Q, Q), {"hard_negatives_of": "all"},
     "info_nce: hard_negatives_of was 'all'; wanted 'own' without hard_negatives"),
    (anglos.info_nce, (Q, Q), {"guide_queries": Q, "guide_keys": Q, "hard_negatives": np.ones((6, 2, 4))},
     "info_nce: guide_queries was given; wanted None with hard_negatives and directions = ('query_to_key',) and "
     "without negatives and in_batch and guide_hard_negatives"),
    (anglos.info_nce, (Q, Q), {"hard_negatives_mask": np.ones((6, 2), dtype=bool)},
     "info_nce: hard_negatives was None; wanted it together with hard_negatives_mask"),
    (anglos.info_nce, (Q, Q), {"false_negatives": np.zeros((6, 3), dtype=bool)},
     "info_nce: false_negatives was of shape (6, 3); wanted (B, B), with B = 6 in queries"),
    (anglos.info_nce, (Q, Q, N), {"false_negatives": np.zeros((6, 6), dtype=bool)},
     "info_nce: false_negatives was of shape (6, 6); wanted (B, M), with B = 6 in queries, M = 3 in negatives"),
    (anglos.info_nce, (Q, Q, N), {"false_negatives": np.zeros((6, 6))}, "info_nce: false_negatives was of dtype "
     "float64; wanted an array of bool dtype and shape (B, M) or None"),
    (anglos.triplet, (X, Y), {"reference_embeddings": N},
     "triplet: reference_labels was None; wanted it together with reference_embeddings"),
    (anglos.triplet, (X, Y), {"margin": "hard"},
     f"triplet: margin was 'hard'; wanted a margin on the distance from 0: a number or {SCALAR}, or 'soft'"),
    (anglos.triplet, (X, Y), {"margin": -0.1},
     f"triplet: margin was -0.1; wanted a margin on the distance from 0: a number or {SCALAR}, or 'soft'"),
    (anglos.triplet, (X, Y), {"mining": "hardest"}, "triplet: mining was 'hardest'; wanted one of 'batch_hard', "
     "'batch_all', 'semi_hard', 'semi_hard_or_easiest'"),
    (anglos.mining.batch_hard, (X, Y.tolist()), {},
     f"mining.batch_hard: labels was a list; wanted {GROUPS}, {ARRAY}"),
    (anglos.supcon, (X, Y.astype(float)), {}, "supcon: labels was of dtype float64 and shape (6,); wanted "
     f"{GROUPS} (if those are numbers of classes: labels.astype(int))"),
    (anglos.supcon, (X, Y.astype(float)), {"reference_embeddings": X, "reference_labels": Y.astype(float)},
     f"supcon: labels was of dtype float64 and shape (6,); wanted {GROUPS} (if those are numbers of classes: "
     "labels.astype(int))"),
    (anglos.supcon, (X, np.eye(5, dtype=bool)[Y]), {},
     f"supcon: labels was of dtype bool; wanted {GROUPS} (if one-hot: labels.argmax(-1))"),
    (anglos.inter_topk, (X, W, Y), {"k": 2.5}, "inter_topk: k was 2.5; wanted an integer from 1"),
    (anglos.cross_entropy, (X, np.eye(4, dtype=int)[Y % 4]), {}, "cross_entropy: labels was of shape (6, 4); wanted "
     "(B,), with B = 6 in logits; or an array of numbers from 0 of real floating dtype and shape (B, C) (one-hot: "
     "labels.argmax(-1))"),
    (anglos.supcon, (X, Y[:, None] == Y), {}, f"supcon: labels was of dtype bool; wanted {GROUPS}"),
    (anglos.supcon, (X, np.zeros((6, 0), dtype=int)), {},
     "supcon: labels was of shape (6, 0); wanted L to be at least 1 in (B,) or (B, L)"),
    (anglos.supcon, (X, np.eye(6, dtype=int)), {}, "supcon: labels held 6 labels per sample, all from 0 to 1; wanted "
     "labels of a sample that differ, padded with ignore_index; or weights of positives, of real floating dtype and "
     "shape (B, N) (one-hot: labels.argmax(-1))"),
    (anglos.circle, (X, np.ones((6, 5))), {}, "circle: labels was of shape (6, 5); wanted (B, B), "
     "with B = 6 in embeddings (if one-hot: labels.argmax(-1))"),
    (anglos.circle, (X, np.ones((6, 5))), {"reference_embeddings": N}, "circle: reference_embeddings was of shape "
     "(3, 4); wanted (N, D), with N = 5 in labels, D = 4 in embeddings"),
    (anglos.circle, (X, np.ones((6, 3))), {"reference_embeddings": N, "reference_labels": Y[:3]},
     "circle: reference_labels was given; wanted None with labels of real floating dtype"),
    (anglos.nt_xent, (X, Y), {"excluded_pairs": np.zeros((6, 5), dtype=bool)},
     "nt_xent: excluded_pairs was of shape (6, 5); wanted (B, B), with B = 6 in embeddings"),
    (anglos.nt_xent, (X, Y), {"excluded_pairs": np.zeros((6, 6))},
     "nt_xent: excluded_pairs was of dtype float64; wanted an array of bool dtype and shape (B, B) or None"),
    (anglos.batch_coco, (X, np.stack([Y, Y + 1], axis=1)), {},
     "batch_coco: labels was of shape (6, 2); wanted (B,), with B = 6 in embeddings (if one-hot: labels.argmax(-1))"),
    (anglos.mining.semi_hard, (X, Y), {"margin": "soft"},
     f"mining.semi_hard: margin was 'soft'; wanted a margin on the distance from 0: a number or {SCALAR} or None"),
    (anglos.cross_entropy, (N5, T - 0.5), {}, "cross_entropy: labels held -0.5; "
     "wanted an array of numbers from 0 of real floating dtype and shape (B, C)"),
    (anglos.linear_cross_entropy, (X, W, T[:, :4]), {}, "linear_cross_entropy: labels was of shape (6, 4); "
     "wanted (B, C), with B = 6 in embeddings, C = 5 in weights"),
    (anglos.linear_cross_entropy, (X, W, T[:, 0]), {}, "linear_cross_entropy: labels was of dtype float64 and shape "
     "(6,); wanted an array of integral dtype and shape (B,), or an array of numbers from 0 of real floating dtype and "
     "shape (B, C) (if those are numbers of classes: labels.astype(int))"),
    (anglos.linear_cross_entropy, (X, W, T), {"ignore_index": 0},
     "linear_cross_entropy: ignore_index was 0; wanted -100 with labels of real floating dtype"),
    (anglos.cosface, (X, W, Y), {"class_weight": np.asarray([1.0, np.inf, 1.0, 1.0, 1.0])},
     "cosface: class_weight held inf; wanted an array of numbers from 0 of real floating dtype and shape (C,) or None"),
    (anglos.cross_entropy, (N5, Y), {"class_weight": -np.ones(5)}, "cross_entropy: class_weight held -1; "
     "wanted an array of numbers from 0 of real floating dtype and shape (C,) or None"),
    (anglos.cosface, (X, W, Y), {"class_margin": np.full(5, np.nan)}, "cosface: class_margin held nan; wanted an array "
     "of real floating dtype and shape (C,) or None, each a margin on the cosine from -2 to 2"),
    (anglos.global_orthogonal, (Q, Q), {}, "global_orthogonal: labels was of dtype float64; wanted an array of "
     "integral dtype and shape (B,) or None (if it is a second tower: once of each; if one-hot: labels.argmax(-1))"),
    (anglos.koleo, (Q, Q), {}, "koleo: the arrays were 2; wanted 1: embeddings (of two towers: once of each)"),
    (anglos.clip, (Q, Q, Q), {}, "clip: the arrays were 3; wanted 2: queries, keys (given negatives: info_nce, nce)"),
    (anglos.info_nce, (Q, Y), {}, "info_nce: keys was of dtype int64; wanted an array of real floating dtype and shape "
     "(B, D) (samples with labels: supcon, nt_xent)"),
    (anglos.supcon, (Q, Y), {"form": "sincere"},
     "supcon: form was 'sincere'; wanted one of 'out', 'in' (a loss of its own: anglos.sincere)"),
    (anglos.pair_margin, (Q, Q, Y % 2), {}, "pair_margin: targets held a number of magnitude 0; "
     "wanted an array of 1 and -1, of integral or real floating dtype and shape (B,) (of 0 and 1: 2 * targets - 1)"),
    (anglos.pair_margin, (Q, Q, Q[:, 0] * [1, -1, 1, -1, 0.5, 1]), {},
     "pair_margin: targets held a number of magnitude 0.5; "
     "wanted an array of 1 and -1, of integral or real floating dtype and shape (B,)"),
    (anglos.pair_margin, (Q, Q, Y == 0), {}, "pair_margin: targets was of dtype bool; "
     "wanted an array of 1 and -1, of integral or real floating dtype and shape (B,)"),
    (anglos.clip, (Q, Q), {"false_negatives": np.zeros((5, 5), dtype=bool)},
     "clip: false_negatives was of shape (5, 5); wanted (B, B), with B = 6 in queries"),
    (anglos.proxy_anchor, (X, W, Y + 2), {},
     "proxy_anchor: labels held 5 at position 1; wanted 0 to 4, or ignore_index = -100"),
]


@pytest.mark.parametrize(("other", "inputs", "options", "message"), PAIRS_REFUSED,
                         ids=[case[3][:50] for case in PAIRS_REFUSED])
def test_refusals_of_pairs(other: Any, inputs: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        other(*inputs, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(("other", "options", "message"), OTHER_REFUSED, ids=[case[2][:50] for case in OTHER_REFUSED])
def test_refusals_of_other_losses(other: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        other(X, W, Y, **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(("name", "given", "meant"), [
    ("arcface", "s", "scale"), ("arcface", "m", "margin"), ("cosface", "s", "scale"), ("combined_margin", "m", "m2"),
    ("vmf", "kappa", "concentration"), ("circle", "gamma", "scale"), ("nt_xent", "tau", "temperature"),
    ("supcon", "T", "temperature"), ("clip", "logit_scale", "scale"), ("siglip", "logit_scale", "log_scale"),
    ("siglip", "logit_bias", "bias"), ("cross_entropy", "weight", "class_weight"),
    ("arcface", "eps", "label_smoothing"), ("arcface", "easy_margin", "past_pi"), ("arcface", "sclae", "scale"),
    ("triplet", "ref_emb", "reference_embeddings"), ("supcon", "kind", "form"),
    ("cosent", "temperature", "scale = 1 / temperature"), ("vmf", "tau", "concentration = 1 / tau"),
    ("supcon", "scale", "temperature = 1 / scale"), ("siglip", "temperature", r"log_scale = -log\(temperature\)"),
])
def test_what_others_call_an_option_is_understood(name: str, given: str, meant: str) -> None:
    one: Any = anglos.LOSSES[name]
    assert given not in one.defaults
    with pytest.raises(TypeError, match=rf"^{name}: {given} was given, which is none of its options; wanted .* "
                                        rf"\(did you mean {meant}\?\)$"):
        one(*[X] * one.required, **{given: 3.0})


@pytest.mark.parametrize(("name", "given", "hint"), [
    ("supcon", "sincere", r"reduction \(a loss of its own: anglos\.sincere\)"),
    ("clip", "negatives_mask", r"reduction \(given negatives: info_nce, nce\)"), ("ranked_list", "scale", "reduction"),
])
def test_what_another_loss_has_or_is(name: str, given: str, hint: str) -> None:
    """A temperature that multiplies is no inverse of a scale."""
    one: Any = anglos.LOSSES[name]
    with pytest.raises(TypeError, match=rf"{hint}$"):
        one(*[X] * one.required, **{given: 3.0})


@pytest.mark.parametrize(("name", "arrays", "given", "meant"), [
    ("arcface", (X, Y), "weight", "weights, by position"), ("arcface", (X, W), "target", "labels, by position"),
    ("supcon", (X,), "targets", "labels, by position"), ("info_nce", (), "features", "queries, by position"),
    ("pair_margin", (X, X), "target", "targets, by position"), ("info_nce", (X,), "kesy", "keys, by position"),
])
def test_an_array_by_another_name_is_understood(name: str, arrays: tuple[Any, ...], given: str, meant: str) -> None:
    """Where one is missing; beside all of them it is an option that is meant."""
    with pytest.raises(TypeError, match=rf"^{name}: {given} was given, .*\(did you mean {meant}\?\)$"):
        anglos.LOSSES[name](*arrays, **{given: X})


def test_a_none_has_no_gradient() -> None:
    with pytest.raises(ValueError, match=r"^info_nce: wrt named negatives, which was None; wanted an array or"):
        anglos.info_nce.value_and_grad(Q, Q, wrt=("negatives",))
    with pytest.raises(ValueError, match=r"^l2_softmax: wrt named scale, which was None; wanted an array or a number"):
        anglos.l2_softmax.value_and_grad(X, W, Y, wrt=("scale",))
    with pytest.raises(ValueError, match=r"^triplet: wrt named margin, which was 'soft'; wanted an array or a number"):
        anglos.triplet.value_and_grad(X, Y, margin="soft", wrt=("margin",))


def test_every_loss_refuses_a_list_and_an_unknown_option(loss: Loss[...], library: Library) -> None:
    inputs = arrays(loss, library)
    call: Any = loss
    for method in (call, call.plain, call.value_and_grad):
        for position, name in enumerate(loss.arrays):
            listed = [library.numpy(a).tolist() if i == position else a for i, a in enumerate(inputs)]
            with pytest.raises(TypeError, match=f"^{loss.name}: {name} was a list; wanted "):
                method(*listed)
        with pytest.raises(TypeError, match=f"^{loss.name}: warmth was given, which is none of its options; "):
            method(*inputs, warmth=1.0)


@pytest.mark.parametrize("libraries", ["torch-numpy", "numpy-torch", "torch-jax", "jax-torch", "strict-numpy",
                                       "numpy-strict"])
def test_mixed_libraries_are_refused(libraries: str) -> None:
    first, second = (LIBRARIES[name]() for name in libraries.split("-"))
    name = {"strict": "array_api_strict"}
    with pytest.raises(TypeError) as caught:
        anglos.arcface(first.array(X), second.array(W), first.array(Y))
    assert str(caught.value) == (f"arcface: weights was a {name.get(second.name, second.name)} array; "
                                 f"wanted a {name.get(first.name, first.name)} array, as embeddings is one")


def test_numpy_may_stand_beside_jax(jax_library: Library) -> None:
    """As it may in jax.numpy itself, in any place."""
    wanted = float(anglos.arcface(X, W, Y))
    for inputs in ([jax_library.array(X), W, Y], [X, jax_library.array(W), Y], [X, W, jax_library.array(Y)]):
        value, gradients = anglos.arcface.value_and_grad(*inputs)
        assert float(value) == pytest.approx(wanted, rel=1e-13)
        assert all(type(gradient) is type(jax_library.array(X)) for gradient in gradients)


@pytest.mark.parametrize("scalar", [np.float32(0.5), np.float64(0.5), np.int64(1)], ids=str)
def test_numpy_numbers_are_numbers(scalar: Any, library: Library) -> None:
    inputs = [library.array(array) for array in (X, W, Y)]
    assert float(anglos.arcface(*inputs, margin=scalar)) == float(anglos.arcface(*inputs, margin=float(scalar)))


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_what_a_call_remembers_is_no_number_of_an_array(name: str) -> None:
    """Nor is it kept of batches of every size that there ever was."""
    library = LIBRARIES[name]()
    x, w, y, margin, weight = (library.array(one) for one in (X, W, Y, np.asarray(0.5), np.ones(6)))
    value = float(anglos.arcface(x, w, y, margin=margin, sample_weight=weight))
    refused: list[tuple[Any, Any, Any, str]] = [(y + 2, margin, weight, "labels held 5"),
                                                (y, library.array(np.asarray(-0.5)), weight, "margin held -0.5"),
                                                (y, margin, weight - 2, "sample_weight held -1")]
    for labels, angle, weights, what in refused:
        with pytest.raises(ValueError, match=what):
            anglos.arcface(x, w, labels, margin=angle, sample_weight=weights)
    assert float(anglos.arcface(x, w, y, margin=margin, sample_weight=weight)) == value
    assert float(anglos.arcface(x, w, y, margin=library.array(np.asarray(0.0)), sample_weight=weight)) < value
    for rows in range(600):
        anglos.arcface(library.array(np.ones((rows % 300, 4))), w, library.array(np.zeros(rows % 300, np.int64)))
    made = kept_plan.cache_info()
    assert made.maxsize is not None
    assert made.currsize <= made.maxsize
    anglos.arcface(x, w, y)
    anglos.arcface(x + 1.0, w, y)
    assert kept_plan.cache_info().misses <= made.misses + 1


def test_a_scale_learnt_in_numpy_goes_round() -> None:
    scale: Any = np.asarray(5.0)
    for _ in range(3):
        _, (slope,) = anglos.normface.value_and_grad(X, W, Y, scale=scale, wrt=("scale",))
        scale = scale - 0.1 * slope
    assert isinstance(float(scale), float)


def test_devices_must_agree() -> None:
    strict: Any = pytest.importorskip("array_api_strict")
    here, there = strict.Device("CPU_DEVICE"), strict.Device("device1")
    inputs = [strict.asarray(array, device=device) for array, device in ((X, there), (W, here), (Y, there))]
    with pytest.raises(ValueError, match=r"^arcface: weights was on device .*; wanted device .*, where embeddings is$"):
        anglos.arcface(*inputs)


def test_a_label_out_of_range_is_never_a_silent_number() -> None:
    """Refused where values can be read; NaN, in value and gradient, where they cannot."""
    bad = Y + 2
    for name in ("numpy", "torch", "jax"):
        library = LIBRARIES[name]()
        with pytest.raises(ValueError, match=r"^arcface: labels held 5 at position 1; wanted 0 to 4"):
            anglos.arcface(library.array(X), library.array(W), library.array(bad))
    jax: Any = import_module("jax")
    for name, wrap in (("jax", jax.jit), ("strict", lambda function: function)):
        library = LIBRARIES[name]()
        inputs = [library.array(array) for array in (X, W, bad)]
        rows = library.numpy(wrap(lambda *a: anglos.arcface(*a, reduction="none"))(*inputs))
        np.testing.assert_array_equal(np.isnan(rows), (bad < 0) | (bad > 4))
        value, gradients = wrap(anglos.arcface.value_and_grad)(*inputs)
        assert np.isnan(float(value))
        assert all(np.isnan(library.numpy(gradient)).any() for gradient in gradients)


@pytest.mark.parametrize("options", [{"margin": 28.6}, {"scale": -1.0}, {"sample_weight": [-1.0] * 6}], ids=str)
def test_an_option_out_of_range_is_never_a_silent_number(options: dict[str, Any]) -> None:
    (name, value), = options.items()
    for library in (LIBRARIES["numpy"](), LIBRARIES["torch"](), LIBRARIES["jax"]()):
        inputs = [library.array(array) for array in (X, W, Y, np.asarray(value))]
        with pytest.raises(ValueError, match=f"^arcface: {name} held "):
            anglos.arcface(*inputs[:3], **{name: inputs[3]})
    jax: Any = import_module("jax")
    assert np.isnan(jax.jit(lambda x, w, y, option: anglos.arcface(x, w, y, **{name: option}))(*inputs))


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_sphereface2_has_no_default_bias_at_the_ends_of_balance(end: float) -> None:
    """Refused as a number, or in an array that can be read; NaN in another; finite with a bias."""
    loss: Any = anglos.sphereface2
    wanted = f"; wanted a probability, where bias is None, above 0 and below 1: a number or {SCALAR}"
    for library in (LIBRARIES["numpy"](), LIBRARIES["torch"](), LIBRARIES["jax"]()):
        inputs = [library.array(array) for array in (X, W, Y)]
        array = library.array(np.asarray(end))
        for balance, verb in ((end, "was"), (int(end), "was"), (array, "held")):
            for options in ({}, {"bias": None}):
                for method in (loss, loss.plain, loss.value_and_grad):
                    message = f"sphereface2: balance {verb} {end:g}{wanted}"
                    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                        method(*inputs, balance=balance, **options)
            for bias in (0.0, library.array(np.asarray(0.0))):
                assert np.isfinite(float(loss(*inputs, balance=balance, bias=bias)))
    jax: Any = import_module("jax")
    for bias, is_nan in ((None, True), (0.0, False)):
        value = jax.jit(lambda b, bias=bias: loss(*inputs, balance=b, bias=bias))(array)
        assert np.isnan(value) == is_nan
    with pytest.raises(ValueError, match=r"^Head\(sphereface2\): balance was .; wanted a probability, where bias is "):
        import_module("anglos.backends.torch").Head(anglos.sphereface2, 5, 3, balance=end)


def test_labels_that_cannot_be_held_are_refused() -> None:
    """A hash of 64 bits is no class of its own in 32."""
    jax: Any = import_module("jax")
    with pytest.raises(ValueError, match=r"^supcon: labels held 18446744073709551515, or one beyond it"):
        anglos.supcon(X, np.full(6, 2**64 - 101, dtype=np.uint64))
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"^supcon: labels held 2147483647, or one beyond it"):
        anglos.supcon(jax.numpy.asarray(X), Y + 2**33)
    with jax.enable_x64(False), pytest.raises(ValueError, match=r"^arcface: labels held 2147483647 at position 0"):
        anglos.arcface(jax.numpy.asarray(X), jax.numpy.asarray(W), Y + 2**32)


@pytest.mark.parametrize("dtype", ["int8", "int32", "uint8", "int64"])
def test_an_integer_is_a_number(library: Library, dtype: str) -> None:
    """In every option that may be an array; its gradient has the type of the arithmetic."""
    x, w, y = arrays(anglos.arcface, library)
    for loss, options in ((anglos.arcface, {"scale": 3, "margin": 1}), (anglos.sphereface2, {"bias": 2}),
                          (anglos.triplet, {"margin": 1})):
        inputs = (x, w, y) if "weights" in loss.arrays else (x, y)
        wrt = tuple(options)
        integers: Any = {name: library.array(np.asarray(number, dtype)) for name, number in options.items()}
        wanted, of_numbers = loss.value_and_grad(*inputs, wrt=wrt, **options)
        value, of_integers = loss.value_and_grad(*inputs, wrt=wrt, **integers)
        np.testing.assert_allclose(library.numpy(value), library.numpy(wanted), rtol=1e-13)
        for got, gradient in zip(of_integers, of_numbers, strict=True):
            assert got.dtype == gradient.dtype == x.dtype
            np.testing.assert_allclose(library.numpy(got), library.numpy(gradient), rtol=1e-12)
    nothing = library.array(np.asarray(0, dtype))
    if not library.readable:
        assert np.isnan(library.numpy(anglos.arcface(x, w, y, scale=nothing)))
    else:
        with pytest.raises(ValueError, match=r"^arcface: scale held 0; wanted a scale above 0: "):
            anglos.arcface(x, w, y, scale=nothing)
    for refused, what in ((np.asarray(True), "bool"), (np.ones(6, dtype), dtype)):
        with pytest.raises(TypeError, match=rf"^arcface: margin was of dtype [\w.]*{what}; wanted an angle in radians"):
            anglos.arcface(x, w, y, margin=library.array(refused))


def test_where_the_array_lies(numpy: Library) -> None:
    """Of a variable of another library the message says by what name it is had; not what a mask would be lost by."""
    x, w, y = arrays(anglos.arcface, numpy)
    for name in ("value", "data", "values"):
        with pytest.raises(TypeError, match=rf"^arcface: weights was a .*; wanted .* \(its \.{name} is an array\)$"):
            anglos.arcface(x, SimpleNamespace(**{name: w}), y)
        with pytest.raises(TypeError, match=rf"^arcface: scale was a .*; wanted .* \(its \.{name} is an array\)$"):
            anglos.arcface(x, w, y, scale=SimpleNamespace(**{name: np.asarray(3.0)}))
    with pytest.raises(TypeError, match=r" \(its \.numpy\(\) is an array\)$"):
        anglos.arcface(x, SimpleNamespace(numpy=lambda: w), y)
    with pytest.raises(TypeError, match=r"of the array API standard$"):
        anglos.arcface(np.ma.masked_array(x), w, y)
