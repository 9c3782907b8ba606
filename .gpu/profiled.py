"""Every kernel once, compiled before: what `ncu --profile-from-start off` looks at, in this order."""

import torch
from figures import DRY, found, multiplied
from given import forms, product_of, weights_of

from anglos.backends.torch.triton import blocks, lengths_of_rows

SIZE = (16, 64, 32) if DRY else (1024, 50_000, 512)
WAYS = {blocks.HALF: (torch.bfloat16, "highest"), blocks.TF32: (torch.float32, "high"),
        blocks.IEEE: (torch.float32, "highest")}

for way, (dtype, precision) in WAYS.items():
    product = product_of(SIZE, dtype, 64.0)
    steps = {**forms(product, way), "∂w": weights_of(product, way),
             "lengths": lambda product=product: lengths_of_rows.inverses(product.prototypes, 1e-30)}
    for what, step in steps.items():
        with multiplied(precision), found(what=what, way=way, size=SIZE):
            step()
            if not DRY:
                torch.cuda.synchronize()
                torch.cuda.profiler.start()
            step()
            if not DRY:
                torch.cuda.synchronize()
                torch.cuda.profiler.stop()
