"""Are the kernels right on this card: their errors against float64, in memory full of NaN, and thrice the same bits."""

import logging
from typing import Any

import torch
from figures import DEVICE, DRY, found, in_time, multiplied, say

import anglos
from anglos.arrays.dispatch import backend_of
from anglos.arrays.tile import Product
from anglos.backends.torch.triton import blocks, rest

BACKEND: Any = backend_of(torch.zeros(1))
SIZES = [(9, 40, 24)] if DRY else [(77, 1003, 512), (256, 5000, 128), (33, 700, 96), (1, 3, 40), (1024, 50_000, 512)]
WAYS = {(blocks.HALF, torch.bfloat16): 4e-6, (blocks.HALF, torch.float16): 4e-6, (blocks.TF32, torch.float32): 1e-2,
        (blocks.TF32X3, torch.float32): 1e-5, (blocks.IEEE, torch.float32): 1e-5}
"""And what a sum may be off by. Terms that are stored in bfloat16 are rounded by 2⁻⁸ beside it."""
HEADS = ("arcface", "cosface", "linear_cross_entropy", "large_margin_softmax", "subcenter_arcface", "sphereface2")
TYPES = {"bfloat16": (torch.bfloat16, "highest"), "float16": (torch.float16, "highest"),
         "tf32": (torch.float32, "high"), "float32": (torch.float32, "highest")}

if DRY:
    torch.cuda.get_device_capability = lambda *_: (9, 0)  # type: ignore[assignment]
    blocks.of_terms = lambda *_, **__: blocks.Block(16, 32, 16, 4, 2)


def poisoned() -> None:
    """What is handed out next held NaN."""
    some = [torch.full((1 << (10 if DRY else 26),), torch.nan, device=DEVICE) for _ in range(4)]
    del some


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """NaN where one is."""
    return float((got.double() - wanted).norm() / wanted.norm())


def product_of(size: tuple[int, int, int], dtype: torch.dtype) -> Product:
    """Logits of a cosine times 16, by raw vectors."""
    samples, classes, dimension = size
    x, w = (torch.randn(rows, dimension, device=DEVICE).to(dtype) for rows in (samples, classes))
    lengths = [1.0 / torch.linalg.vector_norm(one, dim=1, dtype=torch.float32) for one in (x, w)]
    labels = torch.randint(classes, (samples,), device=DEVICE)
    return Product(w, x, 16.0, lengths[0], lengths[1][:, None], None, labels, 0)


def results(product: Product, way: str, stored: torch.dtype) -> list[torch.Tensor]:
    """Sums and terms by a given shift, by the largest logit, and shares."""
    shape = len(product.prototypes), len(product.points)
    found_: list[torch.Tensor] = []
    for shift in (torch.full(shape[1:], 3.0, device=DEVICE), None):
        poisoned()
        kept = torch.full(shape, torch.nan, dtype=stored, device=DEVICE)
        tile = BACKEND.tile_of(None, product.labels, 0, kept=kept, scratch=kept, product=product)
        by, total = rest.rest_terms(tile, way, shift)
        # By one shift, whatever the largest logit was found to be.
        found_ += [total * (by - 3.0).exp(), kept.float() * (by - 3.0).exp()]
    poisoned()
    tile = BACKEND.tile_of(None, product.labels, 0, product=product)
    return [*found_, rest.rest_shares(tile, way, torch.full(shape[1:], 5.0, device=DEVICE))]


def wanted(product: Product) -> list[torch.Tensor]:
    """The same in float64, by two lines."""
    w, x = product.prototypes.double(), product.points.double()
    z = 16.0 * (w @ x.T) * product.sample_factor.double() * product.class_factor.double()
    z[product.labels, torch.arange(len(x), device=DEVICE)] = -torch.inf
    terms, u = (z - 3.0).exp(), product.class_factor.double()
    return [terms.sum(0), terms * u, terms.sum(0), terms * u, (z - 5.0).clamp(max=0.0).exp() * u]


def kernels(size: tuple[int, int, int]) -> None:
    for (way, dtype), limit in WAYS.items():
        for stored in (torch.float32, torch.bfloat16):
            if not in_time():
                return
            with found(what="kernels", way=way, type=str(dtype), stored=str(stored), size=size) as figure:
                product = product_of(size, dtype)
                first, *others = (results(product, way, stored) for _ in range(3))
                errors = [error(*pair) for pair in zip(first, wanted(product), strict=True)]
                rounded = {1, 3} if stored is torch.bfloat16 else set()
                rounded |= {4} if way == blocks.HALF else set()
                figure |= {"errors": errors, "same": all(torch.equal(a, b) for other in others
                                                         for a, b in zip(first, other, strict=True))}
                figure["ok"] = figure["same"] and all(
                    one <= limit + 2.0**-7 * (place in rounded) for place, one in enumerate(errors))


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


def heads(size: tuple[int, int, int], name: str) -> None:
    """Whole steps, against float64."""
    dtype, precision = TYPES[name]
    for head in HEADS:
        loss: Any = anglos.LOSSES[head]
        x, w, labels = drawn(loss, size, dtype)
        exact = loss.value_and_grad(x.double(), w.double(), labels)
        for keep_bytes in (2**40, 0):
            if not in_time():
                return
            with multiplied(precision), found(what="head", head=head, type=name, keep_bytes=keep_bytes,
                                              size=size) as figure:
                poisoned()
                value, gradients = loss.value_and_grad(x, w, labels, keep_bytes=keep_bytes)
                figure["errors"] = [error(*pair) for pair in zip(
                    (value, *gradients), (exact[0], *exact[1]), strict=True)]


heard = Heard()
logging.getLogger("anglos").addHandler(heard)
logging.getLogger("anglos").setLevel(logging.DEBUG)
for size in SIZES:
    kernels(size)
for name in TYPES:
    heads(SIZES[0], name)
    say(what="ways", type=name, words=heard.words)
