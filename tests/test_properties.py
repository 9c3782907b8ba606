"""What holds for every loss in every library."""

import math
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Any

import array_api_compat
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from libraries import LIBRARIES, Library
from samples import (
    BATCH,
    CLASSES,
    DIMENSION,
    FROZEN,
    LABELS,
    array_options,
    arrays,
    each,
    fitting,
    float_arrays,
    gentle,
    hard_embeddings,
    is_labels,
    leaves,
    made,
    numbers,
    other_options,
    per_class,
    references,
    rowwise,
    takes_labels,
)

import anglos
from anglos import Loss
from anglos.arrays.dispatch import backend_of


def test_gradients_keep_dtype_shape_and_device(loss: Loss[...], library: Library) -> None:
    for dtype in ("float32", "float64"):
        inputs = arrays(loss, library, dtype=dtype)
        value, gradients = loss.value_and_grad(*inputs)
        floats = leaves(loss, inputs)
        assert value.dtype == floats[0].dtype
        for gradient, array in zip(gradients, floats, strict=True):
            assert (gradient.dtype, gradient.shape) == (array.dtype, array.shape)
            assert getattr(gradient, "device", None) == getattr(array, "device", None)


def test_arguments_are_not_changed(loss: Loss[...], library: Library) -> None:
    """NumPy's are read-only here; the others are compared."""
    if library.name == "jax":
        pytest.skip("its arrays cannot be changed")
    inputs = arrays(loss, library)
    before = [library.numpy(array).copy() for array in inputs]
    loss(*inputs)
    loss.value_and_grad(*inputs)
    for array, was in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(library.numpy(array), was)


@pytest.mark.parametrize("width", [1, 4])
def test_tiles_of_any_width_give_the_same_numbers(
    tiled: Loss[...], library: Library, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of classes, or of the rows of a loss over pairs."""
    if library.name == "jax" and width == 1:
        pytest.skip("test_jax.py has tiles that do not divide the whole, to second order")
    inputs = arrays(tiled, library)
    options: dict[str, Any] = {
        name: library.array(np.asarray(values[0])) for name, values in array_options(tiled).items()}
    wrt = (*float_arrays(tiled), *options)
    options |= {"label_smoothing": 0.1} if "label_smoothing" in tiled.defaults else {}
    calls = [{}, *(other_options(tiled) if tiled.name in ("triplet", "info_nce") else [])]
    backend = backend_of(inputs[0])
    for more in calls:
        call = {**options, **more}
        given = fitting(inputs, more)
        names = tuple(name for name in wrt if (name != "negatives" or given is inputs)
                      and not isinstance(call.get(name), str))
        value, gradients = tiled.value_and_grad(*given, **call, wrt=names)
        with monkeypatch.context() as patch:
            for name in ("tile_width", "class_tile_width"):
                patch.setattr(backend, name, lambda *_: width)
            other, other_gradients = tiled.value_and_grad(*given, **call, wrt=names)
        np.testing.assert_allclose(library.numpy(other), library.numpy(value), rtol=1e-14)
        for got, want in zip(other_gradients, gradients, strict=True):
            np.testing.assert_allclose(library.numpy(got), library.numpy(want), rtol=1e-12, atol=1e-14)


def test_reductions_masks_and_weights(single: Loss[...], library: Library) -> None:
    """Every reduction × ignored rows × weights, against the rows one by one; gradients likewise."""
    loss, inputs = single, arrays(single, library)
    has_labels = takes_labels(loss)
    weight = np.linspace(0.5, 2.0, BATCH)
    ignored = np.asarray([False, True, False, False, True, False]) & has_labels
    fixed = rowwise(loss)
    rows = library.numpy(loss(*inputs, **fixed, reduction="none"))
    assert rows.shape == (BATCH,)
    for mask in (np.zeros(BATCH, dtype=bool), ignored):
        for sample_weight in (None, weight):
            w = np.where(mask, 0.0, 1.0 if sample_weight is None else sample_weight)
            given_labels = library.array(np.where(mask, -7, LABELS))
            call = [*inputs[:-1], given_labels] if has_labels else inputs
            options: dict[str, Any] = {**fixed, "ignore_index": -7} if has_labels else {}
            if sample_weight is not None:
                options["sample_weight"] = library.array(sample_weight)
            wanted = {"none": w * rows, "sum": (w * rows).sum(), "mean": (w * rows).sum() / w.sum()}
            factors = {"none": w, "sum": w, "mean": w / w.sum()}
            for reduction in ("none", "sum", "mean"):
                value, (gradient, *_) = loss.value_and_grad(*call, **options, reduction=reduction)
                np.testing.assert_allclose(library.numpy(value), wanted[reduction], rtol=1e-13)
                _, (row_gradient, *_) = loss.value_and_grad(*inputs, **fixed, reduction="sum")
                np.testing.assert_allclose(
                    library.numpy(gradient), factors[reduction][:, None] * library.numpy(row_gradient),
                    rtol=1e-12, atol=1e-14)
            if sample_weight is not None:
                slopes = {"sum": np.where(mask, 0.0, rows),
                          "mean": np.where(mask, 0.0, rows - wanted["mean"]) / w.sum()}
                for reduction, want in slopes.items():
                    _, (slope,) = loss.value_and_grad(*call, **options, wrt=("sample_weight",), reduction=reduction)
                    np.testing.assert_allclose(library.numpy(slope), want, rtol=1e-10, atol=1e-13)


def test_reductions_masks_and_weights_of_pairs(pair: Loss[...], library: Library) -> None:
    """Rows sum up; a row that is ignored might as well not be there; weights weigh rows."""
    inputs = arrays(pair, library)
    rows, row_gradients = pair.value_and_grad(*inputs, reduction="none")
    total, gradients = pair.value_and_grad(*inputs, reduction="sum")
    np.testing.assert_allclose(library.numpy(rows).sum(), float(total), rtol=1e-13)
    for got, want in zip(row_gradients, gradients, strict=True):
        np.testing.assert_array_equal(library.numpy(got), library.numpy(want))
    if "ignore_index" in pair.defaults:
        keep = np.asarray([True, False, True, True, False, True])
        ignored = library.array(np.where(keep, LABELS, -7))
        fewer = [array if name == "weights" else library.array(library.numpy(array)[keep])
                 for name, array in zip(pair.arrays, inputs, strict=True)]
        for reduction in ("mean", "sum"):
            value, gradients = pair.value_and_grad(*inputs[:-1], ignored, ignore_index=-7, reduction=reduction)
            wanted, wanted_gradients = pair.value_and_grad(*fewer, reduction=reduction)
            np.testing.assert_allclose(float(value), float(wanted), rtol=1e-13)
            for name, got, want in zip(float_arrays(pair), gradients, wanted_gradients, strict=True):
                got = library.numpy(got)
                assert name == "weights" or not got[~keep].any()
                np.testing.assert_allclose(got if name == "weights" else got[keep], library.numpy(want),
                                           rtol=1e-12, atol=1e-14)
    if "sample_weight" in pair.defaults:
        weight = np.linspace(0.5, 2.0, BATCH)
        for reduction in ("none", "sum", "mean"):
            options: dict[str, Any] = {"sample_weight": library.array(weight), "reduction": reduction}
            value = library.numpy(pair(*inputs, **options))
            if reduction == "mean":
                twice = library.numpy(pair(*inputs, sample_weight=library.array(2.0 * weight)))
                np.testing.assert_allclose(twice, value, rtol=1e-13)
            else:
                each = weight * library.numpy(rows)
                np.testing.assert_allclose(value, each if reduction == "none" else each.sum(), rtol=1e-13)
        _, (slope,) = pair.value_and_grad(*inputs, sample_weight=library.array(weight), wrt=("sample_weight",),
                                          reduction="sum")
        np.testing.assert_allclose(library.numpy(slope), library.numpy(rows), rtol=1e-13)


def test_a_second_batch(pair: Loss[...], library: Library) -> None:
    """It has a gradient but for what is ignored in it; twice the same changes no mean over pairs."""
    if "reference_embeddings" not in pair.defaults:
        pytest.skip("takes no references")
    inputs, other = arrays(pair, library), references(pair, library)
    value, (d_embeddings, d_references) = pair.value_and_grad(
        *inputs, **other, wrt=(pair.arrays[0], "reference_embeddings"))
    assert np.isfinite(float(value))
    assert library.numpy(d_embeddings).any()
    d_references = library.numpy(d_references)
    assert d_references[:-1].any()
    assert not d_references[-1].any()  # its label is ignored
    if pair.name == "contrastive":
        twice = {name: library.array(np.concatenate([library.numpy(array)] * 2)) for name, array in other.items()}
        np.testing.assert_allclose(float(pair(*inputs, **twice)), float(value), rtol=1e-13)


def test_ignored_rows_may_hold_anything(loss: Loss[...], library: Library) -> None:
    """Padding is often NaN."""
    if not takes_labels(loss):
        pytest.skip("takes no labels")
    inputs = [library.numpy(array).copy() for array in arrays(loss, library)]
    inputs[-1][2] = -100
    wanted, wanted_gradients = loss.value_and_grad(*map(library.array, inputs), **rowwise(loss))
    inputs[0][2] = np.nan
    value, gradients = loss.value_and_grad(*map(library.array, inputs), **rowwise(loss))
    assert float(value) == float(wanted)
    for got, want in zip(gradients, wanted_gradients, strict=True):
        np.testing.assert_array_equal(library.numpy(got), library.numpy(want))


def test_nothing_to_count_gives_zero(loss: Loss[...], library: Library) -> None:
    inputs = arrays(loss, library)
    nothing = [library.array(library.numpy(array)[:0]) if loss.kinds[name].shape.startswith("B") else array
               for name, array in zip(loss.arrays, inputs, strict=True)]
    calls = [nothing]
    if takes_labels(loss):
        calls.append([*inputs[:-1], library.array(np.full(BATCH, -100))])
    masked: dict[str, Any] = {}
    if "row_mask" in loss.defaults:
        calls.append([library.array(np.full((BATCH, DIMENSION), np.nan))] * 2 + inputs[2:])
        masked["row_mask"] = library.array(np.zeros(BATCH, dtype=bool))
    for call in calls:
        value, gradients = loss.value_and_grad(*call, **(masked if call is not nothing else {}))
        assert float(value) == 0.0
        assert all(not np.any(library.numpy(gradient)) for gradient in gradients)


def test_hard_inputs_are_finite(loss: Loss[...], library: Library) -> None:
    embeddings, weights, labels = hard_embeddings()
    named = {"embeddings": embeddings, "weights": weights, "labels": labels,
             "logits": np.asarray([[0.0, 0.0, 0.0], [1e4, -1e4, 0.0], [-1e4, -1e4, 1e4], [80.0, -80.0, 0.0]])}
    if loss.arrays[0] in ("logits", "cosines"):
        named["labels"] = np.asarray([0, 1, 2, 1])
    # A free length of 1e18 times another is no finite float16, and hardly a finite float32: see the docs.
    for dtype in ("float64", "float32", *library.low_precision):
        if dtype == "float16" and loss.name == "margin_cross_entropy":
            continue  # the slope in a cosine of 1 is larger than all of them
        inputs = []
        for name, array in zip(loss.arrays, made(loss, named), strict=True):
            if dtype == "float16" and not is_labels(loss, name):
                array = np.clip(array, -6e4, 6e4)
            inputs.append(library.array(array) if is_labels(loss, name)
                          else library.cast(library.array(array), dtype))
        for options in hard_options(loss):
            if loss.name == "snr_contrastive" and dtype != "float64" and options.get("normalize") is False:
                continue  # a ratio of squares of 1e18 and 1e-20
            with np.errstate(all="raise"):
                value, gradients = loss.value_and_grad(*fitting(inputs, options), **options)
            assert np.isfinite(library.numpy(value)), (dtype, options)
            for gradient in gradients:
                numbers = library.numpy(gradient).astype("float64")
                bad = ~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)
                assert not bad.any(), (dtype, options, np.flatnonzero(bad))


def test_a_short_prototype_counts_as_others(prototype: Loss[...], library: Library) -> None:
    assert_short_prototypes_count(prototype, library, prototype.value_and_grad)


def assert_short_prototypes_count(loss: Loss[...], library: Library, value_and_grad: Callable[..., Any]) -> None:
    """Its length is nothing to a loss that normalises it, and so is how far all are from the embeddings.

    Exponentials are of range enough for a short one alone, and for far ones, but not for both at once.
    """
    embeddings, weights, *labels = arrays(loss, LIBRARIES["numpy"](), dtype="float32")
    weights = 1.0 + 0.5 * weights
    for opposite in (-1.0, 1.0):
        inputs = opposite + 0.5 * embeddings, weights, *labels
        wanted, slopes = loss.value_and_grad(*inputs)
        if not np.allclose(wanted, loss(inputs[0], 2.0 * weights, *labels), rtol=1e-6):
            return  # the length counts
        for power in (-40, -66, -96):
            shorter = np.ones_like(weights)
            shorter[1] = 2.0**power
            value, found = value_and_grad(*map(library.array, (inputs[0], weights * shorter, *labels)))
            assert float(value) == pytest.approx(float(wanted), rel=2e-5)
            for slope, one, factor in zip(slopes, map(library.numpy, found), (1.0, shorter), strict=False):
                np.testing.assert_allclose(one * factor, slope, rtol=0, atol=2e-4 * np.abs(slope).max())


def test_what_is_finite_raises_nothing(loss: Loss[...], library: Library) -> None:
    """Whatever np.errstate says: vectors, weights and options whose squares, products or digits vanish or overflow."""
    if library.name == "jax":
        pytest.skip("its numbers are not NumPy's")
    embeddings, weights, labels = hard_embeddings()
    named = {"embeddings": embeddings, "weights": weights, "labels": labels, "logits": 1e4 * np.eye(18, 5) - 1e-40}
    inputs = [array if is_labels(loss, name) else library.cast(array, "float32")
              for name, array in zip(loss.arrays, map(library.array, made(loss, named)), strict=True)]
    options: dict[str, Any] = {}
    if "sample_weight" in loss.defaults:
        options["sample_weight"] = library.array(np.geomspace(1e-30, 1.0, 18).astype("float32"))
    small = {name: 1e-50 for name in numbers(loss) if loss.kinds[name].low == 0.0}
    wrt = (*float_arrays(loss), *small)

    def noticed(error: str, _: int) -> None:
        raise AssertionError(error)

    with np.errstate(all="call", call=noticed):
        for reduction in ("mean", "none"):
            loss(*inputs, **options, **each(loss, reduction))
            loss.value_and_grad(*inputs, **options, **small, wrt=wrt, **each(loss, reduction))
        loss.plain(*inputs, **options)
        if library.name == "torch":  # where NumPy computes small calls
            for array in leaves(loss, inputs):
                array.requires_grad_()
            loss(*inputs, **options).backward()


def test_states_and_selections_raise_nothing(library: Library) -> None:
    x, w, labels = hard_embeddings()
    x, w = (library.cast(library.array(array * 1e-12), "float32") for array in (x, w))
    y, few = library.array(labels), library.array(labels % 2 == 0)
    with np.errstate(all="raise"):
        anglos.adacos_update(None, x, w, y)
        anglos.adaface_update(20.0, 100.0, x, t_alpha=1e-40)
        anglos.angular_triplet_update(w, x, y, few)
        anglos.center_update(w, x, y, alpha=1e-30)
        anglos.curricularface_update(1e-40, x, w, y)
        for mining in (anglos.mining.batch_hard, anglos.mining.semi_hard, anglos.mining.semi_hard_or_easiest):
            mining(x, y, normalize=False)


def hard_options(loss: Loss[...]) -> list[dict[str, Any]]:
    """The defaults, all choices, and large numbers of what has bounds: factors of the angle that need θ itself."""
    calls = [{}, *(options for options in other_options(loss) if "from_logits" not in options)]
    return calls + [{name: large} for name in numbers(loss) for large in (1.5, 3.0)
                    if large < loss.kinds[name].high < math.inf]


def test_longdouble_of_numpy(loss: Loss[...], numpy: Library) -> None:
    """Every choice, in value and gradient as float64; a mean's gradient to more digits; hard inputs; one class."""
    for options in [{}, *other_options(loss), *([{"from_logits": False}] if loss.name == "entropy" else [])]:
        given = fitting(arrays(loss, numpy), options)
        if options.get("from_logits") is False:
            given = [np.eye(3)]
        longer = [array if array.dtype.kind == "i" else array.astype(np.longdouble) for array in given]
        wanted, close = loss.value_and_grad(*given, **options)
        value, gradients = loss.value_and_grad(*longer, **options)
        assert {value.dtype, *(gradient.dtype for gradient in gradients)} == {np.dtype(np.longdouble)}
        np.testing.assert_allclose(value, wanted, rtol=1e-12)
        total, of_total = loss.value_and_grad(*longer, **options, **each(loss, "sum"))
        for gradient, other, summed in zip(gradients, close, of_total, strict=True):
            np.testing.assert_allclose(gradient, other, rtol=1e-9, atol=1e-11)
            if total != 0.0:
                error = np.abs(gradient - summed * (value / total)).max()
                assert error <= 16 * np.finfo(np.longdouble).eps * np.abs(gradient).max(), options
    embeddings, weights, labels = hard_embeddings()
    named = {"embeddings": embeddings, "weights": weights, "labels": labels, "logits": 1e4 * np.eye(18, 5)}
    alone = {**named, "weights": weights[:1], "logits": embeddings[:, :1], "labels": 0 * labels}
    for some in (named, alone):
        value, gradients = loss.value_and_grad(*(array if array.dtype.kind == "i" else array.astype(np.longdouble)
                                                 for array in made(loss, some)))
        assert np.isfinite(value)
        assert all(np.isfinite(gradient).all() for gradient in gradients)


def test_zero_vectors_have_cosine_and_gradient_zero(library: Library) -> None:
    embeddings = library.array(np.asarray([[0.0, 0.0], [1.0, 0.0]]))
    weights = library.array(np.asarray([[1.0, 1.0], [0.0, 0.0]]))
    labels = library.array(np.asarray([0, 0]))
    value, (d_embeddings, d_weights) = anglos.normface.value_and_grad(
        embeddings, weights, labels, scale=2.0, reduction="none")
    np.testing.assert_allclose(library.numpy(value)[0], np.log(2.0), rtol=1e-14)
    assert not library.numpy(d_embeddings)[0].any()
    assert not library.numpy(d_weights)[1].any()
    assert library.numpy(d_embeddings)[1].any()


def test_low_precision_is_computed_in_float32(head: Loss[...], library: Library) -> None:
    """Rounding cosines to bfloat16 and multiplying them by 64 would be wrong by 0.1."""
    exact = arrays(head, library, dtype="float32")
    for dtype in library.low_precision:
        stored = [array if is_labels(head, name) else library.cast(array, dtype)
                  for array, name in zip(exact, head.arrays, strict=True)]
        same = [array if is_labels(head, name) else library.cast(array, "float32")
                for array, name in zip(stored, head.arrays, strict=True)]
        value, gradients = head.value_and_grad(*stored)
        wanted, wanted_gradients = head.value_and_grad(*same)
        # Otherwise it is the same arithmetic, to the bit; products of numbers as they are have sums of their own.
        backend: Any = backend_of(stored[0])
        with backend.untracked(tuple(stored[:2])):
            as_is = backend.multiplies_as_is(*stored[:2])
        assert value.dtype == wanted.dtype
        assert float(value) == pytest.approx(float(wanted), rel=1e-6 * as_is, abs=0.0)
        for got, want, array in zip(gradients, wanted_gradients, stored, strict=False):
            assert got.dtype == array.dtype
            found, rounded = (library.numpy(one).astype("float64") for one in (got, library.cast(want, dtype)))
            if as_is and not library.readable:  # on a GPU, where slopes are rounded too, by CuPy to TF32
                unit = 2.0**-10 if library.name == "cupy" else 2.0**-8
                assert np.linalg.norm(found - rounded) <= 2 * unit * np.linalg.norm(rounded)
                continue
            np.testing.assert_allclose(found, rounded, rtol=2.0**-10 * as_is,
                                       atol=1e-6 * np.abs(rounded).max() * as_is)


def test_directions_of_any_length_in_bfloat16(loss: Loss[...], library: Library) -> None:
    """Products of two such numbers, or their sums, may be in no float32. Powers of 2 round nothing."""
    if "bfloat16" not in library.low_precision:
        pytest.skip("has no bfloat16")
    if not float_arrays(loss):
        pytest.skip("takes no vectors")

    def times(factor: float) -> list[Any]:
        return [array if is_labels(loss, name) else library.cast(array * (factor if array.ndim > 1 else 1), "bfloat16")
                for array, name in zip(exact, loss.arrays, strict=True)]

    exact = [array if is_labels(loss, name) else library.cast(library.cast(array, "bfloat16"), "float32")
             for array, name in zip(arrays(loss, library, dtype="float32"), loss.arrays, strict=True)]
    value, gradients = loss.value_and_grad(*times(1.0))
    near = [float(loss(*times(factor))) for factor in (2.0**20, 2.0**-20)]
    if near != pytest.approx([float(value)] * 2, rel=1e-6, abs=0.0):
        pytest.skip("lengths matter to it")
    for factor in (2.0**66, 2.0**-66):
        longer, slopes = loss.value_and_grad(*times(factor))
        assert float(longer) == pytest.approx(float(value), rel=1e-6, abs=0.0)
        for slope, want in zip(slopes, gradients, strict=True):
            found, want = (library.numpy(one).astype("float64") for one in (slope, want))
            np.testing.assert_allclose(found * factor, want, rtol=0, atol=2.0**-7 * np.abs(want).max())


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64"])
def test_labels_of_any_integer_type(loss: Loss[...], library: Library, dtype: str) -> None:
    """With more classes than a uint8 can count."""
    if not takes_labels(loss):
        pytest.skip("takes no labels")
    random = np.random.default_rng(0)
    named = {"embeddings": random.normal(size=(BATCH, 4)), "weights": random.normal(size=(300, 4)),
             "logits": random.normal(size=(BATCH, 300)), "labels": LABELS}
    wanted = loss(*map(library.array, made(loss, named)))
    got = loss(*map(library.array, made(loss, {**named, "labels": LABELS.astype(dtype)})))
    assert float(got) == float(wanted)


def test_labels_of_64_bits_are_not_wrapped(loss: Loss[...], library: Library) -> None:
    """As −100 they would be ignored; as another number they could be a class."""
    if not takes_labels(loss):
        pytest.skip("takes no labels")
    *inputs, labels = arrays(loss, library)
    for number in (2**64 - 100, 2**63, 2**64 - 1):
        wrong = library.numpy(labels).astype("uint64")
        wrong[2] = number
        refused = pytest.raises(ValueError, match=f"^{loss.name}: {loss.arrays[-1]} held")
        with refused if library.readable else nullcontext():
            assert not np.isfinite(float(loss(*inputs, library.array(wrong))))


def test_one_class(head: Loss[...], library: Library) -> None:
    """A softmax over one class costs nothing; no loss is put out by it."""
    named = {"embeddings": np.asarray([[1.0, 2.0], [0.5, -1.0]]), "weights": np.asarray([[0.3, 0.7]]),
             "labels": np.asarray([0, 0])}
    value, gradients = head.value_and_grad(*map(library.array, made(head, named)))
    assert np.isfinite(float(value))
    assert all(np.isfinite(library.numpy(gradient)).all() for gradient in gradients)
    if "label_smoothing" in head.defaults and head.name != "magface":  # which has a regulariser
        assert float(value) == 0.0
        assert not any(library.numpy(gradient).any() for gradient in gradients)


def test_invariants(library: Library) -> None:
    """What the losses have to do with each other."""
    inputs = arrays(anglos.normface, library)
    unit = [library.array(library.numpy(a) / np.linalg.norm(library.numpy(a), axis=1, keepdims=True))
            for a in inputs[:2]] + inputs[2:]
    pairs: list[tuple[Any, dict[str, Any], Any, dict[str, Any], list[Any]]] = [
        (anglos.cosface, {"margin": 0.0, "scale": 10.0}, anglos.normface, {}, inputs),
        (anglos.arcface, {"margin": 0.0, "scale": 10.0}, anglos.normface, {}, inputs),
        (anglos.am_softmax, {"margin": 0.2, "scale": 5.0}, anglos.cosface, {"margin": 0.2, "scale": 5.0}, inputs),
        (anglos.combined_margin, {"m1": 1.0, "m2": 0.4, "m3": 0.0}, anglos.arcface, {"margin": 0.4}, inputs),
        (anglos.combined_margin, {"m1": 1.0, "m2": 0.0, "m3": 0.4}, anglos.cosface, {"margin": 0.4}, inputs),
        (anglos.combined_margin, {"m1": 3.0, "m2": 0.0, "m3": 0.0, "scale": 8.0},
         anglos.sphereface, {"margin": 3.0, "scale": 8.0}, inputs),
        (anglos.sphereface, {"margin": 1.0}, anglos.linear_cross_entropy, {}, unit),
        (anglos.l2_softmax, {"scale": 1.0}, anglos.linear_cross_entropy, {}, unit),
        (anglos.large_margin_softmax, {"margin": 3.0}, anglos.sphereface, {"margin": 3.0}, [inputs[0], *unit[1:]]),
        (anglos.vmf, {"concentration": 7.0}, anglos.normface, {"scale": 7.0}, inputs),
        (anglos.coco, {"scale": 7.0}, anglos.normface, {"scale": 7.0}, inputs),
        (anglos.adacos, {"scale": 7.0}, anglos.normface, {"scale": 7.0}, inputs),
        (anglos.proxy_nca, {}, anglos.normface, {"scale": 18.0}, inputs),
        (anglos.adaface, {"h": 0.0, "margin": 0.3}, anglos.cosface, {"margin": 0.3}, inputs),
        (anglos.mv_softmax, {"t": 0.0, "scale": 5.0}, anglos.am_softmax, {"scale": 5.0}, inputs),
        (anglos.inter_topk, {"penalty": 0.0, "margin": 0.3, "scale": 5.0},
         anglos.arcface, {"margin": 0.3, "scale": 5.0}, inputs),
        (anglos.sphereface2, {"gradient": "straight_through"}, anglos.sphereface2, {}, inputs),
        (anglos.angular_triplet, {"margin": 3.0, "annealing": 0.5},
         anglos.sphereface, {"margin": 3.0, "annealing": 0.5}, inputs),
    ]
    for loss, options, other, same, call in pairs:
        value, other_value = loss(*call, **options), other(*call, **same)
        np.testing.assert_allclose(library.numpy(value), library.numpy(other_value), rtol=1e-13, err_msg=loss.name)
    # A margin of an integer factor and one a hair away go different ways: polynomial and arctangent.
    near = anglos.combined_margin(*inputs, m1=3.0 + 1e-12, m2=0.4)
    np.testing.assert_allclose(library.numpy(near), library.numpy(anglos.combined_margin(*inputs, m1=3, m2=0.4)),
                               rtol=1e-10)
    logits = library.array(library.numpy(inputs[0]) @ library.numpy(inputs[1]).T)
    np.testing.assert_allclose(library.numpy(anglos.cross_entropy(logits, inputs[2], label_smoothing=0.2)),
                               library.numpy(anglos.linear_cross_entropy(*inputs, label_smoothing=0.2)), rtol=1e-13)


@pytest.mark.parametrize("variant", ["C", "A", "M"])
def test_the_bias_of_sphereface2_is_the_least(variant: Any) -> None:
    """At right angles the loss has slope 0 in it, for any number of classes and any weight of the label's."""
    for classes in (2, 5, 100):
        embeddings, weights, labels = np.eye(1, classes + 1, classes), np.eye(classes, classes + 1), np.zeros(1, int)
        for balance in (0.1, 0.5, 0.9):
            options = {"margin": 0.4, "balance": balance}
            bias = anglos.sphereface2_bias(classes, variant=variant, **options)
            _, (slope,) = anglos.sphereface2.value_and_grad(
                embeddings, weights, labels, variant=variant, bias=bias, wrt=("bias",), **options)
            assert abs(float(slope)) < 1e-14


@pytest.mark.parametrize("mining", ["batch_all", "batch_hard", "semi_hard", "semi_hard_or_easiest"])
def test_no_selection_passes_a_nan_by(mining: Any, library: Library) -> None:
    embeddings, labels = arrays(anglos.triplet, library)
    for row in range(BATCH):
        spoilt = library.numpy(embeddings).copy()
        spoilt[row, 0] = np.nan
        for margin in (0.2, "soft"):
            assert np.isnan(float(anglos.triplet(library.array(spoilt), labels, mining=mining, margin=margin)))


def test_rows_without_negatives_leave_the_divisor(library: Library) -> None:
    queries, keys = arrays(anglos.clip, library)
    alone = np.zeros((BATCH, BATCH), dtype=bool)
    alone[0] = True
    some = library.array(alone)
    rows = library.numpy(anglos.info_nce(queries, keys, false_negatives=some, reduction="none"))
    assert rows[0] == 0.0
    np.testing.assert_allclose(float(anglos.info_nce(queries, keys, false_negatives=some)), rows.sum() / (BATCH - 1))
    both = library.array(alone | alone.T)
    rows = library.numpy(anglos.clip(queries, keys, false_negatives=both, reduction="none"))
    np.testing.assert_allclose(float(anglos.clip(queries, keys, false_negatives=both)), rows.sum() / (BATCH - 1))
    rows = library.numpy(anglos.n_pair(queries, keys, false_negatives=some, reduction="none"))
    np.testing.assert_allclose(float(anglos.n_pair(queries, keys, false_negatives=some)), rows.sum() / BATCH)


def test_rows_left_out_of_two_towers(two_towers: Loss[...], library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    """They may as well not be there: value and gradient, in tiles, traced, with weights, in both directions."""
    loss, keep = two_towers, np.asarray([True, False, True, True, False, True])
    inputs = [library.numpy(array) for array in arrays(loss, library)]
    options: dict[str, np.ndarray] = {"sample_weight": np.linspace(0.5, 2.0, BATCH)}
    if "false_negatives" in loss.defaults:
        options["false_negatives"] = np.random.default_rng(1).random((BATCH, BATCH)) < 0.3
    if "key_log_prob" in loss.defaults:
        options["key_log_prob"] = np.linspace(-1.0, 0.0, BATCH)
    calls: list[tuple[int, dict[str, Any]]] = [(loss.required, {}), (len(inputs), {})]
    calls += [(2, {"symmetric": True})] if "symmetric" in loss.defaults else []
    for count, more in calls:
        fewer = {name: array[keep] for name, array in options.items()}
        if "false_negatives" in options and count == 2:
            fewer["false_negatives"] = fewer["false_negatives"][:, keep]
        padded = [*(np.where(keep[:, None], array, np.nan) for array in inputs[:2]), *inputs[2:count]]
        value, gradients = loss.value_and_grad(
            *map(library.array, [*(array[keep] for array in inputs[:2]), *inputs[2:count]]),
            **{name: library.array(array) for name, array in fewer.items()}, **more)
        with monkeypatch.context() as patch:
            patch.setattr(backend_of(library.array(keep)), "tile_width", lambda *_: 2)
            method: Any = partial(loss.value_and_grad, **more)
            traced = import_module("jax").jit(method) if library.name == "jax" else method
            got, padded_gradients = traced(*map(library.array, padded), row_mask=library.array(keep),
                                           **{name: library.array(array) for name, array in options.items()})
        np.testing.assert_allclose(float(got), float(value), rtol=1e-13)
        for place, (one, other) in enumerate(zip(padded_gradients, gradients, strict=True)):
            one = library.numpy(one)
            assert place == 2 or not one[~keep].any()
            np.testing.assert_allclose(one if place == 2 else one[keep], library.numpy(other), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("width", [2, 64])
@pytest.mark.parametrize("of_labels", [True, False])
def test_targets_and_class_weights(
    library: Library, of_labels: bool, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the formula, in every library; learnt smoothing too; the mean is divided by ω_y, or by B."""
    x, w, y = (library.numpy(array) for array in arrays(anglos.linear_cross_entropy, library))
    random = np.random.default_rng(3)
    given = y if of_labels else random.random((BATCH, CLASSES)) * (random.random((BATCH, CLASSES)) < 0.7)
    bias, class_weight = random.normal(size=CLASSES), np.asarray([0.5, 0.0, 2.0, 1.0, 0.3])
    sample_weight = np.linspace(0.5, 2.0, BATCH)
    targets = np.eye(CLASSES)[y] if of_labels else given
    monkeypatch.setattr(backend_of(library.array(x)), "class_tile_width", lambda *_: width)
    options: dict[str, Any] = {name: library.array(value) for name, value in {
        "class_weight": class_weight, "sample_weight": sample_weight, "label_smoothing": np.asarray(0.2)}.items()}

    def wanted(x: np.ndarray, w: np.ndarray, bias: np.ndarray, targets: np.ndarray, smoothing: float) -> float:
        z = x @ w.T + bias
        mass = class_weight * ((1.0 - smoothing) * targets + smoothing / CLASSES)
        rows = np.sum(mass * (np.log(np.sum(np.exp(z), axis=1, keepdims=True)) - z), axis=1)
        count = class_weight[y] if of_labels else 1.0
        return float(np.sum(sample_weight * rows) / np.sum(sample_weight * count))

    place: Any = [x, w, bias, targets, 0.2]
    names = ["embeddings", "weights", "bias", *([] if of_labels else ["labels"]), "label_smoothing"]
    value, gradients = anglos.linear_cross_entropy.value_and_grad(
        *map(library.array, (x, w, given)), bias=library.array(bias), **options, wrt=tuple(names))
    logits, of_logits = library.array(x @ w.T + bias), [name for name in names if name.startswith("label")]
    direct, direct_gradients = anglos.cross_entropy.value_and_grad(
        logits, library.array(given), **options, wrt=("logits", *of_logits))
    np.testing.assert_allclose([float(value), float(direct)], wanted(*place), rtol=1e-12)
    np.testing.assert_allclose(library.numpy(direct_gradients[0]).T @ x, library.numpy(gradients[1]), rtol=1e-10,
                               atol=1e-14)
    for name, gradient in [*zip(names, gradients, strict=True), *zip(of_logits, direct_gradients[1:], strict=True)]:
        at = ["embeddings", "weights", "bias", "labels", "label_smoothing"].index(name)
        step = 1e-5 * random.normal(size=np.shape(place[at]))
        ahead, behind = (wanted(*[one + sign * step if i == at else one for i, one in enumerate(place)])
                         for sign in (1.0, -1.0))
        np.testing.assert_allclose(ahead - behind, 2.0 * np.sum(library.numpy(gradient) * step), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("of_labels", [True, False])
def test_a_class_that_a_bias_excludes(library: Library, of_labels: bool) -> None:
    """As one that logits exclude: without mass it counts for nothing; with one, the loss is infinite."""
    x, w, _ = (library.numpy(array) for array in arrays(anglos.linear_cross_entropy, library))
    y = np.arange(BATCH) % (CLASSES - 1)
    bias = np.append(np.linspace(0.1, 0.4, CLASSES - 1), -np.inf)
    given = library.array(y if of_labels else np.eye(CLASSES)[y])
    logits, bias_array = library.array(x @ w.T + bias), library.array(bias)
    every, others = np.ones(CLASSES), np.append(np.ones(CLASSES - 1), 0.0)
    learnt = library.array(np.asarray(0.0))
    for weight, smoothing, finite in [
            (every, 0.0, True), (every, learnt, True), (others, 0.3, True), (every, 0.3, False)]:
        options: dict[str, Any] = {"class_weight": library.array(weight), "label_smoothing": smoothing}
        wanted, (slopes,) = anglos.cross_entropy.value_and_grad(logits, given, **options, wrt=("logits",))
        value, gradients = anglos.linear_cross_entropy.value_and_grad(
            library.array(x), library.array(w), given, bias=bias_array, **options,
            wrt=("embeddings", "weights", "bias"))
        np.testing.assert_allclose(float(value), float(wanted), rtol=1e-12)
        assert np.isfinite(float(value)) == finite
        plain = anglos.linear_cross_entropy.plain(
            library.array(x), library.array(w), given, bias=bias_array, **options)
        np.testing.assert_allclose(float(plain), float(wanted), rtol=1e-12)
        by_logits = library.numpy(slopes)
        for gradient, want in zip(gradients, (by_logits @ w, by_logits.T @ x, by_logits.sum(axis=0)), strict=True):
            np.testing.assert_allclose(library.numpy(gradient), want, rtol=1e-10, atol=1e-14)


def test_one_hot_targets_are_labels(library: Library) -> None:
    """To the last digits of a loss of 1e-12; and excluded classes without a part in the target stay excluded."""
    x, w = np.tile(np.eye(5)[:1], (3, 1)), np.outer([30.0, 2.0, 1.0, 0.0, -3.0], np.eye(5)[0])
    labels, targets = np.zeros(3, dtype=np.int64), np.tile(np.eye(5)[:1], (3, 1))
    cases: list[tuple[Any, list[np.ndarray]]] = [
        (anglos.linear_cross_entropy, [x, w]), (anglos.cross_entropy, [x @ w.T])]
    for loss, inputs in cases:
        floats = [library.cast(library.array(array), "float32") for array in inputs]
        value, gradients = loss.value_and_grad(*floats, library.array(labels))
        same, others = loss.value_and_grad(*floats, library.cast(library.array(targets), "float32"))
        np.testing.assert_allclose([float(value), float(same)], 1.0440422e-12, rtol=1e-6)
        for got, want in zip(others, gradients, strict=True):
            np.testing.assert_allclose(library.numpy(got), library.numpy(want), rtol=1e-6)
    excluded = library.array(np.asarray([[0.3, 1.0, -np.inf]]))
    value, (gradient,) = anglos.cross_entropy.value_and_grad(excluded, library.array(np.asarray([[0.4, 0.6, 0.0]])))
    wanted, (other,) = anglos.cross_entropy.value_and_grad(
        library.array(np.asarray([[0.3, 1.0]])), library.array(np.asarray([[0.4, 0.6]])))
    np.testing.assert_allclose(float(value), float(wanted), rtol=1e-14)
    np.testing.assert_allclose(library.numpy(gradient), [[*library.numpy(other)[0], 0.0]], rtol=1e-13)


def test_targets_of_given_pairs(library: Library) -> None:
    """Integers or not, refused or NaN if they are not ±1; a zero vector has cosine 0 and gradient 0."""
    anchors, others, targets = arrays(anglos.pair_margin, library)
    wanted = library.numpy(anglos.pair_margin(anchors, others, targets, reduction="none"))
    signs = library.numpy(targets)
    for dtype in ("int8", "int32", "float32", "float64", *library.low_precision):
        same = library.cast(library.array(signs), dtype)
        got = anglos.pair_margin(anchors, others, same, reduction="none")
        assert got.dtype == anchors.dtype
        np.testing.assert_array_equal(library.numpy(got), wanted)
    jax: Any = import_module("jax")
    for wrong in (3.0, 0.0, -2.0, np.nan):
        spoilt = np.where(np.arange(BATCH) == 2, wrong, signs)
        if library.readable:
            with pytest.raises(ValueError, match=r"^pair_margin: targets held a number of magnitude "):
                anglos.pair_margin(anchors, others, library.array(spoilt))
        if library.name == "jax" or not library.readable:
            wrap: Any = jax.jit if library.name == "jax" else lambda function: function
            rows = wrap(partial(anglos.pair_margin, reduction="none"))(anchors, others, library.array(spoilt))
            np.testing.assert_array_equal(np.isnan(library.numpy(rows)), np.arange(BATCH) == 2)
    nothing = library.array(np.where(np.arange(BATCH)[:, None] % 3, library.numpy(anchors), 0.0))
    for distance, apart in (("cosine", 1.0), ("squared_euclidean", 2.0), ("euclidean", 2.0**0.5), ("angle", np.pi / 2)):
        options: dict[str, Any] = {"distance": distance, "squared": False, "margin": 3.0}
        rows, (d_nothing, d_others) = anglos.pair_margin.value_and_grad(
            nothing, others, targets, **options, reduction="none")
        np.testing.assert_allclose(library.numpy(rows)[::3], np.where(signs > 0, apart, 3.0 - apart)[::3], rtol=1e-14)
        assert not library.numpy(d_nothing)[::3].any()
        assert np.abs(library.numpy(d_others)[::3]).max() < 1e-15
        triplets: dict[str, Any] = {"distance": distance, "margin": 0.0, "reduction": "none"}
        rows = anglos.triplet_margin(anchors, nothing, anchors, **triplets)
        np.testing.assert_allclose(library.numpy(rows)[::3], apart, rtol=1e-14)
        rows, gradients = anglos.pair_margin.value_and_grad(anchors, anchors, targets, **options, reduction="none")
        np.testing.assert_array_equal(library.numpy(rows), np.where(signs > 0, 0.0, 3.0))
        assert not any(library.numpy(gradient).any() for gradient in gradients)


def test_an_empty_memory_costs_nothing(pair: Loss[...], library: Library) -> None:
    if "reference_embeddings" not in pair.defaults:
        pytest.skip("takes no references")
    inputs, memory = arrays(pair, library), references(pair, library)
    empty = {name: library.array(library.numpy(array)[:0]) for name, array in memory.items()}
    value, (gradient,) = pair.value_and_grad(*inputs, **empty)
    assert float(value) == 0.0
    assert not library.numpy(gradient).any()


def test_distances_do_not_depend_on_where_the_origin_is(numpy: Library) -> None:
    random = np.random.default_rng(0)
    points, labels = random.normal(size=(32, 8)), np.arange(32) // 4
    wanted = anglos.contrastive(points, labels, margin=5.0, normalize=False)
    far = anglos.contrastive((points + 1000.0).astype("float32"), labels, margin=5.0, normalize=False)
    np.testing.assert_allclose(far, wanted, rtol=1e-3)


def test_two_ways_to_the_same_loss(library: Library) -> None:
    """One value; and one gradient, where the inputs are the same."""
    x, w, y = arrays(anglos.normface, library)
    cosines = library.array(np.clip(_cosines(library.numpy(x), library.numpy(w)), -1.0, 1.0))
    queries, keys = arrays(anglos.clip, library)
    eye = library.array(np.arange(BATCH))
    views, pairs = library.array(np.concatenate([library.numpy(queries), library.numpy(keys)])), library.array(
        np.concatenate([np.arange(BATCH)] * 2))
    centroids = np.stack([library.numpy(x)[label == LABELS].mean(axis=0) for label in LABELS])
    _, first = np.unique(LABELS, return_index=True)
    present = library.array(centroids[first]), library.array(np.searchsorted(LABELS[first], LABELS))
    triplets = [library.array(library.numpy(x)[library.numpy(rows)]) for rows in anglos.mining.batch_hard(x, y)]
    same: list[tuple[Any, list[Any], dict[str, Any], Any, list[Any], dict[str, Any], float]] = [
        (anglos.margin_cross_entropy, [cosines, y], {"m1": 1.2, "m2": 0.3, "m3": 0.1},
         anglos.combined_margin, [x, w, y], {"m1": 1.2, "m2": 0.3, "m3": 0.1}, 1.0),
        (anglos.info_nce, [queries, keys], {"temperature": 0.2}, anglos.normface, [queries, keys, eye], {"scale": 5.0},
         1.0),
        (anglos.clip, [queries, keys], {"scale": 5.0}, anglos.info_nce, [queries, keys],
         {"temperature": 0.2, "symmetric": True}, 1.0),
        (anglos.clip, [queries, keys], {}, anglos.clip, [keys, queries], {}, 1.0),
        (anglos.supcon, [views, pairs], {"temperature": 0.5}, anglos.nt_xent, [views, pairs], {}, 1.0),
        (anglos.supcon, [views, pairs], {"form": "in"}, anglos.supcon, [views, pairs], {}, 1.0),
        (anglos.soft_supcon, [x, y], {}, anglos.supcon, [x, y], {}, 1.0),
        (anglos.soft_supcon, [x, anglos.mining.same_label(y)], {"normalize_targets": "none", "reduction": "sum"},
         anglos.soft_supcon, [x, y], {"normalize_targets": "none", "reduction": "sum"}, 1.0),
        (anglos.sincere, [views, pairs], {"temperature": 0.5}, anglos.nt_xent, [views, pairs], {}, 1.0),
        (anglos.tuplet_margin, [x, y], {"margin": 0.0, "scale": 2.0}, anglos.nt_xent, [x, y], {}, 1.0),
        (anglos.unified_threshold, [queries, eye],
         {"margin": 0.0, "scale": 5.0, "bias": 2.0, "reference_embeddings": keys, "reference_labels": eye},
         anglos.siglip, [queries, keys], {"log_scale": math.log(5.0), "bias": -2.0}, 1.0),
        (anglos.nca, [views, pairs], {"scale": 5.0, "normalize": True}, anglos.supcon, [views, pairs], {}, 1.0),
        (anglos.hcl, [views, pairs], {"beta": 0.0, "tau_plus": 0.0}, anglos.nt_xent, [views, pairs], {}, 1.0),
        (anglos.triplet, [x, y], {"margin": 0.4, "mining": "batch_all"},
         anglos.triplet, [x, y], {"margin": 0.2, "mining": "batch_all", "distance": "cosine"}, 2.0),
        (anglos.triplet, [x, y], {"margin": 0.5, "mean_over": "all"}, anglos.triplet_margin, triplets, {"margin": 0.5},
         1.0),
        (anglos.triplet, [x, y], {"margin": 0.5, "soft": True}, anglos.triplet_margin, triplets,
         {"margin": 0.5, "soft": True}, 1.0),
        (anglos.batch_coco, [x, y], {"detach_centroids": True, "scale": 5.0}, anglos.coco, [x, *present],
         {"scale": 5.0}, 1.0),
    ]
    for loss, inputs, options, other, other_inputs, more, factor in same:
        value, gradients = loss.value_and_grad(*inputs, **options)
        wanted, wanted_gradients = other.value_and_grad(*other_inputs, **more)
        np.testing.assert_allclose(float(value), factor * float(wanted), rtol=1e-12, err_msg=loss.name)
        if other_inputs is triplets or inputs[0] is cosines:
            continue
        for array, got in zip(leaves(loss, inputs), gradients, strict=True):
            want = next((want for other_array, want in zip(other_inputs, wanted_gradients, strict=False)
                         if other_array is array), None)
            assert want is not None
            np.testing.assert_allclose(library.numpy(got), factor * library.numpy(want), rtol=0, atol=1e-12)


def _cosines(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(w, axis=1)
    return np.asarray(x @ w.T / lengths)


def test_normalised_gradients_of_pairs_are_orthogonal(pair: Loss[...], library: Library) -> None:
    inputs = arrays(pair, library)
    if not getattr(pair.row(*inputs, **pair.defaults), "normalize", False):
        pytest.skip("not normalised, or only after a mean")
    for array, gradient in zip(leaves(pair, inputs), pair.value_and_grad(*inputs)[1], strict=True):
        along = np.sum(library.numpy(array) * library.numpy(gradient), axis=-1)
        assert np.abs(along).max() < 1e-12


def test_equal_embeddings_have_a_finite_gradient(library: Library) -> None:
    """Distance 0, in every distance, as rounding leaves it: what would be infinite is 0."""
    random = np.random.default_rng(0)
    for dtype in ("float32", "float64"):
        points = np.repeat(random.normal(size=(6, 16)), 4, axis=0).astype(dtype)
        embeddings, labels = library.array(points), library.array(np.repeat(np.arange(6), 4))
        for distance in ("euclidean", "squared_euclidean", "cosine", "angle"):
            value, (gradient,) = anglos.contrastive.value_and_grad(
                embeddings, labels, distance=distance, margin=0.0, squared=False)
            assert float(value) < 1e-6
            if distance in ("euclidean", "angle"):
                assert float(value) == 0.0
                assert not library.numpy(gradient).any()
            for mining in ("batch_all", "batch_hard", "semi_hard", "semi_hard_or_easiest"):
                for margin in (0.5, "soft"):
                    _, (gradient,) = anglos.triplet.value_and_grad(
                        embeddings, labels, distance=distance, margin=margin, mining=mining)
                    assert np.isfinite(library.numpy(gradient)).all()


def test_normalised_gradients_are_orthogonal(head: Loss[...], library: Library) -> None:
    inputs, options = arrays(head, library), gentle(head)
    row = head.row(*inputs, **{**head.defaults, **options})
    _, gradients = head.value_and_grad(*inputs, **options)
    for array, gradient, name in zip(inputs, gradients, ("embeddings", "weights"), strict=False):
        if row.normalize_embeddings if name == "embeddings" else row.normalize_weights:
            along = np.sum(library.numpy(array) * library.numpy(gradient), axis=-1)
            assert np.abs(along).max() < 1e-12, name


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_are_never_a_number(loss: Loss[...], library: Library, bad: float) -> None:
    """In an embedding, in a class that is not the label's, or in a logit: a diverged run must not look perfect."""
    inputs = [library.numpy(array) for array in arrays(loss, library)]
    for position, name in enumerate(loss.arrays):
        if inputs[position].dtype.kind != "f":
            continue
        spoilt = [array.copy() for array in inputs]
        of_class, is_weight = per_class(loss, name), loss.kinds[name].role == "weights"
        spoilt[position][LABELS[2] if of_class and not is_weight else 2, ...] = bad
        rows = np.atleast_1d(library.numpy(loss(*map(library.array, spoilt), **each(loss))))
        affected = np.arange(len(rows)) == 2 * (len(rows) > 1)
        if of_class and len(rows) == BATCH:
            affected = np.ones(BATCH, dtype=bool) if is_weight else LABELS[2] == LABELS
        elif not of_class and len(rows) == CLASSES:  # one number of every proxy
            affected = np.ones(CLASSES, dtype=bool)
        if bad == np.inf and is_weight:
            # A logit of −∞ only leaves its class out.
            assert not np.isfinite(rows).all(), rows
        else:
            assert not np.isfinite(rows[affected]).any(), (name, rows)
        value, gradients = loss.value_and_grad(*map(library.array, spoilt))
        assert not np.isfinite(float(value))
        assert not all(np.isfinite(library.numpy(gradient)).all() for gradient in gradients)


def test_small_losses_keep_their_digits(library: Library) -> None:
    """lse − z_y would give 0 and a gradient of 0 here: exact 1.044e-12."""
    logits = library.cast(library.array(np.asarray([[30.0, 2.0, 1.0, 0.0, -3.0]])), "float32")
    value, (gradient,) = anglos.cross_entropy.value_and_grad(logits, library.array(np.asarray([0])))
    exact = sum(np.exp(z - 30.0) for z in (2.0, 1.0, 0.0, -3.0))
    np.testing.assert_allclose(float(value), exact, rtol=1e-6)
    np.testing.assert_allclose(library.numpy(gradient)[0, 0], -exact, rtol=1e-6)
    certain = library.cast(library.array(np.asarray([[30.0, 0.0]])), "float32")
    p = np.exp(-30.0)
    np.testing.assert_allclose(float(anglos.entropy(certain)), p * (1.0 + 30.0), rtol=1e-6)


def test_losses_are_hashable_and_picklable(loss: Loss[...]) -> None:
    assert pickle.loads(pickle.dumps(loss)) is loss
    assert {loss: 1}[loss] == 1


@given(shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(2, 9)), seed=st.integers(0, 999),
       spread=st.sampled_from([1e-3, 1.0, 1e3]))
@settings(deadline=None, max_examples=40)
def test_any_shape_has_the_right_slope(shape: tuple[int, int, int], seed: int, spread: float) -> None:
    """In one random direction, against a central difference, for every loss on NumPy."""
    numpy = LIBRARIES["numpy"]()
    random = np.random.default_rng(seed)
    batch, classes, dimension = shape
    named = {"embeddings": spread * random.normal(size=(batch, dimension)),
             "weights": random.normal(size=(classes, dimension)) / spread,
             "logits": random.normal(size=(batch, classes)), "labels": random.integers(0, classes, batch)}
    named |= {name: spread * random.normal(size=(batch, dimension)) for name in ("others", "more")}
    for loss in anglos.LOSSES.values():
        if loss.name in FROZEN:
            continue
        options = gentle(loss)
        inputs = [numpy.array(array) for array in made(loss, named)]
        _, gradients = loss.value_and_grad(*inputs, **options)
        steps = [1e-6 * np.linalg.norm(a) * random.normal(size=a.shape) / np.sqrt(a.size)
                 for a in leaves(loss, inputs)]
        ahead, behind = ([a + sign * step for a, step in zip(inputs, steps, strict=False)] + inputs[len(steps):]
                         for sign in (1.0, -1.0))
        difference = float(loss(*ahead, **options)) - float(loss(*behind, **options))
        slope = 2.0 * sum(float(np.sum(g * step)) for g, step in zip(gradients, steps, strict=True))
        size = 2.0 * sum(float(np.linalg.norm(g) * np.linalg.norm(step))
                         for g, step in zip(gradients, steps, strict=True))
        assert abs(difference - slope) <= 1e-4 * size + 1e-11, loss.name


def test_a_queue_that_is_empty_is_none(library: Library) -> None:
    """And so are its gradients; the loss is that of the batch."""
    queries, keys = arrays(anglos.info_nce, library)[:2]
    value, gradients = anglos.info_nce.value_and_grad(queries, keys, queries[:0, :])
    wanted, (by_queries, by_keys) = anglos.info_nce.value_and_grad(queries, keys)
    assert float(value) == float(wanted)
    for got, want in zip(gradients, (by_queries, by_keys), strict=True):
        np.testing.assert_array_equal(library.numpy(got), library.numpy(want))


def test_keys_of_the_batch_and_a_queue_are_negatives_together(library: Library) -> None:
    """The cross entropy over all keys and the queue; its gradient comes to the keys from both."""
    queries, keys, queue = (library.array(np.random.default_rng(seed).normal(size=(rows, DIMENSION)))
                            for seed, rows in ((0, BATCH), (1, BATCH), (2, 3)))
    xp: Any = array_api_compat.array_namespace(queries)
    own = library.array(np.eye(BATCH, BATCH + 3, dtype=bool))

    def loss(q: Any, k: Any, n: Any) -> Any:
        return anglos.info_nce.value_and_grad(q, k, xp.concat([k, n]), false_negatives=own, temperature=0.5)

    value, (by_queries, by_keys, by_both) = loss(queries, keys, queue)
    everything = np.concatenate([library.numpy(keys), library.numpy(queue)])
    wanted, gradients = anglos.normface.value_and_grad(library.numpy(queries), everything, np.arange(BATCH), scale=2.0)
    np.testing.assert_allclose(float(value), float(wanted), rtol=1e-12)
    np.testing.assert_allclose(library.numpy(by_queries), gradients[0], rtol=1e-9, atol=1e-12)
    both = library.numpy(by_both)
    both = np.concatenate([both[:BATCH] + library.numpy(by_keys), both[BATCH:]])
    np.testing.assert_allclose(both, gradients[1], rtol=1e-9, atol=1e-12)
