"""How JAX multiplies: read from what is lowered for GPUs and TPUs, on a machine that has neither."""

import re
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from libraries import Library
from samples import arrays, float_arrays, gentle

import anglos
from anglos import Loss
from anglos.engines import rowwise

jax: Any = import_module("jax")
jnp: Any = jax.numpy
P: Any = jax.sharding.PartitionSpec

ASKED = {"tensorfloat32": "HIGH", "bfloat16": "DEFAULT", "BF16_BF16_F32_X3": "3 operations"}
"""What a user may ask for, and how that is written in what is lowered."""


def products(function: Callable[..., Any], *inputs: Any) -> list[str]:
    """Of every matrix product that these would be given, how precise it is asked to be."""
    module = jax.jit(function).trace(*inputs).lower(lowering_platforms=("cuda", "tpu"))
    return [precision(line) for line in module.as_text().splitlines() if "stablehlo.dot" in line]


def types(traced: Any, platform: str) -> list[str]:
    """Of every product the types of its factors and of its sums, and how precise those of float32 are."""
    lines = [line for line in traced.lower(lowering_platforms=(platform,)).as_text().splitlines()
             if "stablehlo.dot" in line]
    return [" ".join([*re.findall(r"x(b?f\d+)>", line), *[precision(line)] * ("xf32>, " in line)]) for line in lines]


def precision(line: str) -> str:
    algorithm = re.search(r"num_primitive_operations = (\d)", line)
    if algorithm:
        return f"{algorithm[1]} operations"
    both = re.search(r"precision = \[(\w+), (\w+)\]", line)
    assert both, line
    assert both[1] == both[2], line
    return both[1]


def step(loss: Loss[...], **options: Any) -> Callable[..., Any]:
    places = tuple(range(len(float_arrays(loss))))
    differentiated: Callable[..., Any] = jax.value_and_grad(lambda *inputs: loss(*inputs, **options), argnums=places)
    return differentiated


def without_products(loss: Loss[...]) -> bool:
    return (loss.engine is rowwise and loss is not anglos.ham_softmax) or loss is anglos.cosent


def test_products_of_float32_are_of_float32(loss: Loss[...], jax_library: Library) -> None:
    """Of the loss, of its gradient and of `plain`: by itself JAX would say DEFAULT."""
    found = products(lambda *a: (step(loss)(*a), loss.plain(*a)), *arrays(loss, jax_library, dtype="float32"))
    assert set(found) == (set() if without_products(loss) else {"HIGHEST"})


@pytest.mark.parametrize("name", ["arcface", "linear_cross_entropy", "angular", "clip"])
def test_products_of_second_derivatives(name: str, jax_library: Library) -> None:
    loss = anglos.LOSSES[name]
    inputs, options = arrays(loss, jax_library, dtype="float32"), gentle(loss)
    places = tuple(range(len(float_arrays(loss))))
    for gradients in (lambda *a: step(loss, **options)(*a)[1], lambda *a: loss.value_and_grad(*a, **options)[1]):
        def penalty(*inputs: Any, gradients: Any = gradients) -> Any:
            return sum(jnp.sum(gradient**2) for gradient in gradients(*inputs))
        assert set(products(jax.grad(penalty, argnums=places), *inputs)) == {"HIGHEST"}


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("name", ["arcface", "linear_cross_entropy", "supcon", "angular"])
def test_what_the_user_asks_for_is_done(name: str, asked: str, jax_library: Library) -> None:
    loss = anglos.LOSSES[name]
    inputs = arrays(loss, jax_library, dtype="float32")
    with jax.default_matmul_precision(asked):
        assert set(products(lambda *a: (step(loss)(*a), loss.value_and_grad(*a)), *inputs)) == {ASKED[asked]}


def test_the_users_setting_is_honoured(jax_library: Library) -> None:
    inputs = arrays(anglos.arcface, jax_library, dtype="float32")
    jax.config.update("jax_default_matmul_precision", "tensorfloat32")
    try:
        assert set(products(step(anglos.arcface), *inputs)) == {"HIGH"}
        with jax.default_matmul_precision("highest"):
            assert set(products(step(anglos.arcface), *inputs)) == {"HIGHEST"}
    finally:
        jax.config.update("jax_default_matmul_precision", None)
    assert set(products(step(anglos.arcface), *inputs)) == {"HIGHEST"}


def test_a_gradient_has_the_precision_of_its_call(jax_library: Library) -> None:
    """As of JAX's own products, wherever the gradient is traced."""
    x, w, y = arrays(anglos.arcface, jax_library, dtype="float32")
    for call, backward, wanted in (("tensorfloat32", None, "HIGH"), (None, "tensorfloat32", "HIGHEST")):
        def gradient(x: Any, w: Any, call: Any = call, backward: Any = backward) -> Any:
            with jax.default_matmul_precision(call):
                value, pullback = jax.vjp(lambda x, w: anglos.arcface(x, w, y), x, w)
            with jax.default_matmul_precision(backward):
                return pullback(value)
        assert set(products(gradient, x, w)) == {wanted}


def test_the_users_own_products_are_left_alone(jax_library: Library) -> None:
    x, w, y = arrays(anglos.arcface, jax_library, dtype="float32")

    def of_loss(x: Any) -> Any:
        return anglos.arcface(x, w, y) + anglos.arcface.plain(x, w, y)

    def gradient(of: Any) -> Any:
        return jax.grad(lambda turn, x: of(x @ turn), argnums=(0, 1))

    turn = jnp.eye(x.shape[1], dtype="float32")
    own, ours = products(gradient(lambda x: jnp.sum(x**2)), turn, x), products(jax.grad(of_loss), x)
    assert set(own) == {"DEFAULT"}
    assert set(ours) == {"HIGHEST"}
    assert Counter(products(gradient(of_loss), turn, x)) == Counter([*own, *ours])


def test_updates_mining_and_logits(jax_library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    x, w, y = arrays(anglos.arcface, jax_library, dtype="float32")
    logits_of: Any = import_module("anglos.training.heads").logits_of
    calls: dict[str, Callable[..., Any]] = {
        "adacos": lambda x, w: anglos.adacos_update(None, x, w, y),
        "curricularface": lambda x, w: anglos.curricularface_update(jnp.asarray(0.1, "float32"), x, w, y),
        "angular_triplet": lambda x, w: anglos.angular_triplet_update(w, x, y, y > 0),
        "logits": lambda x, w: logits_of(anglos.arcface, x, w, {})}
    found = {name: set(products(call, x, w)) for name, call in calls.items()}
    assert found["adacos"] == found["logits"] == {"HIGHEST"}
    assert all(precision <= {"HIGHEST"} for precision in found.values())
    kind, seen = import_module("anglos.backends.jax").Jax, []
    product = kind.product

    def watched(self: Any, *given: Any, **others: Any) -> Any:
        seen.append(jax.config.jax_default_matmul_precision)
        return product(self, *given, **others)

    monkeypatch.setattr(kind, "product", watched)
    anglos.mining.batch_hard(x, y)  # whose result has no shape that could be traced
    assert seen == ["highest"]


def test_products_on_meshes(jax_library: Library) -> None:
    """Of sharded classes and batches, whole and inside shard_map, in a ring, and on axes that are explicit."""
    adapter = import_module("anglos.backends.jax")
    devices = jax.devices("cpu")[:2]
    mesh, explicit = (jax.make_mesh((2,), ("one",), axis_types=(kind,), devices=devices)
                      for kind in (jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit))
    heads, pairs = (arrays(loss, jax_library, dtype="float32") for loss in (anglos.arcface, anglos.supcon))
    towers = arrays(anglos.clip, jax_library, dtype="float32")
    supcon = adapter.batch_sharded(anglos.supcon, mesh, "one")

    def own(*inputs: Any) -> Any:
        return jax.lax.pmean(supcon(*inputs), "one")

    placed = jax.device_put(pairs, jax.sharding.NamedSharding(explicit, P("one")))
    for loss, inputs in (
            (adapter.class_sharded(anglos.arcface, mesh, "one"), heads), (supcon, pairs), (anglos.supcon, placed),
            (adapter.batch_sharded(anglos.clip, mesh, "one", ring=True), towers),
            (jax.shard_map(own, mesh=mesh, in_specs=P("one"), out_specs=P()), pairs)):
        assert set(products(jax.value_and_grad(loss), *inputs)) == {"HIGHEST"}


SHORT = {"bfloat16": "bf16 bf16 f32", "float16": "f32 f32 f32 HIGH"}
"""Types of 16 bits, and the products of their gradients."""


def shortened(loss: Loss[...], library: Library, dtype: str) -> tuple[list[Any], list[Any]]:
    """Inputs in a type of 16 bits, and the same numbers in float64."""
    given = [array.astype(dtype) if array.dtype == "float64" else array for array in arrays(loss, library)]
    return given, [array.astype("float64") if array.dtype == dtype else array for array in given]


@pytest.mark.parametrize("dtype", SHORT)
def test_inputs_of_16_bits_are_multiplied_as_they_are(prototype: Loss[...], dtype: str, jax_library: Library) -> None:
    """With sums of float32; slopes beside them have the range of float32. A CPU multiplies those as float32."""
    inputs, _ = shortened(prototype, jax_library, dtype)
    traced, short = jax.jit(step(prototype)).trace(*inputs), dtype.replace("float", "f")
    as_is = f"{short} {short} f32"
    for platform, slopes in (("cuda", SHORT[dtype]), ("tpu", SHORT[dtype]), ("cpu", "f32 f32 f32 HIGHEST")):
        found = Counter(types(traced, platform))
        assert set(found) == {as_is, slopes}
        if as_is != slopes:
            assert found[slopes] == len(float_arrays(prototype))


def test_numbers_of_16_bits_as_on_a_gpu(prototype: Loss[...], jax_library: Library, monkeypatch: pytest.MonkeyPatch
                                        ) -> None:
    """The loss is exact. Gradients are off by what rounds them at the end, and as much again by the rounded slopes."""
    def elsewhere(*given: Any, cpu: Any, default: Any) -> Any:
        return default(*given)

    monkeypatch.setattr(jax.lax, "platform_dependent", elsewhere)
    inputs, exact = shortened(prototype, jax_library, "bfloat16")
    value, gradients = jax.jit(step(prototype))(*inputs)
    wanted, slopes = prototype.value_and_grad(*map(np.asarray, exact))
    assert value.dtype == "float32"
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    for got, want in zip(gradients, slopes, strict=True):
        assert got.dtype == "bfloat16"
        assert np.linalg.norm(got.astype("float64") - want) <= 2 * 2.0**-8 * np.linalg.norm(want)


@pytest.mark.parametrize("name", ["arcface", "linear_cross_entropy", "sphereface2", "subcenter_arcface"])
def test_the_loss_of_float16_is_exact(name: str, jax_library: Library) -> None:
    """Which goes the way of bfloat16, but for its slopes."""
    inputs, exact = shortened(anglos.LOSSES[name], jax_library, "float16")
    np.testing.assert_allclose(jax.jit(anglos.LOSSES[name])(*inputs), anglos.LOSSES[name](*map(np.asarray, exact)),
                               rtol=1e-6)


@pytest.mark.representatives(words=True)
@pytest.mark.slow
def test_second_derivatives_of_16_bits(loss: Loss[...], jax_library: Library) -> None:
    """Off by what rounds them at the end: no product on the way is."""
    if without_products(loss):
        pytest.skip("makes no products")
    inputs, exact = shortened(loss, jax_library, "bfloat16")
    places = [place for place, array in enumerate(inputs) if array.dtype == "bfloat16"]
    along = [np.cos(np.arange(inputs[place].size)).reshape(inputs[place].shape) for place in places]

    def derivative(*given: Any) -> Any:
        gradients = jax.grad(lambda *given: loss(*given, **gentle(loss)), argnums=places)(*given)
        return sum(jnp.sum(gradient.astype("float64") * one) for gradient, one in zip(gradients, along, strict=True))

    found, wanted = (jax.jit(jax.grad(derivative, argnums=places))(*given) for given in (inputs, exact))
    for got, want in zip(found, wanted, strict=True):
        assert got.dtype == "bfloat16"
        assert np.linalg.norm(got.astype("float64") - want) <= 1.5 * 2.0**-8 * np.linalg.norm(want)
