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

# Bytes for every logit and for every weight, and operations, at most: kept, and recomputed; then both as by kernels.
BARS: dict[str, tuple[tuple[float, float, int], ...]] = {
    "arcface": ((50, 68, 141), (96, 68, 154), (8, 36, 113), (12, 36, 118)),
    "cosface": ((50, 68, 124), (96, 68, 137), (8, 36, 96), (12, 36, 101)),
    "adaface": ((50, 68, 174), (96, 68, 187), (8, 36, 146), (12, 36, 151)),
    "magface": ((50, 68, 205), (96, 68, 218), (8, 36, 177), (12, 36, 182)),
    "linear_cross_entropy": ((38, 6, 117), (76, 6, 128), (12, 6, 103), (12, 6, 106)),
    "curricularface": ((254, 68, 181), (270, 68, 185)),
    "sphereface2": ((370, 68, 168), (386, 68, 172)),
}


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


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", KEEP_BYTES)
@pytest.mark.parametrize(("name", "kernels"), [(name, several) for name, bars in BARS.items()
                                               for several in (False, True)[:len(bars) // 2]])
def test_a_step_moves_no_more(name: str, path: str, size: str, dtype: str, kernels: bool) -> None:
    found, bar = moved(name, path, size, dtype, kernels), BARS[name][2 * kernels + (path == "recomputed")]
    # Without a shift that is certain, kernels make the products of 16 bits twice to keep terms.
    again = kernels and dtype == "bfloat16" and name == "linear_cross_entropy" and path == "kept"
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
