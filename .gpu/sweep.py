"""Blocks of the kernels, each beside the library's product of the same type: of the terms, and of ∂w.

Several processes, `SHARD=0/8` and so on, first compile all of them. What is fastest goes to
`backends/torch/triton/blocks.py` and `weights_pullback.py`, if it spills no register.
"""

import itertools
from collections.abc import Iterable, Iterator
from math import inf
from typing import Any
from unittest.mock import patch

import torch
from figures import DRY, SHARDS, found, in_time, milliseconds, mine, multiplied
from given import forms, product_of, weights_of

from anglos.backends.torch.triton import blocks
from anglos.backends.torch.triton import weights_pullback as pullback

Size = tuple[int, int, int]
WAYS = {blocks.HALF: (torch.bfloat16, "highest"), blocks.TF32: (torch.float32, "high"),
        blocks.TF32X3: (torch.float32, "highest")}
SIZES = [(16, 64, 32)] * 2 if DRY else [(1024, 50_000, 512), (256, 50_000, 512), (8192, 50_000, 512), (8192, 1000, 512)]
"""One compiles what all have; the fastest blocks of the first are timed for the others."""
WEIGHTS = [(16, 64, 32)] if DRY else [(1024, 50_000, 512), (8192, 1000, 512), (1024, 50_000, 256),
                                          (1024, 50_000, 128)]
MOST = 2 if DRY else 12


def candidates(way: str) -> Iterator[Any]:
    """The likeliest first."""
    depths = (64, 32, 128) if way == blocks.HALF else (32, 16, 64)
    for depth, warps, stages, samples, classes in itertools.product(
            depths, (8, 4), (3, 4), (128, 64, 256), (256, 128, 64)):
        numbers = 2 if way == blocks.HALF else 4
        fits = (samples + classes) * depth * numbers * stages <= 220_000
        if fits and 8192 <= samples * classes <= 32_768 and samples * classes <= 4096 * warps:
            yield blocks.Block(samples, classes, depth, warps, stages)


def of_weights_too(own: Any) -> list[Any]:
    """Others than the table's."""
    some = [own._replace(classes=classes, depth=depth, warps=warps, stages=stages) for depth, warps, stages, classes
            in itertools.product((64, 32, 16), (8, 4), (3, 2), (64, 32))]
    return [one for one in some if one != own]


def few(some: Iterable[Any]) -> list[Any]:
    """All are made, and in a rehearsal only the first are tried."""
    return list(some)[:MOST if DRY else None]


def of_terms(size: Size, way: str, others: list[Any]) -> list[Any]:
    """By the table, and then by others, of which the fastest come back."""
    dtype, precision = WAYS[way]
    product = product_of(size, dtype, 64.0)
    taken = dict.fromkeys(others, inf)
    with multiplied(precision), found(what="torch.mm", way=way, size=size) as library:
        library["ms"] = milliseconds(lambda: torch.mm(product.prototypes, product.points.T))
    own = blocks.of_terms(torch.cuda.get_device_capability(), way, size[2], size[0], "exponential")
    steps = forms(product, way)
    for form in mine(steps):
        with found(what=form, way=way, size=size, block=list(own), own=True) as figure:
            figure["ms"] = milliseconds(steps[form])
            figure["times"] = figure["ms"] / library["ms"]
    for block in mine(others):
        if not in_time():
            break
        with patch.object(blocks, "of_terms", lambda *_, block=block: block):
            for form in ("terms", "shares"):
                with found(what=form, way=way, size=size, block=list(block), own=False) as figure:
                    figure["ms"] = milliseconds(steps[form])
                    figure["times"] = figure["ms"] / library["ms"]
                    taken[block] = figure["ms"] if form == "shares" else inf
    return sorted(others, key=taken.__getitem__)[:MOST]


def of_weights(size: Size, way: str, with_others: bool) -> None:
    """∂w with its projection: by one kernel, and by one after the library's product."""
    dtype, precision = WAYS[way]
    product = product_of(size, dtype, 64.0)
    step, (own, width) = weights_of(product, way), pullback.block_of(way, size[2])
    about: dict[str, Any] = {"way": way, "size": size,
                             "fuses": pullback.fuses(way, product.labels[None], product.prototypes)}
    with multiplied(precision):
        with patch.object(pullback, "fuses", lambda *_: False), found(what="∂w by the library", **about) as library:
            library["ms"] = milliseconds(step)
        for block in mine([own, *few(of_weights_too(own) if with_others else [])]):
            if not in_time():
                return
            with (patch.object(pullback, "fuses", lambda *_: True),
                  patch.object(pullback, "block_of", lambda *_, block=block: (block, width)),
                  found(what="∂w", block=list(block), own=block == own, **about) as figure):
                figure["ms"] = milliseconds(step)
                figure["times"] = figure["ms"] / library["ms"]


for way in WAYS:
    if not in_time():
        break
    fastest = of_terms(SIZES[0], way, few(candidates(way)))
    for size in WEIGHTS if way != blocks.TF32X3 else ():  # for which no loss asks yet
        of_weights(size, way, size == WEIGHTS[0])
    for size in SIZES[1:] if way == blocks.HALF and not SHARDS else ():
        of_terms(size, way, fastest)
