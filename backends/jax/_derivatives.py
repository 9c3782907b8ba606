"""Every loss is a custom_vjp, inside shard_map and on meshes with explicit axes too."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import jax

from anglos.arrays.backend import Computation


def precision() -> str:
    """Of products: what the user has set, or else that of their type.

    By itself JAX multiplies float32 in TF32 on new GPUs, and in bfloat16 on TPUs.
    """
    config: Any = jax.config
    asked: str | None = config.jax_default_matmul_precision
    return asked or "highest"


@contextmanager
def own_arithmetic(precision: str) -> Iterator[None]:
    """Around our own arithmetic: strict modes are meant for the user's, and its products have this precision."""
    with (jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"),
          jax.default_matmul_precision(precision)):
        yield


def _ours(function: Callable[..., Any]) -> Callable[..., Any]:
    """Each enters by itself, since JAX may trace any of them long after the call, as for the gradient of a scan.

    So the precision is the call's, as it is of JAX's own products and of their derivatives.
    """
    @functools.wraps(function)
    def entered(plan: Computation, precision: str, *given: Any) -> Any:
        with own_arithmetic(precision):
            return function(plan, precision, *given)
    return entered


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
@_ours
def _differentiable(plan: Computation, precision: str, arrays: tuple[jax.Array, ...]) -> Any:
    return plan.forward(arrays)


@_ours
def _forward(plan: Computation, precision: str, arrays: tuple[jax.Array, ...]) -> tuple[Any, Any]:
    per_sample, residuals = plan.forward(arrays)
    return (per_sample, residuals), (arrays, residuals)


@_ours
def _backward(plan: Computation, precision: str, saved: Any, cotangents: Any) -> tuple[tuple[Any, ...]]:
    (arrays, residuals), (g, _) = saved, cotangents
    gradients = _of_16_bits if any(map(_has_16_bits, arrays)) else _gradients
    return (gradients(plan, precision, arrays, residuals, g),)


def _gradients(plan: Computation, precision: str, arrays: tuple[jax.Array, ...], residuals: Any, g: jax.Array
               ) -> tuple[Any, ...]:
    # All of them: under jit, what is not used is not computed.
    gradients = plan.backward(g, arrays, residuals, plan.with_gradient)
    return _in_order(plan, arrays, gradients)


_of_16_bits = jax.custom_jvp(_gradients, nondiff_argnums=(0, 1))
"""The same, differentiated as those of the same numbers in float32.

Otherwise the derivative of every product is rounded to 16 bits, and little is left of what cancels later.
"""


@_of_16_bits.defjvp
def _derivatives_of_16_bits(plan: Computation, precision: str, primals: Any, tangents: Any) -> tuple[Any, Any]:
    (arrays, residuals, g), (along, _, along_g) = primals, tangents

    def gradients(arrays: tuple[Any, ...], g: Any) -> tuple[Any, ...]:
        wide = tuple(array.astype("float32") if _has_16_bits(array) else array for array in arrays)
        found = plan.backward(g, wide, residuals, plan.with_gradient, anew=True)
        return _in_order(plan, arrays, found)

    with own_arithmetic(precision):
        derivatives: tuple[Any, Any] = jax.jvp(gradients, (arrays, g), (along, along_g))
    return derivatives


def _in_order(plan: Computation, arrays: tuple[jax.Array, ...], gradients: dict[str, jax.Array]) -> tuple[Any, ...]:
    """Of every array, in its type; None of one that has none."""
    return tuple(_over_devices(gradients[name].astype(array.dtype), array) if name in gradients else None
                 for name, array in zip(plan.names, arrays, strict=True))


def _has_16_bits(array: jax.Array) -> bool:
    return jax.numpy.issubdtype(array.dtype, jax.numpy.floating) and array.dtype.itemsize == 2


def _over_devices(gradient: jax.Array, array: jax.Array) -> jax.Array:
    """Inside shard_map, the sum over the devices that have the array in common."""
    axes = tuple(_varying(gradient) - _varying(array))
    return jax.lax.psum(gradient, axes) if axes else gradient  # type: ignore[no-untyped-call]


def _varying(array: jax.Array) -> frozenset[str]:
    kind: Any = jax.typeof(array)
    axes: frozenset[str] = kind.manual_axis_type.varying if hasattr(kind, "manual_axis_type") else kind.vma
    return axes


_differentiable.defvjp(_forward, _backward)


def differentiable(plan: Computation, arrays: tuple[jax.Array, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The loss of every row, and residuals that are constants."""
    try:
        per_sample, residuals = _by_compiler(plan, arrays)
    except TypeError as error:
        if "custom_vjp" in str(error):
            error.add_note(f"Forward mode (jvp, jacfwd) goes through {plan.name}.plain.")
        raise
    return per_sample, jax.lax.stop_gradient(residuals)


def _by_compiler(plan: Computation, arrays: tuple[jax.Array, ...]) -> Any:
    """The loss of the arrays; on a mesh with explicit axes the compiler says how what it computes is sharded."""
    meshes = jax.sharding.get_abstract_mesh(), *(jax.typeof(array).sharding.mesh for array in arrays)
    mesh = next((mesh for mesh in meshes if mesh.explicit_axes), None)
    if mesh is None:
        return _differentiable(plan, precision(), arrays)
    return _over_mesh(plan, precision(), mesh, arrays)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))  # by which arrays that are on no mesh go to its devices
def _over_mesh(plan: Computation, precision: str, mesh: Any, arrays: tuple[jax.Array, ...]) -> Any:
    everywhere, computed = jax.sharding.PartitionSpec(), functools.partial(  # type: ignore[no-untyped-call]
        _differentiable, plan, precision)
    with jax.sharding.use_abstract_mesh(mesh):
        return jax.sharding.auto_axes(computed, out_sharding=everywhere)(arrays)
