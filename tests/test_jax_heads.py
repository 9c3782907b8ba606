"""The layers for flax.nnx and Equinox: every loss that compares embeddings with something of each class."""

import doctest
import io
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import CLASSES, DIMENSION, array_options, arrays, gentle, has_several

import anglos
from anglos import Loss

jax: Any = import_module("jax")
jnp: Any = jax.numpy
nnx: Any = import_module("flax.nnx")
eqx: Any = import_module("equinox")

LAYERS = ["flax", "equinox"]


def head_of(layer: str, loss: Loss[...], **options: Any) -> Any:
    """A learnable option is an nnx.Param in flax, any array in Equinox."""
    if has_several(loss):
        options["prototypes_per_class"] = 3
    Head = import_module(f"anglos.backends.{layer}").Head
    if layer == "equinox":
        return Head(loss, CLASSES, DIMENSION, key=jax.random.key(0), dtype="float64", **options)
    options = {name: nnx.Param(option) if isinstance(option, jax.Array) else option for name, option in options.items()}
    return Head(loss, CLASSES, DIMENSION, rngs=nnx.Rngs(0), param_dtype="float64", **options)


def value_and_gradients(layer: str, head: Any, embeddings: Any, labels: Any) -> tuple[Any, Any, dict[str, Any]]:
    """The loss, and its gradients in weight and options."""
    if layer == "equinox":
        value, of = eqx.filter_value_and_grad(lambda head: head(embeddings, labels))(head)
        return value, of.weight, {name: one for name, one in of.options.items() if one is not None}
    value, of = nnx.value_and_grad(lambda head: head(embeddings, labels))(head)
    return value, of["weight"][...], {name: one[...] for name, one in of.get("options", {}).items()}


@pytest.mark.representatives
@pytest.mark.parametrize("name", LAYERS)
def test_head_is_the_loss_with_learnt_options(layer: Loss[...], name: str, jax_library: Library) -> None:
    embeddings, _, labels = arrays(layer, jax_library)
    learnt = {option: jnp.asarray(values[0]) for option, values in array_options(layer).items()}
    static = {option: value for option, value in gentle(layer).items() if option not in learnt}
    head = head_of(name, layer, **learnt, **static)
    assert head.weight.shape == arrays(layer, jax_library)[1].shape
    value, d_weight, d_options = value_and_gradients(name, head, embeddings, labels)
    frozen = layer.kinds[layer.arrays[1]].frozen
    wanted, gradients = layer.value_and_grad(embeddings, head.weight[...], labels, **learnt, **static,
                                             wrt=(*([] if frozen else [layer.arrays[1]]), *learnt))
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    for got, want in zip([*([] if frozen else [d_weight]), *map(d_options.get, learnt)], gradients, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-11)
    assert d_options.keys() == learnt.keys()
    assert not (frozen and d_weight.any())


def step_of(name: str, embeddings: Any, labels: Any) -> Any:
    """A step of gradient descent under jit: head -> (loss, head)."""
    def by_equinox(head: Any) -> Any:
        value, of = eqx.filter_value_and_grad(lambda head: head(embeddings, labels))(head)
        return value, eqx.apply_updates(head, jax.tree.map(lambda gradient: -0.5 * gradient, of))

    def by_flax(head: Any) -> Any:
        value, of = nnx.value_and_grad(lambda head: head(embeddings, labels))(head)
        nnx.update(head, jax.tree.map(lambda p, g: p - 0.5 * g, nnx.state(head, nnx.Param), of))
        return value

    if name == "equinox":
        return eqx.filter_jit(by_equinox)
    jitted = nnx.jit(by_flax)
    return lambda head: (jitted(head), head)


@pytest.mark.parametrize("name", LAYERS)
def test_head_trains_under_jit(name: str, jax_library: Library) -> None:
    """Its weights, and a learnable scale; it then predicts what it was taught."""
    embeddings = jnp.asarray(np.random.default_rng(0).normal(size=(CLASSES, DIMENSION)))
    labels = jnp.arange(CLASSES)
    head = head_of(name, anglos.normface, scale=jnp.asarray(5.0), label_smoothing=0.1)
    step, losses = step_of(name, embeddings, labels), []
    for _ in range(20):
        loss, head = step(head)
        losses.append(float(loss))
    assert losses[-1] < 0.7 * losses[0]
    assert float(head.options["scale"][...]) != 5.0
    np.testing.assert_array_equal(head.logits(embeddings).argmax(axis=1), labels)


@pytest.mark.parametrize("name", LAYERS)
def test_head_takes_other_options_between_steps(name: str, jax_library: Library) -> None:
    embeddings, _, labels = arrays(anglos.cosface, jax_library)
    head = head_of(name, anglos.cosface, margin=0.2, scale=6.0)
    before = head(embeddings, labels)
    if name == "equinox":
        head = eqx.tree_at(lambda head: head.options["margin"], head, 0.3)
    else:
        head.options["margin"] = 0.3
    wanted = anglos.cosface(embeddings, head.weight[...], labels, margin=0.3, scale=6.0)
    assert float(head(embeddings, labels)) == float(wanted) != float(before)


def refused(head: Any, name: str, now: str, embeddings: Any, labels: Any) -> None:
    wanted = rf"^Head\({head.loss.name}\): {name} was given when the head was made, and is now {now}; wanted it in head"
    with pytest.raises(ValueError, match=wanted):
        head(embeddings, labels)
    with pytest.raises(ValueError, match=wanted):
        head.logits(embeddings)


TAKEN: dict[str, Any] = {
    "popped": lambda head, name: head.options.pop(name),
    "deleted": lambda head, name: delattr(head.options, name),
    "replaced": lambda head, name: setattr(head, "options", type(head.options)({
        other: option for other, option in head.options.items() if other != name})),
    "popped by nnx": lambda head, name: nnx.pop(head, lambda path, variable: path[-1] == name),
}


def test_an_option_that_is_gone_is_refused(layer: Loss[...], jax_library: Library) -> None:
    """In the place of the loss's default, whatever took it away; None of a partition is no choice of that default."""
    embeddings, _, labels = arrays(layer, jax_library)
    learnt = {option: jnp.asarray(values[0]) for option, values in array_options(layer).items()}
    options = {**gentle(layer), **learnt}
    head, whole = head_of("flax", layer, **options), head_of("equinox", layer, **options)
    for name, take in zip(options, 3 * list(TAKEN.values()), strict=False):
        other = nnx.clone(head)
        (take if name in learnt else TAKEN["popped"])(other, name)
        refused(other, name, "gone", embeddings, labels)
        mask = eqx.tree_at(lambda mask, name=name: mask.options[name], jax.tree.map(lambda _: True, whole), False)
        half, _ = eqx.partition(whole, mask)
        refused(half, name, "None", embeddings, labels)
        del half.options[name]
        refused(half, name, "gone", embeddings, labels)


@pytest.mark.parametrize("take", TAKEN)
def test_an_option_is_gone_however_it_went(take: str, jax_library: Library) -> None:
    embeddings, _, labels = arrays(anglos.l2_softmax, jax_library)
    head = head_of("flax", anglos.l2_softmax, scale=jnp.asarray(6.0), bias=jnp.zeros(CLASSES))
    TAKEN[take](head, "bias")
    refused(head, "bias", "gone", embeddings, labels)


@pytest.mark.parametrize("name", LAYERS)
def test_options_are_as_they_were_given(name: str, jax_library: Library) -> None:
    """Whatever their user makes of a list or an array afterwards."""
    embeddings, _, labels = arrays(anglos.magface, jax_library)
    given, weight = [10.0, 110.0], np.ones(len(labels))
    head = head_of(name, anglos.magface, norm_range=given, sample_weight=weight)
    before = float(head(embeddings, labels))
    given[0], weight[0] = 50.0, 3.0
    assert float(head(embeddings, labels)) == before


@pytest.mark.parametrize("name", LAYERS)
def test_an_integer_is_a_float_where_one_may_come(layer: Loss[...], name: str) -> None:
    """What is loaded into its place is made of its type."""
    integers = {option: 1 for option, values in array_options(layer).items() if np.ndim(values[0]) == 0}
    head = head_of(name, layer, **integers)
    assert {option: type(head.options[option]) for option in integers} == dict.fromkeys(integers, float)


def test_equinox_loads_the_margin_that_it_saved() -> None:
    """Into a head that was made with an integer."""
    head, file = head_of("equinox", anglos.cosface, margin=0, scale=30), io.BytesIO()
    eqx.tree_serialise_leaves(file, eqx.tree_at(lambda head: head.options["margin"], head, 0.35))
    file.seek(0)
    assert eqx.tree_deserialise_leaves(file, head).options == {"margin": 0.35, "scale": 30.0}


@pytest.mark.skipif(not hasattr(nnx, "capture"), reason="flax below 0.12 does not capture")
def test_flax_captures_what_a_network_with_a_head_sows(jax_library: Library) -> None:
    """It writes into every module, options too; one that is misspelt is refused all the same."""
    embeddings, _, labels = arrays(anglos.cosface, jax_library)
    for options in ({}, {"margin": 0.2}, {"scale": jnp.asarray(20.0)}):
        head = head_of("flax", anglos.cosface, **options)
        wanted = head(embeddings, labels)
        for kinds in ((nnx.Intermediate,), (nnx.Intermediate, nnx.Perturbation)):
            assert nnx.capture(head, *kinds)(embeddings, labels)[0] == wanted == head(embeddings, labels)
        assert set(head.options) == set(options)
    head.options["margn"] = 0.3
    for call in (head, nnx.capture(head, nnx.Intermediate)):
        with pytest.raises(TypeError, match=r"^cosface: margn was given, .* \(did you mean margin\?\)$"):
            call(embeddings, labels)


@pytest.mark.parametrize("name", LAYERS)
def test_a_weight_of_none_is_refused(name: str, jax_library: Library) -> None:
    """As jax.tree.map may leave it, if the layer is a tree: flax's is from 0.12 on."""
    embeddings, _, labels = arrays(anglos.cosface, jax_library)
    head = jax.tree.map(lambda _: None, head_of(name, anglos.cosface, margin=0.2))
    if head is None:
        pytest.skip("no tree")
    if name == "equinox":
        head = eqx.tree_at(lambda head: head.options, head, {"margin": 0.2}, is_leaf=lambda one: one is None)
    for call, inputs in ((head, (embeddings, labels)), (head.logits, (embeddings,))):
        with pytest.raises(TypeError, match=r"^cosface: weights was None; wanted an array"):
            call(*inputs)


def test_an_option_is_no_attribute(layer: Loss[...], jax_library: Library) -> None:
    """It would be read by nobody. An Equinox module is frozen as it is."""
    flax, equinox = head_of("flax", layer), head_of("equinox", layer)
    for name in layer.defaults:
        wanted = rf"^Head\({layer.name}\): {name} was set as an attribute; wanted head\.options\['{name}'\]$"
        for value in (0.5, nnx.Param(np.asarray(0.5))):
            with pytest.raises(AttributeError, match=wanted):
                setattr(flax, name, value)
        with pytest.raises(AttributeError, match=f"cannot assign to field '{name}'"):
            setattr(equinox, name, 0.5)


def test_a_python_number_may_be_learnt(jax_library: Library) -> None:
    embeddings, _, labels = arrays(anglos.normface, jax_library)
    head = import_module("anglos.backends.flax").Head(
        anglos.normface, CLASSES, DIMENSION, rngs=nnx.Rngs(0), param_dtype="float64", scale=nnx.Param(6.0))
    wanted = anglos.normface(embeddings, head.weight[...], labels, scale=6.0)
    np.testing.assert_allclose(head(embeddings, labels), wanted, rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_a_scale_is_learnt_as_its_logarithm(name: str, jax_library: Library) -> None:
    """As the docstrings say; with a bound, which is the user's."""
    embeddings, _, labels = arrays(anglos.normface, jax_library)

    def value(scale: Any, head: Any) -> Any:
        return anglos.normface(embeddings, head.weight[...], labels, scale=scale)

    if name == "equinox":
        head = head_of(name, anglos.normface, scale=jnp.asarray(1.0))

        def of_logarithm(log_scale: Any) -> Any:
            return eqx.tree_at(lambda head: head.options["scale"], head, jnp.exp(log_scale))(embeddings, labels)

        got, gradient = jax.value_and_grad(of_logarithm)(jnp.asarray(2.0))
    else:
        head = head_of(name, anglos.normface)
        head.log_scale = nnx.Param(jnp.asarray(2.0))

        def loss(head: Any) -> Any:
            head.options["scale"] = jnp.exp(head.log_scale[...])
            return head(embeddings, labels)

        got, gradients = nnx.jit(nnx.value_and_grad(loss))(head)
        gradient = gradients["log_scale"][...]
    wanted, slope = jax.value_and_grad(lambda log_scale: value(jnp.exp(log_scale), head))(jnp.asarray(2.0))
    np.testing.assert_allclose([got, gradient], [wanted, slope], rtol=1e-12)


@pytest.mark.parametrize("name", LAYERS)
def test_head_refuses_and_its_example_runs(name: str, jax_library: Library) -> None:
    with pytest.raises(TypeError, match=r"^Head\(normface\): margin was given, which is none of its options"):
        head_of(name, anglos.normface, margin=0.5)
    results = doctest.testmod(import_module(f"anglos.backends.{name}"))
    assert results.attempted > 0
    assert results.failed == 0
