"""Weights of classes, over all losses that take them; the cross entropy of logits and linear ones by hand elsewhere."""

from typing import Any, Unpack

import numpy as np
import pytest
from libraries import Library
from samples import arrays

import anglos
from anglos import define
from anglos.arrays.dispatch import backend_of

LOSSES = [name for name, loss in anglos.LOSSES.items() if "class_weight" in loss.defaults and len(loss.arrays) == 3]
LABELS = np.asarray([0, 1, 3, -100, 1, 0])  # of five classes, of which two are absent
WEIGHTS = np.asarray([0.5, 0.0, 2.0, 1.5, 0.25])


def all_of(name: str, numpy: Library, **options: Any) -> list[np.ndarray]:
    """The value and its gradients."""
    loss: Any = anglos.LOSSES[name]
    x, w, _ = arrays(loss, numpy)
    wrt = [one for one in (*loss.arrays[:2], "scale", "bias", "label_smoothing") if one in (*loss.arrays, *options)
           and not loss.kinds[one].frozen]
    value, gradients = loss.value_and_grad(x, w[:5, ...], LABELS, **options, wrt=tuple(wrt))
    return [value, *gradients]


def assert_close(found: list[np.ndarray], wanted: list[np.ndarray]) -> None:
    for got, want in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12 * np.max(np.abs(want)))


@pytest.mark.parametrize("name", LOSSES)
def test_they_are_weights_of_the_samples(name: str, numpy: Library) -> None:
    """Also beside those, and in the divisor of the mean."""
    own = np.linspace(0.5, 1.5, 6)
    of_samples = own * WEIGHTS[np.maximum(LABELS, 0)]
    for reduction in ("mean", "sum"):
        assert_close(all_of(name, numpy, class_weight=WEIGHTS, sample_weight=own, reduction=reduction),
                     all_of(name, numpy, sample_weight=of_samples, reduction=reduction))


@pytest.mark.parametrize("width", [2, 64])
@pytest.mark.parametrize("name", [name for name in LOSSES if "label_smoothing" in anglos.LOSSES[name].defaults])
def test_smoothed_losses_are_linear_in_them(name: str, width: int, numpy: Library, monkeypatch: pytest.MonkeyPatch
                                            ) -> None:
    """Each class adds what it has for itself; all alike are none. Golden values have one loss against its formula."""
    monkeypatch.setattr(backend_of(numpy.array(np.zeros(1))), "class_tile_width", lambda *_: width)
    options: dict[str, Any] = {"label_smoothing": np.asarray(0.2), "reduction": "sum"}
    if "scale" in anglos.LOSSES[name].defaults and name != "adacos":
        options["scale"] = np.asarray(8.0)
    parts = [all_of(name, numpy, class_weight=one, **options) for one in np.eye(5)]
    for weights in (WEIGHTS, np.ones(5)):
        wanted = [sum(weight * part for weight, part in zip(weights, some, strict=True))
                  for some in zip(*parts, strict=True)]
        assert_close(all_of(name, numpy, class_weight=weights, **options), wanted)
    assert_close(all_of(name, numpy, **options), wanted)
    by_sample = all_of(name, numpy, class_weight=WEIGHTS, **{**options, "label_smoothing": np.asarray(0.0)})
    assert_close(by_sample[:-1], all_of(name, numpy, class_weight=WEIGHTS, **{
        one: option for one, option in options.items() if one != "label_smoothing"})[:len(by_sample) - 1])


@pytest.mark.parametrize("name", ["linear_cross_entropy", "normface"])
def test_smoothed_losses_are_weighted_sums_over_labels(name: str, numpy: Library) -> None:
    """Σ_k ω_k t_ik ℓ(k), t what smoothing makes of a label, where the logits are those of any label."""
    loss: Any = anglos.LOSSES[name]
    x, w, _ = arrays(loss, numpy)
    targets = (0.8 * (LABELS[:, None] == np.arange(5)) + 0.2 / 5) * (LABELS >= 0)[:, None]
    of_labels = [loss.value_and_grad(x, w[:5], np.full(6, k), sample_weight=WEIGHTS[k] * targets[:, k], reduction="sum")
                 for k in range(5)]
    wanted = [sum(of_label[0] for of_label in of_labels),
              *map(sum, zip(*[of_label[1] for of_label in of_labels], strict=True))]
    value, gradients = loss.value_and_grad(x, w[:5], LABELS, label_smoothing=0.2, class_weight=WEIGHTS, reduction="sum")
    assert_close([value, *gradients], wanted)


def test_a_mean_of_classes_without_weight_is_0(library: Library) -> None:
    """Though smoothed labels have terms of classes with weight, whose sum stays."""
    inputs = [library.array(one) for one in (np.eye(3), np.eye(5, 3), np.asarray([1, 1, -100]))]
    options: Any = {"class_weight": library.array(WEIGHTS), "label_smoothing": 0.2}
    value, gradients = anglos.normface.value_and_grad(*inputs, **options)
    assert float(value) == float(anglos.normface(*inputs, **options)) == 0.0
    assert not any(library.numpy(gradient).any() for gradient in gradients)
    assert float(anglos.normface(*inputs, **options, reduction="sum")) > 0.0


def test_a_slope_of_nothing_is_none(numpy: Library) -> None:
    """∂ℓ/∂ε is ∞ where a bias excludes a class; a sample that is ignored adds nothing to it."""
    bias = np.asarray([0.0, 0.0, 0.0, 0.0, -np.inf])
    *_, slope = all_of("arcface", numpy, bias=bias, label_smoothing=np.asarray(0.1), class_weight=WEIGHTS)
    assert slope == np.inf


def test_an_engine_that_does_not_weigh_takes_none(numpy: Library) -> None:
    @define.prototypes(engine=define.class_means)
    def means(embeddings: define.Embeddings, labels: define.BatchClasses, /) -> define.Row:
        return define.Row(8.0)

    assert "class_weight" not in means.defaults
    with pytest.raises(TypeError, match=r"^weighted: option class_weight was class weights, which its engine does not"):
        @define.prototypes(engine=define.class_means)
        def weighted(embeddings: define.Embeddings, labels: define.BatchClasses, /,
                     **common: Unpack[define.PrototypeCommon]) -> define.Row:
            return define.Row(8.0)
