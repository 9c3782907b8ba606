"""CuPy: no automatic differentiation; gradients come from `value_and_grad`, computed on the GPU."""

import array_api_compat.cupy as xp

from anglos._backend import Backend


class CuPy(Backend):
    """A GPU has no use for tiles that fit a processor's cache; 16 M elements are 64 MiB of float32."""

    tile_elements = 1 << 24

    def class_tile_width(self, rows: int, dimension: int, classes: int, keep: bool) -> int:
        return max(1, self.tile_elements // max(rows, dimension))


backend = CuPy("cupy", xp)
