"""Whole steps of losses on this card, of heads kept and recomputed, against float64; and which way each call went."""

import itertools
import logging
from typing import Any

import torch
from figures import DEVICE, DRY, SHARDS, TYPES, error, found, in_time, mine, multiplied, say

import anglos

SIZES = [(9, 40, 24)] if DRY else [(256, 10_000, 512), (77, 10_007, 100), (64, 1003, 512)]
"""Of the first, one kernel makes ∂w; rows of the second begin anywhere; the last has few samples and classes."""
HEADS = ("arcface", "cosface", "linear_cross_entropy", "large_margin_softmax", "subcenter_arcface", "sphereface2",
         "curricularface")
PAIRS = ("clip", "info_nce", "siglip", "dcl", "nt_xent", "supcon")


class Heard(logging.Handler):
    """Which way the adapter says that a call went."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.words.append(record.getMessage())


def drawn(loss: Any, size: tuple[int, int, int], dtype: torch.dtype) -> list[torch.Tensor]:
    """Half of the samples are near their class."""
    samples, classes, dimension = size
    several = (3,) if "K" in loss.kinds["weights"].shapes[0] else ()
    x, w = (torch.randn(shape, device=DEVICE) for shape in ((samples, dimension), (classes, *several, dimension)))
    labels = torch.randint(classes, (samples,), device=DEVICE)
    own = w[labels, 0] if several else w[labels]
    x[::2] = 0.7 * (x + own)[::2]
    return [x.to(dtype), w.to(dtype), labels]


def head(name: str, size: tuple[int, int, int], type_: str) -> None:
    """Kept, and recomputed."""
    loss: Any = anglos.LOSSES[name]
    for keep_bytes in (2**40, 0):
        step(name, drawn(loss, size, TYPES[type_][0]), type_, size=size, keep_bytes=keep_bytes)


def pairs(name: str, size: tuple[int, int, int], type_: str) -> None:
    """Of two views, which are near each other: as queries with their keys, or as samples of one class."""
    loss: Any = anglos.LOSSES[name]
    samples, _, dimension = size
    x = torch.randn(samples, dimension, device=DEVICE)
    views = [x.to(TYPES[type_][0]), (x + torch.randn_like(x)).to(TYPES[type_][0])]
    of_classes = [torch.cat(views), torch.arange(samples, device=DEVICE).repeat(2)]
    step(name, of_classes if "labels" in loss.arrays else views, type_, size=size)


def step(name: str, arrays: list[torch.Tensor], type_: str, *, size: tuple[int, int, int], **options: Any) -> None:
    """With the error of the value and of every gradient."""
    loss: Any = anglos.LOSSES[name]
    with multiplied(TYPES[type_][1]), found(what="step", of=name, type=type_, size=size, **options) as figure:
        value, gradients = loss.value_and_grad(*arrays, **options)
        if SHARDS:
            return
        exact = loss.value_and_grad(*[one.double() if one.is_floating_point() else one for one in arrays])
        both = [(value, exact[0]), *zip(*map(as_list, (gradients, exact[1])), strict=True)]
        figure["errors"] = [error(*pair) for pair in both]


def as_list(gradients: Any) -> list[torch.Tensor]:
    """Of one array, or of several."""
    return [gradients] if isinstance(gradients, torch.Tensor) else [*gradients]


heard = Heard()
logging.getLogger("anglos").addHandler(heard)
logging.getLogger("anglos").setLevel(logging.DEBUG)
for size, type_ in mine(itertools.product(SIZES, TYPES)):
    for name in HEADS:
        if in_time():
            head(name, size, type_)
    for name in PAIRS:
        if in_time():
            pairs(name, size, type_)
say(what="ways", words=heard.words)
