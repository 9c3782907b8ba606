"""What a user gave: embeddings where they are, all else as NumPy's; refused where it is not what is wanted."""

from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import array_api_compat
import numpy as np

from anglos.arrays.backend import Backend
from anglos.arrays.dispatch import backend_of, hint
from anglos.call.kinds import describe, is_dtype, refuse
from anglos.evaluate.kinds import integer

Array = Any
_ON_HOST = ("mlx",)
"""Libraries whose arrays are not read for free, but are where a processor finds them."""
_LARGEST = int(np.iinfo(np.int64).max)
_LIBRARY = "of NumPy, PyTorch, JAX, CuPy or another library of the array API standard"


class Points(NamedTuple):
    """Embeddings in the type of the arithmetic, and where they are."""

    backend: Backend
    xp: Any
    x: Array
    """(N, D)"""
    on_host: bool
    """Whether they are NumPy's."""

    def untracked(self) -> AbstractContextManager[Any]:
        """Around all arithmetic: nothing is recorded, autocast is off, and NumPy neither warns nor raises."""
        return np.errstate(all="ignore") if self.on_host else self.backend.untracked((self.x,))


def to_numpy(array: Array) -> np.ndarray:
    """An array of any library, wherever it is, as NumPy's."""
    if hasattr(array, "detach"):  # PyTorch's
        array = array.detach().cpu()
        array = array.float() if str(array.dtype) == "torch.bfloat16" else array
    elif hasattr(array, "get") and not isinstance(array, np.ndarray):  # CuPy's
        array = array.get()
    elif type(array).__module__.startswith("array_api_strict"):
        array = array.to_device(array.__array_namespace__().Device("CPU_DEVICE"))
    return np.asarray(array)


def floats(caller: str, name: str, given: Any, dimensions: int) -> Points:
    """Finite real numbers, (N,) or (N, D): on a processor as NumPy's without a copy, in float32 at least."""
    wanted = f"an array of real floating dtype and shape {'(N,)' if dimensions == 1 else '(N, D)'}"
    backend = backend_of(given)
    if backend is None:
        refuse(caller, name, TypeError, f"was {describe(given)}{hint(given)}", f"{wanted}, {_LIBRARY}")
    _check_numbers(caller, name, given, backend)
    if (unfit := backend.spec(given).unfit) is not None:
        refuse(caller, name, TypeError, f"was {unfit[0]}", unfit[1])
    if given.ndim != dimensions or not is_dtype(backend.xp, given.dtype, "real floating"):
        refuse(caller, name, TypeError, f"was an array of dtype {given.dtype} and shape {tuple(given.shape)}", wanted)
    host = backend.readable(given) or backend.name in _ON_HOST
    xp: Any = np if host else array_api_compat.array_namespace(given)
    with backend.untracked((given,)):
        array = _wide(xp, to_numpy(given) if host else given.detach() if hasattr(given, "detach") else given)
        finite = bool(xp.all(xp.isfinite(array)))
    if not finite:
        refuse(caller, name, ValueError, "held NaN or infinity", "finite numbers")
    return Points(backend, xp, array, host)


def _check_numbers(caller: str, name: str, given: Any, backend: Backend) -> None:
    """Refuse what has a shape and no numbers."""
    if "traced" in backend.hint(type(given)):
        refuse(caller, name, TypeError, "was traced", "an array with numbers: evaluate outside of a compiled function")
    if getattr(given, "is_meta", False):  # PyTorch's
        refuse(caller, name, TypeError, "was on device meta", "an array with numbers")


def _wide(xp: Any, array: Array) -> Array:
    """In float32, or in float64 if it has as many digits or more."""
    dtype = str(array.dtype).rpartition(".")[2]
    if dtype in ("float32", "float64"):
        return array
    return xp.astype(array, xp.float32 if dtype in ("float16", "bfloat16") else xp.float64)


def host_array(caller: str, name: str, given: Any) -> np.ndarray:
    """An array of any library, or a list, as NumPy's."""
    if (backend := backend_of(given)) is not None:
        _check_numbers(caller, name, given, backend)
        return to_numpy(given)
    try:
        return np.asarray(given)
    except ValueError:
        return refuse(caller, name, TypeError, f"was {describe(given)} of parts that differ in length", "an array")


def labels_of(caller: str, name: str, given: Any, count: int) -> np.ndarray:
    """Labels as NumPy's: integers, or words."""
    array = host_array(caller, name, given)
    if array.dtype.kind == "O" and array.ndim == 1:  # as pandas has words
        given = array.tolist()
        array = host_array(caller, name, given)
    if array.dtype.kind in "US" and isinstance(given, (list, tuple)) and len(kinds := {*map(type, given)}) > 1 and not (
            all(issubclass(one, str) for one in kinds) or all(issubclass(one, bytes) for one in kinds)):
        refuse(caller, name, TypeError, f"held {' and '.join(sorted(one.__name__ for one in kinds))}",
               "integers alone, or words alone")  # of which NumPy makes words
    if array.shape != (count,) or array.dtype.kind not in "iubUS":
        refuse(caller, name, TypeError, f"was of dtype {array.dtype} and shape {array.shape}",
               f"integers or words of shape ({count},), one for every embedding")
    if array.dtype == np.uint64:
        if array.size and array.max() > _LARGEST:
            refuse(caller, name, ValueError, f"held {array.max()}", f"integers up to {_LARGEST}")
        array = array.astype(np.int64)
    return array


def marks_of(caller: str, name: str, given: Any, count: int) -> np.ndarray:
    """Truth values: bools, or numbers that are 0 or 1."""
    array = host_array(caller, name, given)
    if array.shape != (count,) or array.dtype.kind not in "biuf":
        refuse(caller, name, TypeError, f"was of dtype {array.dtype} and shape {array.shape}",
               f"bools, or 0 and 1, of shape ({count},), one for every score")
    if array.dtype.kind != "b" and not np.isin(array, (0, 1)).all():
        wrong = array[~np.isin(array, (0, 1))][0]
        refuse(caller, name, ValueError, f"held {wrong}", "bools, or 0 and 1: whether the two are of one class")
    return array.astype(bool)


def codes_of(*labels: np.ndarray, ignore_index: int | None) -> tuple[int, list[np.ndarray]]:
    """How many labels there are, and 0, 1, … for each of them in every array; −1 for those to be left out."""
    names, codes = np.unique(np.concatenate(labels), return_inverse=True)
    if ignore_index is not None and names.dtype.kind in "iu":
        left = np.flatnonzero(names == ignore_index)
        if left.size:
            codes = np.where(codes == left[0], -1, codes - (codes > left[0]))
            names = np.delete(names, left)
    return len(names), np.split(codes, np.cumsum([len(one) for one in labels])[:-1])


def kept_rows(points: Points, codes: np.ndarray) -> tuple[Points, np.ndarray]:
    """Those with a label."""
    if (codes >= 0).all():
        return points, codes
    rows = np.flatnonzero(codes >= 0)
    return points._replace(x=rows_of(points, rows)), codes[rows]


def rows_of(points: Points, rows: np.ndarray) -> Array:
    """Rows by their numbers."""
    if points.on_host:
        return points.x[rows]
    return points.xp.take(points.x, beside(points, rows), axis=0)


def beside(points: Points, numbers: np.ndarray) -> Array:
    """NumPy's numbers where the embeddings are."""
    if points.on_host:
        return numbers
    return points.xp.asarray(numbers, device=array_api_compat.device(points.x))


def same_library(caller: str, name: str, points: Points, other: Points) -> None:
    """Refuse a second set that cannot be multiplied with the first."""
    if points.on_host != other.on_host or points.xp is not other.xp:
        refuse(caller, name, TypeError, f"was {describe(other.x)}", f"an array of the library and on the device of the "
               f"other, {describe(points.x)}")
    if points.x.shape[1] != other.x.shape[1]:
        refuse(caller, name, ValueError, f"had {other.x.shape[1]} columns", f"{points.x.shape[1]}, as the other has")


class TwoSets(NamedTuple):
    """What is compared with what: one set may be both."""

    points: Points
    codes: np.ndarray
    others: Points
    other_codes: np.ndarray
    classes: int


def two_sets(caller: str, embeddings: Array, labels: Any, others: Array | None, other_labels: Any,
             ignore_index: int | None, names: tuple[str, str],
             own_names: tuple[str, str] = ("embeddings", "labels")) -> TwoSets:
    """Embeddings with numbers for their labels, and others, or themselves; −1 is for labels to be left out."""
    if ignore_index is not None:
        integer(caller, "ignore_index", ignore_index, -(2**31))
    points = floats(caller, own_names[0], embeddings, 2)
    given = [labels_of(caller, own_names[1], labels, points.x.shape[0])]
    if (others is None) is not (other_labels is None):
        refuse(caller, names[others is not None], TypeError, "was None",
               f"an array, or neither of {' and '.join(names)}")
    if others is None:
        classes, (codes,) = codes_of(*given, ignore_index=ignore_index)
        return TwoSets(points, codes, points, codes, classes)
    other = floats(caller, names[0], others, 2)
    same_library(caller, names[0], points, other)
    given.append(labels_of(caller, names[1], other_labels, other.x.shape[0]))
    words = [one.dtype.kind in "US" for one in given]
    if words[0] is not words[1] or (given[0].dtype.kind == "S") is not (given[1].dtype.kind == "S"):
        refuse(caller, names[1], TypeError, f"was of dtype {given[1].dtype}", "words as well, or integers as well: "
               f"{own_names[1]} were of dtype {given[0].dtype}")
    classes, (codes, other_codes) = codes_of(*given, ignore_index=ignore_index)
    return TwoSets(points, codes, other, other_codes, classes)


def without_ignored(sets: TwoSets) -> TwoSets:
    """Those with a label."""
    first = kept_rows(sets.points, sets.codes)
    second = first if sets.others is sets.points else kept_rows(sets.others, sets.other_codes)
    return TwoSets(*first, *second, sets.classes)
