"""Where the prototype of a class starts: it follows from the seed and the number of the class alone."""

import torch

_BLOCK = 4096
"""So many classes are drawn at a time."""


def draw(rows: torch.Tensor, first: int, std: float, seed: int) -> torch.Tensor:
    """The rows, of the classes from the first on, filled from a normal distribution.

    A block of classes is drawn whole, and always on the processor: so class j starts the same on any number of ranks
    and on any device, and no two ranks start alike. PyTorch's own generators are left alone.
    """
    if rows.is_meta:
        return rows
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    drawn, end = torch.empty((_BLOCK, *rows.shape[1:]), dtype=dtype, device="cpu"), first + len(rows)
    with torch.no_grad():
        for start in range(first // _BLOCK * _BLOCK, end, _BLOCK):
            # Of a seed the generator uses 32 bits; the odd factor keeps the blocks of two seeds apart.
            generator = torch.Generator("cpu").manual_seed((seed * 0x9E3779B1 + start // _BLOCK) % 2**32)
            drawn.normal_(std=std, generator=generator)
            low, high = max(start, first), min(start + _BLOCK, end)
            rows[low - first:high - first] = drawn[low - start:high - start]
    return rows
