"""Are the kernels right on this card: their errors against float64, in memory full of NaN, and thrice the same bits."""

import itertools

import torch
from figures import DEVICE, DRY, SHARDS, error, found, in_time, mine
from given import BACKEND, product_of

from anglos.arrays.tile import Product
from anglos.backends.torch.triton import blocks, rest

SIZES = [(9, 40, 24)] if DRY else [(256, 5000, 128), (77, 1003, 512), (33, 700, 100), (1, 3, 40), (1024, 50_000, 512)]
WAYS = {(blocks.HALF, torch.bfloat16): 4e-6, (blocks.HALF, torch.float16): 4e-6, (blocks.TF32, torch.float32): 1e-2,
        (blocks.IEEE, torch.float32): 1e-5, (blocks.TF32X3, torch.float32): 1e-5}
"""And what a sum may be off by. Terms that are stored in bfloat16 are rounded by 2⁻⁸ beside it."""


def poisoned() -> None:
    """What is handed out next held NaN."""
    some = [torch.full((1 << (10 if DRY else 26),), torch.nan, device=DEVICE) for _ in range(0 if SHARDS else 4)]
    del some


def results(product: Product, way: str, stored: torch.dtype) -> list[torch.Tensor]:
    """Sums and terms by a given shift, by the largest logit, and shares."""
    shape = len(product.prototypes), len(product.points)
    made: list[torch.Tensor] = []
    for shift in (torch.full(shape[1:], 3.0, device=DEVICE), None):
        poisoned()
        kept = torch.full(shape, torch.nan, dtype=stored, device=DEVICE)
        tile = BACKEND.tile_of(None, product.labels, 0, kept=kept, scratch=kept, product=product)
        by, total = rest.rest_terms(tile, way, shift)
        # By one shift, whatever the largest logit was found to be.
        made += [total * (by - 3.0).exp(), kept.float() * (by - 3.0).exp()]
    poisoned()
    tile = BACKEND.tile_of(None, product.labels, 0, product=product)
    return [*made, rest.rest_shares(tile, way, torch.full(shape[1:], 5.0, device=DEVICE))]


def wanted(product: Product) -> list[torch.Tensor]:
    """The same in float64, by two lines."""
    w, x = product.prototypes.double(), product.points.double()
    z = 16.0 * (w @ x.T) * product.sample_factor.double() * product.class_factor.double()
    z[product.labels, torch.arange(len(x), device=DEVICE)] = -torch.inf
    terms, u = (z - 3.0).exp(), product.class_factor.double()
    return [terms.sum(0), terms * u, terms.sum(0), terms * u, (z - 5.0).clamp(max=0.0).exp() * u]


def kernels(size: tuple[int, int, int], way: str, dtype: torch.dtype, stored: torch.dtype) -> None:
    with found(what="kernels", way=way, type=str(dtype), stored=str(stored), size=size) as figure:
        product = product_of(size, dtype, 16.0)
        first, *others = (results(product, way, stored) for _ in range(1 if SHARDS else 3))
        if SHARDS:
            return
        errors = [error(*pair) for pair in zip(first, wanted(product), strict=True)]
        rounded = {1, 3} if stored is torch.bfloat16 else set()
        rounded |= {4} if way == blocks.HALF else set()
        figure |= {"errors": errors, "same": all(torch.equal(a, b) for other in others
                                                 for a, b in zip(first, other, strict=True))}
        figure["ok"] = figure["same"] and all(
            one <= WAYS[way, dtype] + 2.0**-7 * (place in rounded) for place, one in enumerate(errors))


for size, (way, dtype) in mine(itertools.product(SIZES, WAYS)):
    for stored in (torch.float32, torch.bfloat16):
        if in_time():
            kernels(size, way, dtype, stored)
