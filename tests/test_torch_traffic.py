"""How many operations a step asks of a GPU, and how much they read and write beside the matrix products.

`python tests/test_torch_traffic.py` prints the table.
"""

from typing import Any, NamedTuple

import pytest
import torch
from operations import Traffic, as_on_cuda, watched

import anglos

SIZES = {"B < D": (48, 64, 500), "B > D": (96, 64, 500)}
TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
KEEP_BYTES = {"kept": 2**40, "recomputed": 0}

# Bytes for every logit and for every weight, and operations: kept, and recomputed; then both as by kernels. They are
# what was counted, of the type and size that asks for most, and may only fall. By kernels 12 bytes a logit and 40 a
# weight are to be had, and are, and 60 operations where the target is the cosine less a number, or that of an angle
# more a number. `interpreted_rows.py` has the launches themselves. Beside its 10 to 14 for classes and rows a step has
# those of numbers a sample: labels are compared with the classes, a mean is divided by what was counted, and the same
# again on the way back. A margin for each sample takes more, and so does a target that is a polynomial of the cosine.
BARS: dict[str, tuple[tuple[float, float, int], ...]] = {
    "arcface": ((50, 72, 126), (96, 68, 137), (8, 16, 60), (12, 16, 56)),
    "cosface": ((50, 72, 108), (96, 68, 119), (8, 16, 59), (12, 16, 55)),
    "normface": ((50, 72, 107), (96, 68, 118), (8, 16, 58), (12, 16, 54)),
    "am_softmax": ((50, 72, 108), (96, 68, 119), (8, 16, 59), (12, 16, 55)),
    "adaface": ((50, 72, 160), (96, 68, 171), (8, 16, 111), (12, 16, 107)),
    "magface": ((50, 72, 191), (96, 68, 202), (8, 16, 142), (12, 16, 138)),
    "sphereface": ((46, 68, 224), (84, 68, 229), (12, 16, 199), (12, 16, 197)),
    "linear_cross_entropy": ((38, 6, 91), (76, 6, 95), (12, 6, 77), (12, 6, 75)),
    "curricularface": ((145, 68, 146), (270, 68, 172), (12, 16, 63), (12, 16, 61)),
    "sphereface2": ((158, 68, 123), (284, 68, 150), (8, 16, 62), (12, 16, 65)),
}
NO_BOUND = ("curricularface", "linear_cross_entropy", "sphereface")
"""None is known for their logits, and exponentials have no shift that is certain."""


class Moved(NamedTuple):
    """Bytes for every logit and for every weight; operations; and how many of these are products."""

    per_logit: float
    per_weight: float
    operations: int
    products: int


def moved(name: str, path: str, size: str, dtype: str, kernels: bool) -> Moved:
    """Of a step, forward and backward; as if by kernels, or without Triton."""
    samples, dimension, classes = SIZES[size]
    vectors = [torch.randn(count, dimension, dtype=TYPES[dtype], requires_grad=True) for count in (samples, classes)]
    labels, options = torch.randint(0, classes, (samples,)), {"keep_bytes": KEEP_BYTES[path]}
    loss: Any = anglos.LOSSES[name]
    with as_on_cuda(kernels=kernels):
        torch.autograd.grad(loss(*vectors, labels, **options), vectors)  # numbers are made on the device once
        with watched(Traffic(samples, dimension, classes)) as traffic:
            torch.autograd.grad(loss(*vectors, labels, **options), vectors)
    return Moved(traffic.per_logit, traffic.per_weight, traffic.operations.total(), traffic.products)


# Bytes for every logit, operations and products of losses over pairs, as by kernels: logits are made again for the
# gradient.
PAIRS: dict[str, tuple[float, int, int]] = {
    "clip": (12, 86, 4), "dcl": (12, 153, 4), "info_nce": (12, 63, 4), "n_pair": (12, 69, 4), "nt_xent": (12, 106, 4),
    "siglip": (12, 61, 4), "supcon": (12, 135, 4), "supcon, in": (12, 116, 4),
}


def moved_by_pairs(name: str, dtype: str) -> Moved:
    """Of a step over pairs, by kernels."""
    (name, _, form), many, dimension = name.partition(", "), 480, 64
    loss: Any = anglos.LOSSES[name]
    options = {"form": form} if form else {}
    groups = "labels" in loss.arrays
    vectors = [torch.randn(many, dimension, dtype=TYPES[dtype], requires_grad=True) for _ in range(2 - groups)]
    labels = [torch.arange(many) % (many // 2)] * groups
    with as_on_cuda(kernels=True):
        torch.autograd.grad(loss(*vectors, *labels, **options), vectors)
        with watched(Traffic(many, dimension, many)) as traffic:
            torch.autograd.grad(loss(*vectors, *labels, **options), vectors)
    return Moved(traffic.per_logit, 0.0, traffic.operations.total(), traffic.products)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", PAIRS)
def test_a_step_over_pairs_moves_no_more(name: str, dtype: str) -> None:
    found, (per_logit, operations, products) = moved_by_pairs(name, dtype), PAIRS[name]
    assert found.per_logit <= (0 if dtype == "bfloat16" else per_logit)
    assert found.operations <= operations
    assert found.products <= products


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", KEEP_BYTES)
@pytest.mark.parametrize("name", BARS)
@pytest.mark.parametrize("kernels", [False, True], ids=["without Triton", "by kernels"])
def test_a_step_moves_no_more(name: str, path: str, size: str, dtype: str, kernels: bool) -> None:
    found, bar = moved(name, path, size, dtype, kernels), BARS[name][2 * kernels + (path == "recomputed")]
    # Without a shift that is certain, kernels make the products of 16 bits twice to keep terms.
    again = kernels and dtype == "bfloat16" and name in NO_BOUND and path == "kept"
    assert found.products == 3 + (path == "recomputed") + again
    assert found.per_logit <= bar[0]
    assert found.per_weight <= bar[1]
    assert found.operations <= bar[2]


def test_what_is_counted() -> None:
    """Every array once for each time that an operation reads or writes it; views, products and room are free."""
    b, d, c = 3, 5, 7
    logits, weights, batch = torch.ones(c, b), torch.ones(c, d), torch.ones(b, d)
    places = torch.zeros(1, d, dtype=torch.int64)
    with watched(Traffic(b, d, c)) as traffic:
        (weights @ batch.T).mul_(logits)  # 12 bytes a logit
        torch.exp(logits).sum(dim=0)  # 12
        torch.empty_like(logits).copy_(logits[:, :1].expand(c, b))  # 4, and 4 for every class
        weights.T.contiguous()  # 8 a weight
        (batch * batch).sum(dim=-1)  # of the batch, which is nothing beside them
        weights.gather(0, places)
    assert traffic.per_logit == pytest.approx(28 + 4 / b)
    assert traffic.per_weight == 8
    assert (traffic.operations.total(), traffic.products) == (9, 1)


if __name__ == "__main__":
    for kernels in (False, True):
        print(f"{'by kernels' if kernels else 'without Triton':37}" + "".join(f"{path:>28}" for path in KEEP_BYTES))
        print(f"{'':37}" + f"{'logit':>8}{'weight':>8}{'operations':>12}" * 2)
        for row in ((name, dtype, size) for name in BARS for dtype in TYPES for size in SIZES):
            cells = [moved(row[0], path, row[2], row[1], kernels) for path in KEEP_BYTES]
            print("{:22}{:10}{:5}".format(*row) + "".join(f"{a:8.0f}{b:8.0f}{c:12}" for a, b, c, _ in cells))
