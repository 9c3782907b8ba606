"""NumPy: no automatic differentiation; gradients come from `value_and_grad`."""

from typing import Any

import array_api_compat.numpy as xp
import numpy as np

from anglos._backend import Backend


class NumPy(Backend):
    """Values are always at hand."""

    def bounds(self, array: Any) -> tuple[float, float]:
        return array.min(), array.max()

    def sum_by_label(self, values: Any, labels: Any, classes: int) -> Any:
        total = np.zeros((classes, values.shape[1]), dtype=values.dtype)
        np.add.at(total, labels, values)
        return total

    def scatter(self, weights: Any, columns: Any, like: Any) -> Any:
        places = columns + like.shape[1] * np.arange(like.shape[0])[:, None]
        total = np.bincount(places.ravel(), weights.ravel(), like.size)
        return total.reshape(like.shape).astype(like.dtype, copy=False)


backend = NumPy("numpy", xp)
