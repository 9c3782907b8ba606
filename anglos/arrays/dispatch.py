"""From an array's type to its backend, without importing a framework whose arrays have not been seen."""

from importlib import import_module
from typing import Any

import array_api_compat

from anglos.arrays.backend import Backend
from anglos.arrays.library import Spec

# (top-level module, class) somewhere among an array type's bases -> module of anglos.backends
_LIBRARIES = {
    ("jaxlib", "ArrayImpl"): "jax",
    ("jax", "Array"): "jax",
    ("jax", "Tracer"): "jax",
    ("cupy", "ndarray"): "cupy",
    ("mlx", "array"): "mlx",
    ("ndonnx", "Array"): "ndonnx",
    ("numpy", "ndarray"): "numpy",
}
# The first two redefine what * and indexing mean; the third are numbers.
_REFUSED = {("numpy", "matrix"), ("numpy", "MaskedArray"), ("numpy", "generic")}

_NO_ARRAYS = frozenset((type(None), bool, int, float, str, tuple, list, dict))

_registered: dict[type, Backend] = {}  # by users
_backends: dict[type, Backend | None] = {}
_generic: dict[str, Backend] = {}


def register(array_type: type, backend: Backend | None) -> None:
    """Serve a type of arrays, and its subclasses, by a backend of your own from now on; None: as before.

    Of several types that fit, the one registered last counts. What a framework has compiled keeps its backend.

    >>> import numpy as np
    >>> from anglos.backends import numpy, register
    >>> register(np.ndarray, numpy.NumPy("numpy", numpy.backend.xp))
    >>> register(np.ndarray, None)
    """
    if not isinstance(array_type, type) or array_type is object or array_type in _NO_ARRAYS:
        raise TypeError(f"register: array_type was {array_type!r}; wanted a class of arrays, such as numpy.ndarray")
    if backend is not None and not isinstance(backend, Backend):
        raise TypeError(f"register: backend was {backend!r}; wanted an instance of a subclass of "
                        "anglos.backends.Backend, or None")
    _registered.pop(array_type, None)
    if backend is not None:
        _registered[array_type] = backend


def backend_of(array: Any) -> Backend | None:
    """The backend of an array, or None if it is not one."""
    kind = type(array)
    if kind in _NO_ARRAYS:
        return None
    if _registered:
        for array_type in reversed(_registered):
            if isinstance(array, array_type):
                return _registered[array_type]
    if kind.__name__ in ("Tensor", "Parameter") and kind.__module__ in ("torch", "torch.nn.parameter"):
        return _torch()
    try:
        return _backends[kind]
    except KeyError:
        _backends[kind] = found = _resolve(array)
        return found


def spec_of(value: Any) -> Any:
    """What an array is, without its numbers; any other value as it is."""
    owner = backend_of(value)
    return value if owner is None else owner.spec(value)


def unwrapped(value: Any) -> Any:
    """The array in what jax.numpy takes for one; anything else as it is."""
    if backend_of(value) is not None or not hasattr(type(value), "__jax_array__"):
        return value
    return unwrapped(value.__jax_array__())


def hint(value: Any) -> str:
    """What to do with a value that is refused, if there is something: where an array lies in it, say."""
    if isinstance(value, Spec):
        return value.library.hint(value.type)
    if isinstance(value, (tuple, list)):
        return next(filter(None, map(hint, value)), "")
    owner = backend_of(value)
    if owner is not None:
        return owner.hint(type(value))
    if type(value) in _NO_ARRAYS or _REFUSED.intersection(_bases(value)):
        return ""
    for name in ("value", "data", "values"):
        if backend_of(getattr(value, name, None)) is not None:
            return f" (its .{name} is an array)"
    return " (its .numpy() is an array)" if callable(getattr(value, "numpy", None)) else ""


def _torch() -> Backend:
    """By a statement, and not kept: torch.compile traces no other import, and would guard what is kept."""
    from anglos.backends.torch import backend

    found: Backend = backend
    return found


def _bases(array: Any) -> list[tuple[str, str]]:
    return [(base.__module__.partition(".")[0], base.__name__) for base in type(array).__mro__]


def _resolve(array: Any) -> Backend | None:
    bases = _bases(array)
    if _REFUSED.intersection(bases):
        return None
    for base in bases:
        if base == ("torch", "Tensor"):
            return _torch()
        if base in _LIBRARIES:
            backend: Backend = import_module(f"anglos.backends.{_LIBRARIES[base]}").backend
            return backend
    if hasattr(type(array), "__jax_array__"):  # to be unwrapped, though it may pass on what its array has
        return None
    try:
        xp = array_api_compat.array_namespace(array)
    except TypeError:
        return None
    return _generic.setdefault(xp.__name__, Backend(xp.__name__, xp))
