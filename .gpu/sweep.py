"""Blocks of the kernels, each beside the library's product of the same type: of the terms, and of ∂w.

Several processes, `SHARD=0/8` and so on, first compile all of them. What is fastest goes to
`backends/torch/triton/blocks.py`, if it spills no register.
"""

import itertools
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from figures import DEVICE, DRY, SHARD, SHARDS, found, in_time, milliseconds, multiplied, say

from anglos.arrays.dispatch import backend_of
from anglos.arrays.tile import Product
from anglos.backends.torch.triton import blocks, rest

PULLBACK = "anglos.backends.torch.triton.weights_pullback"
BACKEND: Any = backend_of(torch.zeros(1))
SIZES = [(16, 64, 32)] if DRY else [(1024, 50_000, 512), (256, 50_000, 512), (8192, 50_000, 512)]
WAYS = {blocks.HALF: (torch.bfloat16, "highest"), blocks.TF32: (torch.float32, "high"),
        blocks.TF32X3: (torch.float32, "highest")}

if DRY:
    torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]


def candidates(way: str) -> Iterator[Any]:
    """The likeliest first: the table's own, then others around it."""
    if DRY:
        yield blocks.Block(16, 32, 16, 4, 2)
        return
    depths = (64, 32, 128) if way == blocks.HALF else (32, 16, 64)
    for depth, warps, stages, samples, classes in itertools.product(
            depths, (8, 4), (3, 4), (128, 64, 256), (256, 128, 64)):
        numbers = 2 if way == blocks.HALF else 4
        fits = (samples + classes) * depth * numbers * stages <= 220_000
        if fits and 8192 <= samples * classes <= 32_768 and samples * classes <= 4096 * warps:
            yield blocks.Block(samples, classes, depth, warps, stages)


def mine(some: list[Any]) -> list[Any]:
    """All of them, or those that this process compiles."""
    return some[SHARD::SHARDS] if SHARDS else some


def product_of(size: tuple[int, int, int], dtype: torch.dtype) -> Product:
    samples, classes, dimension = size
    x, w = (torch.randn(rows, dimension, device=DEVICE).to(dtype) for rows in (samples, classes))
    lengths = [1.0 / torch.linalg.vector_norm(one, dim=1, dtype=torch.float32) for one in (x, w)]
    return Product(w, x, 64.0, lengths[0], lengths[1][:, None], None,
                   torch.randint(classes, (samples,), device=DEVICE), 0)


def forms(product: Product, way: str) -> dict[str, Callable[[], Any]]:
    """What is asked of the kernel: sums alone, terms that are kept, by the largest logit, and shares."""
    shape = len(product.prototypes), len(product.points)
    stored = torch.bfloat16 if product.points.dtype.itemsize == 2 else torch.float32
    room = torch.empty(shape, dtype=stored, device=DEVICE)
    zero = torch.zeros(shape[1:], device=DEVICE)

    def tile(kept: torch.Tensor | None) -> Any:
        return BACKEND.tile_of(None, product.labels, 0, kept=kept, scratch=room, product=product)

    return {"terms": lambda: rest.rest_terms(tile(room), way, zero),
            "sums": lambda: rest.rest_terms(tile(None), way, zero),
            "running": lambda: rest.rest_terms(tile(None), way, None),
            "shares": lambda: rest.rest_shares(tile(None), way, zero)}


def of_terms(size: tuple[int, int, int], way: str) -> None:
    dtype, precision = WAYS[way]
    product = product_of(size, dtype)
    with multiplied(precision):
        base = milliseconds(lambda: torch.mm(product.prototypes, product.points.T))
    say(what="torch.mm", way=way, size=size, ms=base)
    usual = blocks.of_terms
    own = None if DRY else usual(torch.cuda.get_device_capability(), way, size[2], size[0])
    for block in mine(([own] if own else []) + [one for one in candidates(way) if one != own]):
        if not in_time():
            return
        blocks.of_terms = lambda *_, block=block, **__: block
        try:
            for form, step in forms(product, way).items():
                if form in ("terms", "shares") or block == own:
                    with found(what=form, way=way, size=size, block=list(block), own=block == own) as figure:
                        figure["ms"] = milliseconds(step)
                        figure["times"] = figure["ms"] / base
        finally:
            blocks.of_terms = usual


def of_weights(size: tuple[int, int, int], way: str) -> None:
    """∂w with its projection, beside the product that it is."""
    pullback: Any = import_module(PULLBACK)
    dtype, precision = WAYS[way]
    product, usual = product_of(size, dtype), pullback.block_of
    terms = torch.rand(size[1], size[0], device=DEVICE).to(dtype)
    with multiplied(precision):
        base = milliseconds(lambda: torch.mm(terms, product.points))
    say(what="torch.mm of ∂w", way=way, size=size, ms=base)
    own, width = usual(way, size[2])
    others = [own._replace(classes=classes, depth=depth, warps=warps, stages=stages) for depth, warps, stages, classes
              in itertools.product((64, 32), (8, 4), (3, 2), (32, 64, 16)) if not DRY]
    for block in mine([own, *(one for one in others if one != own)]):
        if not in_time():
            return
        pullback.block_of = lambda *_, block=block: (block, width)
        try:
            with found(what="∂w", way=way, size=size, block=list(block), own=block == own) as figure:
                figure["ms"] = milliseconds(lambda: pullback.direction_pullback(
                    BACKEND.product, terms, product.points, product.prototypes, product.class_factor, None, way, None))
                figure["times"] = figure["ms"] / base
        finally:
            pullback.block_of = usual


for size in SIZES[:1] if SHARDS else SIZES:  # one size compiles what all have
    for way in WAYS:
        if in_time() and (size == SIZES[0] or way == blocks.HALF):
            of_terms(size, way)
    if size == SIZES[0] and find_spec(PULLBACK):
        for way in (blocks.HALF, blocks.TF32):
            of_weights(size, way)
