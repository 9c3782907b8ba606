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


backend = NumPy("numpy", xp)
