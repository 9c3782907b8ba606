"""What the card can do: bytes that a copy moves, and operations of the three products in every type."""

import torch
from figures import DEVICE, DRY, TYPES, found, in_time, milliseconds, multiplied

SIZES = [(16, 64, 32)] if DRY else [(8192, 8192, 8192), (256, 50_000, 512), (1024, 50_000, 512), (8192, 50_000, 512),
                                    (1024, 300_000, 512)]


def copy() -> None:
    count = 1 << (12 if DRY else 31)
    here, there = (torch.ones(count, dtype=torch.uint8, device=DEVICE) for _ in range(2))
    with found(what="copy") as figure:
        figure["terabytes_per_s"] = 2e-9 * count / milliseconds(lambda: there.copy_(here))


def products(size: tuple[int, int, int], name: str) -> None:
    samples, classes, dimension = size
    dtype, precision = TYPES[name]
    x, w, p = (torch.randn(shape, device=DEVICE).to(dtype) for shape in (
        (samples, dimension), (classes, dimension), (samples, classes)))
    steps = {"x Wᵀ": lambda: x @ w.T, "W xᵀ": lambda: w @ x.T, "p W": lambda: p @ w, "pᵀ x": lambda: p.T @ x}
    if dtype.itemsize == 2 and not DRY:
        steps["x Wᵀ, sums in float32"] = lambda: torch.mm(x, w.T, out_dtype=torch.float32)
        steps["pᵀ x, sums in float32"] = lambda: torch.mm(p.T, x, out_dtype=torch.float32)
    for what, step in steps.items():
        with multiplied(precision), found(what=what, type=name, size=size) as figure:
            figure["ms"] = milliseconds(step)
            figure["teraflops"] = 2e-9 * samples * classes * dimension / figure["ms"]


copy()
for size in SIZES:
    for name in TYPES:
        if in_time() and not (name == "float32" and max(size) > 50_000):
            products(size, name)
