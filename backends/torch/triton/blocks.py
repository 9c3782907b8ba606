"""Which blocks the kernels work in: a table, so that nobody's first step tries them all.

By the device, by what is multiplied, and by the length of the vectors. None of them spills a register, in no form of
the kernels. They were compiled, and not yet timed: on a Hopper the largest that do not spill, since there the blocks
come through the second cache more slowly than they are multiplied.
"""

from typing import NamedTuple

HALF, TF32, TF32X3, IEEE = "half", "tf32", "tf32x3", "ieee"
"""How products are made: of numbers of 16 bits; of float32 as TF32, or as a sum of such; or by the library."""

PRECISIONS = {HALF: "ieee", TF32: "tf32", TF32X3: "tf32x3"}
"""What the multiplication is asked for."""


class Block(NamedTuple):
    """So many samples and classes, so many columns of both at a time; warps, and how many columns are on their way."""

    samples: int
    classes: int
    depth: int
    warps: int
    stages: int


IN_PLACE = Block(128, 32, 1, 4, 1)
"""Where products are only read: along the samples, which are next to each other."""

_TERMS = {
    (8, HALF): Block(128, 128, 64, 8, 3),
    (8, TF32): Block(128, 128, 32, 8, 3),
    (8, TF32X3): Block(64, 64, 32, 4, 3),
    (9, HALF): Block(128, 256, 64, 8, 3),
    (9, TF32): Block(128, 256, 32, 8, 3),
    (9, TF32X3): Block(128, 128, 32, 8, 3),
}
_NEWEST = max(major for major, _ in _TERMS)


def of_terms(capability: tuple[int, int], way: str, dimension: int, samples: int, running: bool = False) -> Block:
    """For products with the terms of their logits; running: with the largest logit too."""
    block = _TERMS[min(capability[0], _NEWEST), way]
    if running:  # which takes more registers
        block = block._replace(classes=min(block.classes, 128))
    if samples <= 64:
        block = block._replace(samples=64, classes=min(block.classes, 128), warps=4)
    # The depth that is longest of those with which least is multiplied beyond the last column.
    depths = [depth for depth in (block.depth, block.depth // 2, 16) if depth >= 16]
    return block._replace(depth=min(depths, key=lambda depth: -(-dimension // depth) * depth))
