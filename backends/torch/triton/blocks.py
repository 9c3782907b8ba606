"""Which blocks the kernels work in: a table, so that nobody's first step tries them all.

By the device, by what is multiplied, and by the length of the vectors. They were compiled, and not yet timed: on a
Hopper they are the largest that spill no register in any form of the kernel, since blocks come through the second cache
more slowly than they are multiplied there.
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
IN_PLACE_MAPPED = Block(128, 16, 1, 4, 1)
"""The same of cosines, which take more registers."""

_AMPERE = {HALF: Block(128, 128, 64, 8, 3), TF32: Block(128, 128, 32, 8, 3), TF32X3: Block(64, 64, 32, 4, 3)}
_HOPPER = {HALF: Block(128, 256, 64, 8, 3), TF32: Block(128, 256, 32, 8, 3), TF32X3: Block(128, 128, 32, 8, 3)}
_BLACKWELL = {HALF: Block(128, 128, 64, 8, 3), TF32: Block(128, 128, 32, 8, 3), TF32X3: Block(64, 128, 32, 4, 3)}
_TERMS = {9: _HOPPER, 10: _BLACKWELL}
"""By the first number of the capability; others, some of them with less memory near their processors, as an Ampere."""


_MOST_CLASSES = {"running": 128, "softplus": 64, "mapped": 64, "both ways": 128}
"""Of what takes more registers: exponentials with the largest logit, or along both axes, and values with slopes."""
_MOST_ON_BLACKWELL = _MOST_CLASSES | {"both ways": 64}


def of_terms(capability: tuple[int, int], way: str, dimension: int, samples: int, of: str) -> Block:
    """For products with the terms of their logits, by their name; "running" are exponentials too, "mapped" cosines."""
    block = _TERMS.get(capability[0], _AMPERE)[way]
    most = _MOST_ON_BLACKWELL if capability[0] == 10 else _MOST_CLASSES
    block = block._replace(classes=min(block.classes, most.get(of, block.classes)))
    if samples <= 64:
        block = block._replace(samples=64, classes=min(block.classes, 128), warps=4)
    # The depth with which less is multiplied beyond the last column; the longer of equals.
    depths = block.depth, block.depth // 2
    return block._replace(depth=min(depths, key=lambda depth: -(-dimension // depth) * depth))
