"""What PyTorch is asked to do in a step: nothing that waits for a device, and how much that moves."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from anglos.arrays.dispatch import backend_of
from anglos.backends.torch._kernels import Kernels

# Their results have a size, or a value, that the host has to know before it goes on.
_WAITING = frozenset((
    "_local_scalar_dense", "_unique", "_unique2", "allclose", "bincount", "equal", "is_nonzero", "item",
    "masked_select", "nonzero", "unique_consecutive", "unique_dim", "unique_dim_consecutive"))
_INDEXED = frozenset(("_index_put_impl_", "_unsafe_index", "_unsafe_index_put", "index", "index_put", "index_put_"))
_HOST = ("__array__", "__bool__", "__dlpack__", "cpu", "item", "numpy", "tolist")

_FREE = frozenset(("_unsafe_view", "detach", "empty", "empty_like", "empty_strided", "lift_fresh", "new_empty",
                   "promote_types", "resize_"))
"""What runs nothing on a device."""
_PRODUCTS = frozenset(("addmm", "baddbmm", "bmm", "mm", "terms_of_product", "weights_of_product"))
_watching: list["Traffic"] = []
_BY_PLACE = frozenset(("gather", "index", "index_add", "index_add_", "index_put", "index_put_", "index_select",
                       "scatter", "scatter_", "scatter_add", "take"))
"""Of an array only what the places name is read or written."""


@contextmanager
def as_on_cuda(*, kernels: bool = False) -> Iterator[None]:
    """Tensors on the CPU of which the adapter thinks that a GPU computes them: without Triton, or as if by kernels."""
    backend: Any = backend_of(torch.zeros(1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ANGLOS_TRITON", "0")
        patch.setattr(backend, "on_processor", lambda array: False)
        patch.setattr(backend, "on_cuda", lambda array: True)
        patch.setattr(backend, "unrounded", unrounded)
        for name, stand_in in _KERNELS.items() if kernels else ():
            if hasattr(backend, name):
                patch.setattr(backend, name, partial(stand_in, backend))
        yield


def unrounded(a: torch.Tensor, b: torch.Tensor, out: torch.Tensor | None = None) -> torch.Tensor:
    """What only CUDA has: a product of 16 bits with sums of float32."""
    if torch.compiler.is_compiling():  # where nothing is counted
        return torch.mm(a.float(), b.float(), out=out)
    with one_operation("mm"):
        return torch.mm(a.float(), b.float(), out=out)


def _rest_terms(backend: Any, tile: Any, shift: torch.Tensor | None = None) -> Any:
    """As `triton.rest` does it: without a shift what is kept takes a second pass, or a second product."""
    if tile.product is None or tile.logits is not None:
        return super(Kernels, backend).rest_terms(tile, shift)
    if shift is None:
        _one_launch(tile, stores=0)
        _operations("amax", "clamp_", "sub_", "exp_", "mul_", "sum")
    if shift is not None or tile.kept is not None:
        _one_launch(tile, stores=tile.kept is not None, again=shift is None)
        _operations("sum")
    with counted_already():
        return super(Kernels, backend).rest_terms(tile, shift)


def _rest_shares(backend: Any, tile: Any, total: torch.Tensor) -> Any:
    if tile.product is None or tile.logits is not None:
        return super(Kernels, backend).rest_shares(tile, total)
    _one_launch(tile, stores=1)
    with counted_already():
        return _rounded(tile, super(Kernels, backend).rest_shares(tile, total))


def _rest_sums(backend: Any, tile: Any, term: Any) -> Any:
    if tile.product is None or tile.logits is not None:
        return super(Kernels, backend).rest_sums(tile, term)
    _one_launch(tile, stores=tile.kept is not None)
    _operations("sum")
    with counted_already():
        return super(Kernels, backend).rest_sums(tile, term)


def _rest_slopes(backend: Any, tile: Any, term: Any, factor: Any = None) -> Any:
    """A factor is one for each sample."""
    if tile.product is None or tile.logits is not None:
        return super(Kernels, backend).rest_slopes(tile, term, factor)
    _operations(*() if factor is None else ("full", "clone"))
    _one_launch(tile, stores=1)
    with counted_already():
        return _rounded(tile, super(Kernels, backend).rest_slopes(tile, term, factor))


def _rounded(tile: Any, terms: torch.Tensor) -> torch.Tensor:
    return terms.to(torch.bfloat16) if tile.product.points.element_size() == 2 else terms


def _terms_both_ways(backend: Any, tile: Any, *shifts: Any) -> Any:
    if tile.product is None or tile.logits is not None:
        return super(Kernels, backend).terms_both_ways(tile, *shifts)
    _one_launch(tile, stores=0)
    for shift in shifts:
        _operations("sum", *() if shift is not None else ("amax", "clamp_", "sub_", "exp_", "mul_"))
    with counted_already():
        return super(Kernels, backend).terms_both_ways(tile, *shifts)


def _shares_both_ways(backend: Any, tile: Any, *by: torch.Tensor) -> Any:
    if tile.product is None or tile.logits is not None:
        return super(Kernels, backend).shares_both_ways(tile, *by)
    _one_launch(tile, stores=1)
    with counted_already():
        return _rounded(tile, super(Kernels, backend).shares_both_ways(tile, *by))


def _makes_unit(backend: Any, w: torch.Tensor, samples: int) -> bool:
    return False


def _inverse_lengths(backend: Any, x: torch.Tensor) -> Any:
    """One pass."""
    with one_operation("inverse_lengths", moved=(x,)):
        return super(Kernels, backend).inverse_lengths(x)


def _unit_rows(backend: Any, x: torch.Tensor) -> Any:
    """One pass."""
    with one_operation("unit_rows", moved=(x, x)):
        inverse = super(Kernels, backend).inverse_lengths(x)
        return x * inverse, inverse


def _scaled_rows(backend: Any, x: torch.Tensor, inverse: torch.Tensor) -> Any:
    """One pass."""
    with one_operation("scaled_rows"):
        return super(Kernels, backend).scaled_rows(x, inverse)


def _product_of_factors(backend: Any, product: Any, a: torch.Tensor, b: torch.Tensor, factor: torch.Tensor) -> Any:
    """The product; the largest factor; and a kernel that ends where that is 1."""
    found = product(a, b)
    _operations("amax", "add_short_rows")
    with counted_already():
        assert float(factor.amax()) == 1.0
    return found


def _unit_pullback(backend: Any, direction: torch.Tensor, vectors: torch.Tensor, *others: Any, **named: Any) -> Any:
    """One pass over both."""
    with one_operation("projected_in_place", moved=(direction, vectors, vectors)):
        return super(Kernels, backend).unit_pullback(direction, vectors, *others, **named)


def _label_directions(backend: Any, labels: torch.Tensor, *arrays: Any) -> Any:
    with one_operation("directions_of_labels"):
        return super(Kernels, backend).label_directions(labels, *arrays)


def _turned_cosine(backend: Any, cos: torch.Tensor, numbers: Any) -> Any:
    """As the kernel does it."""
    cos_shift, sin_shift, least_sin, start, at_start, constant, by_cos, by_turned = numbers()
    with one_operation("turned_cosine"):
        sin = ((1.0 - cos) * (1.0 + cos)).clamp(min=0.0).sqrt()
        turned, slope = cos * cos_shift - sin * sin_shift, cos_shift + cos * sin_shift / sin.clamp(min=least_sin)
        beyond = cos <= start if at_start else cos < start
        return (torch.where(beyond, constant + by_cos * cos + by_turned * turned, turned),
                torch.where(beyond, by_cos + by_turned * slope, slope))


def _direction_pullback(backend: Any, product: Any, slopes: torch.Tensor, samples: torch.Tensor,
                        direction: torch.Tensor, *others: Any, out: Any = None, **named: Any) -> Any:
    """Of 16 bits the product does it; else a pass over what cuBLAS made, and over the prototypes."""
    if direction.element_size() == 2:
        if samples.dtype is torch.float32:
            _operations("_to_copy")
        with one_operation("weights_of_product", moved=(direction,)):
            pass
    else:
        _operations("mm")
        with one_operation("projected_in_place", moved=(direction, direction, direction)):
            pass
    with counted_already():
        found = super(Kernels, backend).direction_pullback(product, slopes, samples, direction, *others, **named)
        return found.to(direction.dtype) if out is None else out.copy_(found)


def _of_partners(name: str) -> Any:
    """One pass over the rows and their partners."""
    def stand_in(backend: Any, *given: Any) -> Any:
        with one_operation("over_partners"):
            return getattr(super(Kernels, backend), name)(*given)

    return stand_in


def _one_launch(tile: Any, stores: int, again: bool = False) -> None:
    """Of 16 bits a kernel makes the products too, and what it stores is theirs; else it passes over those of cuBLAS."""
    if tile.product.points.element_size() == 2:
        return _operations("terms_of_product")
    if not again:
        _operations("mm")
    product = tile.product.prototypes.new_empty(len(tile.product.prototypes), len(tile.product.points))
    with one_operation("terms_in_place", moved=(product,) * (1 + stores)):
        return None


_KERNELS: dict[str, Any] = {
    "rest_terms": _rest_terms, "rest_shares": _rest_shares, "rest_sums": _rest_sums, "rest_slopes": _rest_slopes,
    "terms_both_ways": _terms_both_ways, "shares_both_ways": _shares_both_ways,
    "makes_unit": _makes_unit, "inverse_lengths": _inverse_lengths, "unit_rows": _unit_rows,
    "scaled_rows": _scaled_rows, "label_directions": _label_directions, "turned_cosine": _turned_cosine,
    "product_of_factors": _product_of_factors, "unit_pullback": _unit_pullback,
    "direction_pullback": _direction_pullback, "meets_partners": lambda *_: True,
    **{name: _of_partners(name) for name in ("partner_terms", "partner_sums", "partner_pull")}}


def _operations(*names: str) -> None:
    for name in names:
        with one_operation(name):
            pass


@contextmanager
def one_operation(name: str, moved: tuple[torch.Tensor, ...] = ()) -> Iterator[None]:
    """What a stand-in does, counted as the one operation that it stands for: it moves these."""
    for traffic in _watching:
        traffic.count(name, [(one, 1) for one in moved])
    with counted_already():
        yield


@contextmanager
def counted_already() -> Iterator[None]:
    """No operation here is counted."""
    watching = _watching.copy()
    _watching.clear()
    try:
        yield
    finally:
        _watching.extend(watching)


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
        if self not in _watching or func.is_view or name in _FREE:
            return result
        self.count(name, () if name in _PRODUCTS else self._moved(func, name, args, kwargs, result))
        return result

    def count(self, name: str, moved: Iterable[tuple[torch.Tensor, int]]) -> None:
        """One operation, which reads or writes arrays so many times."""
        self.operations[name] += 1
        self.products += name in _PRODUCTS
        for array, times in moved:
            if kind := self._kind(array):
                self.bytes[kind][name] += times * _extent(array) * array.element_size()

    def __enter__(self) -> Any:
        _watching.append(self)
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *failure: Any) -> None:
        _watching.remove(self)
        super().__exit__(*failure)  # type: ignore[no-untyped-call]

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
