"""CuPy: no automatic differentiation; gradients come from `value_and_grad`, computed on the GPU."""

import array_api_compat.cupy as xp

from anglos._backend import Backend

backend = Backend("cupy", xp)
# A GPU has no use for tiles that fit a processor's cache; 16 M elements are 64 MiB of float32.
backend.tile_elements = 1 << 24
