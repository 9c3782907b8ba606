"""NumPy: no automatic differentiation; gradients come from `value_and_grad`."""

from typing import Any

import array_api_compat.numpy as xp

from anglos._backend import Backend


class NumPy(Backend):
    """Values are always at hand."""

    def bounds(self, array: Any) -> tuple[float, float]:
        return array.min(), array.max()


backend = NumPy("numpy", xp)
