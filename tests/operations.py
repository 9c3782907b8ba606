"""What PyTorch is asked to do in a step: nothing that waits for a device, and how much that moves."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import anglos.backends.torch  # noqa: F401
from anglos.arrays.dispatch import backend_of

# Their results have a size, or a value, that the host has to know before it goes on.
_WAITING = frozenset((
    "_local_scalar_dense", "_unique", "_unique2", "allclose", "bincount", "equal", "is_nonzero", "item",
    "masked_select", "nonzero", "unique_consecutive", "unique_dim", "unique_dim_consecutive"))
_INDEXED = frozenset(("_index_put_impl_", "_unsafe_index", "_unsafe_index_put", "index", "index_put", "index_put_"))
_HOST = ("__array__", "__bool__", "__dlpack__", "cpu", "item", "numpy", "tolist")

_FREE = frozenset(("_unsafe_view", "detach", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty",
                   "resize_"))
"""What runs nothing on a device."""
_PRODUCTS = frozenset(("addmm", "baddbmm", "bmm", "mm"))
_BY_PLACE = frozenset(("gather", "index", "index_add", "index_add_", "index_put", "index_put_", "index_select",
                       "scatter", "scatter_", "scatter_add", "take"))
"""Of an array only what the places name is read or written."""


@contextmanager
def as_on_cuda() -> Iterator[None]:
    """Tensors on the CPU of which the adapter thinks that a GPU computes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend_of(torch.zeros(1)), "on_processor", lambda array: False)
        yield


@contextmanager
def watched(mode: TorchDispatchMode) -> Iterator[Any]:
    """A mode through which all operations go; if the adapter knew of it, it would change nothing in place."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("_backend", "_seen"):
            patch.setattr(import_module(f"anglos.backends.torch.{module}"), "seen_by_a_mode", lambda: False)
        with mode:
            yield mode


class NothingRead(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses all that would wait for the device, or send it numbers that are not arguments of an operation."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = _name(func)
        assert name not in _WAITING, f"{name} waits for its result"
        assert name != "lift_fresh", "a tensor was made of numbers of the host"
        if name in _INDEXED:
            for places in _tensors(args[1]):
                assert places.dtype not in (torch.bool, torch.uint8), "elements chosen by a mask are counted first"
        return func(*args, **(kwargs or {}))

    def __enter__(self) -> Any:
        self.patch = pytest.MonkeyPatch()
        for name in _HOST:
            self.patch.setattr(torch.Tensor, name, _refused(name))
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *failure: Any) -> None:
        self.patch.undo()
        super().__exit__(*failure)  # type: ignore[no-untyped-call]


def _refused(name: str) -> Any:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError(f"Tensor.{name} waits for its result")

    return refuse


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and the bytes that they read and write beside the operands and results of the products.

    Of arrays with an axis of D these are of weights, of the others with an axis of B of logits; arrays of (B, D), and
    those of one axis, are nothing beside them. Arrays expanded by strides of 0 count what they have.
    """

    def __init__(self, samples: int, dimension: int, classes: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes = samples, dimension, classes
        self.operations: Counter[str] = Counter()
        self.products = 0
        self.bytes: dict[str, Counter[str]] = {"logits": Counter(), "weights": Counter()}

    @property
    def per_logit(self) -> float:
        samples, _, classes = self.sizes
        return self.bytes["logits"].total() / (samples * classes)

    @property
    def per_weight(self) -> float:
        _, dimension, classes = self.sizes
        return self.bytes["weights"].total() / (dimension * classes)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        name = _name(func)
        if func.is_view or name in _FREE:
            return result
        self.operations[name] += 1
        if name in _PRODUCTS:
            self.products += 1
            return result
        for array, times in self._moved(func, name, args, kwargs, result):
            kind = self._kind(array)
            if kind:
                self.bytes[kind][name] += times * _extent(array) * array.element_size()
        return result

    def _moved(self, func: Any, name: str, args: Any, kwargs: Any, result: Any) -> Iterator[tuple[torch.Tensor, int]]:
        """The arrays that an operation reads or writes, and how often."""
        written = _tensors(result)
        if name in _BY_PLACE:
            yield from ((one, 2) for one in written if not func._schema.is_mutable)
            return
        yield from ((one, 1) for one in written)
        fills = name in ("copy_", "fill_", "zero_")
        arguments = [*zip(func._schema.arguments, args, strict=False),
                     *((one, kwargs[one.name]) for one in func._schema.arguments if one.name in kwargs)]
        for argument, given in arguments:
            is_out = argument.is_out or (fills and argument.is_write)
            yield from ((one, 1) for one in _tensors(given) if not is_out)

    def _kind(self, array: torch.Tensor) -> str | None:
        samples, dimension, _ = self.sizes
        axes = [size for size in array.shape if size != 1]
        if len(axes) < 2 or sorted(axes) == sorted((samples, dimension)):
            return None
        assert samples in axes or dimension in axes, f"{tuple(array.shape)} is neither of logits nor of weights"
        return "weights" if dimension in axes else "logits"


def _name(func: Any) -> str:
    return str(func.overloadpacket.__name__)


def _tensors(some: Any) -> list[torch.Tensor]:
    if isinstance(some, torch.Tensor):
        return [some]
    return [tensor for one in some for tensor in _tensors(one)] if isinstance(some, (tuple, list)) else []


def _extent(array: torch.Tensor) -> int:
    """How many numbers an array has, however often it shows them."""
    count = 1
    for size, stride in zip(array.shape, array.stride(), strict=True):
        count *= size if stride else 1
    return count
