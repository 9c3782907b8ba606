"""Whole steps of losses on this card, kept and recomputed, against float64; and which way each kind of call went."""

import itertools
import logging
from typing import Any

import torch
from figures import DEVICE, DRY, SHARDS, TYPES, error, found, in_time, mine, multiplied, say

import anglos

SIZES = [(9, 40, 24)] if DRY else [(256, 10_000, 512), (77, 10_007, 100), (64, 1003, 512)]
"""Of the first, one kernel makes ∂w; rows of the second begin anywhere; the last has few samples and classes."""
HEADS = ("arcface", "cosface", "linear_cross_entropy", "large_margin_softmax", "subcenter_arcface", "sphereface2")


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
    dtype, precision = TYPES[type_]
    loss: Any = anglos.LOSSES[name]
    x, w, labels = drawn(loss, size, dtype)
    for keep_bytes in (2**40, 0):
        with multiplied(precision), found(what="head", head=name, type=type_, keep_bytes=keep_bytes,
                                          size=size) as figure:
            value, gradients = loss.value_and_grad(x, w, labels, keep_bytes=keep_bytes)
            if SHARDS:
                continue
            exact = loss.value_and_grad(x.double(), w.double(), labels)
            figure["errors"] = [error(*pair) for pair in zip((value, *gradients), (exact[0], *exact[1]), strict=True)]


heard = Heard()
logging.getLogger("anglos").addHandler(heard)
logging.getLogger("anglos").setLevel(logging.DEBUG)
for size, type_ in mine(itertools.product(SIZES, TYPES)):
    for name in HEADS:
        if in_time():
            head(name, size, type_)
say(what="ways", words=heard.words)
