"""What JAX refuses to those who are strict is theirs to mend, not ours: every loss under all of its strict modes."""

from collections.abc import Iterator
from contextlib import ExitStack
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import (
    CLASSES,
    DIMENSION,
    LABELS,
    array_options,
    arrays,
    float_arrays,
    gentle,
    other_options,
    references,
    takes_labels,
)

import anglos
from anglos import Loss

jax: Any = import_module("jax")
jnp: Any = jax.numpy


@pytest.fixture(autouse=True)
def strict(jax_library: Library) -> Iterator[None]:
    with ExitStack() as modes:
        modes.enter_context(jax.numpy_rank_promotion("raise"))
        modes.enter_context(jax.numpy_dtype_promotion("strict"))
        modes.enter_context(jax.debug_nans(True))
        yield


def test_eager_calls(loss: Loss[...], jax_library: Library) -> None:
    """With a row to be ignored, and its arrays in float32, of which the options are not."""
    inputs = arrays(loss, jax_library, dtype="float32")
    if takes_labels(loss):
        inputs[-1] = inputs[-1].at[1].set(-100)
    options = {name: jnp.asarray(values[-1]) for name, values in array_options(loss).items()}
    wrt = (*float_arrays(loss), *options)
    value, gradients = loss.value_and_grad(*inputs, **options, **references(loss, jax_library), wrt=wrt)
    assert np.isfinite(value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.representatives(words=True)
def test_traced_calls_to_second_order(loss: Loss[...], jax_library: Library) -> None:
    """The loss in a scan, whose gradient JAX traces when the call is long over; and under vmap."""
    inputs = arrays(loss, jax_library)
    count, options = len(float_arrays(loss)), gentle(loss)

    def scanned(floats: Any) -> Any:
        def step(total: Any, _: Any) -> Any:
            return total + loss(*floats, *inputs[count:], **options), None
        return jax.lax.scan(step, jnp.zeros(()), None, length=1)[0]

    def penalty(floats: Any) -> Any:
        return sum(jnp.sum(gradient**2) for gradient in jax.grad(scanned)(floats))

    def everything(floats: Any) -> Any:
        given = *floats, *inputs[count:]
        return (loss.plain(*given, **options), loss.value_and_grad(*given, **options), jax.grad(penalty)(floats),
                jax.vmap(jax.grad(scanned))(jax.tree.map(lambda one: one[None], floats)))

    with jax.check_tracer_leaks():
        jax.eval_shape(everything, tuple(inputs[:count]))


@pytest.mark.parametrize("name", ["arcface", "sphereface2", "supcon", "triplet", "clip"])
def test_compiled_steps_show_no_infinity(name: str, jax_library: Library) -> None:
    """An eager call may: masks hold −∞."""
    loss = anglos.LOSSES[name]
    with jax.debug_infs(True):
        jax.jit(jax.value_and_grad(loss))(*arrays(loss, jax_library))


@pytest.mark.slow
def test_all_options(loss: Loss[...], jax_library: Library) -> None:
    inputs = arrays(loss, jax_library)
    for options in other_options(loss):
        taken = inputs[:2] if options.get("symmetric") else inputs
        jax.eval_shape(jax.value_and_grad(lambda *a, options=options: loss(*a, **options)), *taken)


def test_updates_mining_and_tiles(jax_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, y = (jnp.asarray(array) for array in arrays(anglos.arcface, jax_library))
    calls = {
        "adacos_update": (None, x, w, y), "adaface_update": (20.0, jnp.asarray(100.0), x),
        "angular_triplet_update": (w, x, y, y > 0), "center_update": (w, x, y),
        "curricularface_update": (jnp.asarray(0.1), x, w, y),
        "dynamic_soft_margin_update": (jnp.ones(11, x.dtype), x, x[::-1])}
    assert set(calls) == {name for name in dir(anglos) if name.endswith("_update")}
    for name, given in calls.items():
        for labels in (y, y.at[0].set(-100)):
            update = getattr(anglos, name)
            update(*(labels if one is y else one for one in given))
            jax.jit(update)(*(labels if one is y else one for one in given))
    for name in ("batch_hard", "semi_hard", "semi_hard_or_easiest"):
        getattr(anglos.mining, name)(x, y)
    backend = import_module("anglos.backends.jax").backend
    for width in ("tile_width", "class_tile_width"):
        monkeypatch.setattr(backend, width, lambda *_: 2)
    for loss in (anglos.curricularface, anglos.inter_topk, anglos.proxy_anchor):
        jax.jit(jax.grad(loss, argnums=(0, 1)))(x, w, y)
    for pair in (anglos.supcon, anglos.triplet):
        jax.jit(jax.grad(pair))(x, y)


def test_heads(jax_library: Library) -> None:
    nnx, equinox = (pytest.importorskip(name, reason=f"{name} is not installed") for name in ("flax.nnx", "equinox"))
    x, y = jnp.ones((6, DIMENSION), "float32"), jnp.asarray(LABELS)
    of_flax: Any = import_module("anglos.backends.flax").Head
    head = of_flax(anglos.curricularface, CLASSES, DIMENSION, rngs=nnx.Rngs(0), t=nnx.Variable(jnp.asarray(0.1)))
    nnx.jit(nnx.grad(lambda head, x, y: head(x, y)))(head, x, y)
    of_equinox: Any = import_module("anglos.backends.equinox").Head
    layer = of_equinox(anglos.curricularface, CLASSES, DIMENSION, key=jax.random.key(0), scale=jnp.asarray(20.0))
    equinox.filter_jit(equinox.filter_grad(lambda layer, x, y: layer(x, y)))(layer, x, y)
    for one in (head, layer):
        assert one(x, y).shape == ()
        assert one.logits(x).shape == (6, CLASSES)


def test_class_sharded(jax_library: Library) -> None:
    class_sharded: Any = import_module("anglos.backends.jax").class_sharded
    x, w, y = arrays(anglos.arcface, jax_library)
    mesh = jax.make_mesh((CLASSES,), ("classes",), axis_types=(jax.sharding.AxisType.Auto,),
                         devices=jax.devices("cpu")[:CLASSES])
    for loss in (anglos.arcface, anglos.inter_topk):
        sharded = class_sharded(loss, mesh, "classes")
        got = jax.jit(jax.grad(lambda *a, sharded=sharded: sharded(*a, y), argnums=(0, 1)))(x, w)
        for one, gradient in zip(got, loss.value_and_grad(x, w, y)[1], strict=True):
            np.testing.assert_allclose(one, gradient, rtol=0, atol=1e-11)
