"""MLX: every loss is a custom_function with a vjp. What MLX lacks of the array API standard is here."""

from types import SimpleNamespace
from typing import Any

import mlx.core as mx

from anglos.arrays.backend import Backend, Computation

__all__ = ["Mlx", "backend"]


class _Namespace:
    """The standard's functions, where MLX's own take other arguments."""

    argsort = staticmethod(lambda x, axis=-1, descending=False: mx.argsort(-x if descending else x, axis))
    argmax = staticmethod(lambda x, axis: mx.argmax(x, axis) if x.size else mx.sum(x, axis).astype(mx.uint32))
    astype = staticmethod(lambda x, dtype, copy=True: x.astype(dtype))
    clip = staticmethod(lambda x, low=None, high=None: mx.clip(x, low, high))
    full_like = staticmethod(lambda x, number: mx.full(x.shape, number, x.dtype))
    ones_like = staticmethod(lambda x, dtype=None: mx.ones(x.shape, x.dtype if dtype is None else dtype))
    sort = staticmethod(lambda x, axis=-1, descending=False: -mx.sort(-x, axis) if descending else mx.sort(x, axis))

    linalg = SimpleNamespace(eigvalsh=lambda x: mx.linalg.eigvalsh(x, stream=mx.cpu))

    take = staticmethod(lambda x, indices, axis=None: mx.take(x, mx.stop_gradient(indices), axis))
    take_along_axis = staticmethod(lambda x, indices, axis=-1: mx.take_along_axis(x, mx.stop_gradient(indices), axis))

    zeros = staticmethod(lambda shape, dtype, device: mx.zeros(shape, dtype))

    @staticmethod
    def cumulative_sum(x: mx.array, axis: int, include_initial: bool = False) -> mx.array:
        return mx.cumsum(mx.concatenate([mx.zeros_like(x[..., :1]), x], axis)
                         if include_initial else x, axis)

    @staticmethod
    def nonzero(x: mx.array) -> tuple[mx.array, mx.array]:
        """Of two axes; the sort is stable."""
        count: Any = mx.sum(x).item()
        places = mx.argsort(~mx.flatten(x))[:count]
        return places // x.shape[1], places % x.shape[1]

    def __getattr__(self, name: str) -> Any:
        return getattr(mx, name)


class Mlx(Backend):
    """Arrays are lazy: values are not read. Devices are MLX's own business."""

    def asarray(self, number: float, like: mx.array, dtype: Any) -> mx.array:
        return mx.array(number, dtype)

    def arange(self, count: int, like: mx.array) -> mx.array:
        return mx.arange(count, dtype=like.dtype)

    draws_by = "a key, as mlx.core.random.key(0), or None for the default one"

    def uniform(self, rng: Any, count: int, like: mx.array) -> mx.array | None:
        is_key = rng is None or (isinstance(rng, mx.array) and rng.dtype == mx.uint32 and rng.shape == (2,))
        return mx.random.uniform(shape=(count,), dtype=mx.float32, key=rng) if is_key else None

    def device(self, array: mx.array) -> None:
        return None

    def stop_gradient(self, array: mx.array) -> mx.array:
        return mx.stop_gradient(array)

    def place(self, whole: Any, part: mx.array, first: int, count: int) -> list[mx.array]:
        return [*(whole or ()), part]

    def differentiable(self, plan: Computation, arrays: tuple[mx.array, ...]) -> tuple[mx.array, tuple[mx.array, ...]]:
        per_sample, residuals = _differentiable(plan)(arrays)
        return per_sample, tuple(map(mx.stop_gradient, residuals))


def _differentiable(plan: Computation) -> Any:
    """`plan.forward`; its gradient is a function of its own, since the residuals are constants to MLX.

    The gradient takes them as they are; the gradient of the gradient computes them again.
    """
    def gradients(g: mx.array, arrays: tuple[mx.array, ...], residuals: tuple[mx.array, ...], anew: bool = False
                  ) -> tuple[mx.array, ...]:
        found = plan.backward(g, arrays, residuals, plan.with_gradient, anew=anew)
        return tuple(found[name] if name in found else mx.zeros_like(array)
                     for name, array in zip(plan.names, arrays, strict=True))

    @mx.custom_function
    def value(arrays: tuple[mx.array, ...]) -> Any:
        return plan.forward(arrays)

    @mx.custom_function
    def gradient(g: mx.array, arrays: tuple[mx.array, ...], residuals: tuple[mx.array, ...]) -> Any:
        return gradients(g, arrays, residuals)

    @value.vjp
    def value_vjp(arrays: Any, cotangents: Any, outputs: Any) -> Any:
        return gradient(cotangents[0], arrays, tuple(map(mx.stop_gradient, outputs[1])))

    @gradient.vjp
    def gradient_vjp(inputs: Any, cotangents: Any, outputs: Any) -> Any:
        g, arrays, residuals = inputs
        _, pulled = mx.vjp(lambda g, *arrays: gradients(g, arrays, residuals, anew=True), [g, *arrays],
                           list(cotangents))
        return pulled[0], tuple(pulled[1:]), tuple(map(mx.zeros_like, residuals))

    return value


backend = Mlx("mlx", _Namespace())


def __dir__() -> list[str]:
    return list(__all__)
