"""The array API standard as NumPy has it, without wrappers."""

import functools
from typing import Any

import array_api_compat.numpy as xp
import numpy as np


class Namespace:
    """The standard's functions; those that NumPy or array-api-compat only wraps, without the wrapper."""

    @staticmethod
    def sum(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
        """Down a tall array in two steps: NumPy adds its rows one by one, and 100,000 of them lose five digits."""
        if axis == 0 and not keepdims and len(x) > 512 and x.flags.c_contiguous:
            blocks = len(x) // 256
            sums = np.add.reduce(x[:256 * blocks].reshape(blocks, 256, *x.shape[1:]), axis=1)
            return np.add.reduce(sums, axis=0) + np.add.reduce(x[256 * blocks:], axis=0)
        return np.add.reduce(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def max(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
        """Over all numbers of a small array argmax is faster than a reduction."""
        return x.flat[x.argmax()] if axis is None else np.maximum.reduce(x, axis=axis, keepdims=keepdims)

    @staticmethod
    def min(x: Any, axis: int | None = None, keepdims: Any = False) -> Any:
        return x.flat[x.argmin()] if axis is None else np.minimum.reduce(x, axis=axis, keepdims=keepdims)

    take, reshape = staticmethod(np.ndarray.take), staticmethod(np.ndarray.reshape)
    astype = staticmethod(lambda x, dtype, copy=True: x.astype(dtype, copy=copy))
    isdtype = staticmethod(functools.cache(np.isdtype))
    finfo, empty, arange, zeros = (staticmethod(one) for one in (np.finfo, np.empty, np.arange, np.zeros))

    @staticmethod
    def full_like(x: Any, number: float) -> Any:
        full = np.empty(x.shape, x.dtype)
        full.fill(number)
        return full

    def __getattr__(self, name: str) -> Any:
        found = getattr(xp, name)
        setattr(self, name, found)
        return found
