"""A step of each kind, kept and recomputed, for `ncu` to look at its kernels."""

import torch
from figures import DEVICE, DRY, found, multiplied

import anglos

samples, classes, dimension = (16, 64, 32) if DRY else (1024, 50_000, 512)
labels = torch.randint(classes, (samples,), device=DEVICE)
for name, dtype, precision in (("bfloat16", torch.bfloat16, "highest"), ("tf32", torch.float32, "high"),
                               ("float32", torch.float32, "highest")):
    x, w = (torch.randn(rows, dimension, device=DEVICE).to(dtype).requires_grad_() for rows in (samples, classes))
    for keep_bytes in (2**40, 0):
        with multiplied(precision), found(type=name, keep_bytes=keep_bytes) as figure:
            value = anglos.arcface(x, w, labels, keep_bytes=keep_bytes)
            value.backward()
            figure["loss"] = value.item()
