"""The array API standard as array_api_compat has it for CuPy, except for what waits for the GPU there."""

from typing import Any

import cupy
from array_api_compat.cupy import *  # noqa: F403


def clip(x: Any, min: Any = None, max: Any = None) -> Any:
    """Not by writing under a mask, of which CuPy must know how many it marks; NaN stays."""
    return cupy.clip(x, min, max)
