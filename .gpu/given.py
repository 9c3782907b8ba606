"""What the kernels are given by the scripts here, and what is asked of them."""

from collections.abc import Callable
from typing import Any

import torch
from figures import DEVICE, DRY

from anglos.arrays.dispatch import backend_of
from anglos.arrays.tile import Product
from anglos.backends.torch.triton import blocks, rest, weights_pullback

BACKEND: Any = backend_of(torch.zeros(1))

if DRY:
    torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]
    weights_pullback.processors = lambda _: 132


def product_of(size: tuple[int, int, int], dtype: torch.dtype, scale: float) -> Product:
    """Logits of a cosine times the scale, by raw vectors."""
    samples, classes, dimension = size
    x, w = (torch.randn(rows, dimension, device=DEVICE).to(dtype) for rows in (samples, classes))
    lengths = [1.0 / torch.linalg.vector_norm(one, dim=1, dtype=torch.float32) for one in (x, w)]
    labels = torch.randint(classes, (samples,), device=DEVICE)
    return Product(w, x, scale, lengths[0], lengths[1][:, None], None, labels, 0)


def forms(product: Product, way: str) -> dict[str, Callable[[], Any]]:
    """What is asked of the kernel: terms that are kept, sums alone, sums by the largest logit, and shares."""
    shape = len(product.prototypes), len(product.points)
    room = torch.empty(shape, dtype=torch.bfloat16 if way == blocks.HALF else torch.float32, device=DEVICE)
    zero = torch.zeros(shape[1:], device=DEVICE)

    def tile(kept: torch.Tensor | None) -> Any:
        return BACKEND.tile_of(None, product.labels, 0, kept=kept, scratch=room, product=product)

    return {"terms": lambda: rest.rest_terms(tile(room), way, zero),
            "sums": lambda: rest.rest_terms(tile(None), way, zero),
            "running": lambda: rest.rest_terms(tile(None), way, None),
            "shares": lambda: rest.rest_shares(tile(None), way, zero)}


def weights_of(product: Product, way: str) -> Callable[[], Any]:
    """∂w with its projection, in the way that the table takes."""
    shape = len(product.prototypes), len(product.points)
    terms = torch.rand(shape, device=DEVICE).to(product.points.dtype)
    by_library = BACKEND.bfloat16_product if way == blocks.HALF else BACKEND.product
    return lambda: weights_pullback.direction_pullback(
        by_library, terms, product.points, product.prototypes, product.class_factor, None, way, None)
