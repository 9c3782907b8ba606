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

# Bytes for every logit and for every weight, and operations, at most: kept, and recomputed.
BARS: dict[str, tuple[tuple[float, float, int], tuple[float, float, int]]] = {
    "arcface": ((36, 86, 138), (68, 86, 148)),
    "cosface": ((36, 86, 120), (68, 86, 131)),
    "adaface": ((36, 86, 170), (68, 86, 181)),
    "magface": ((36, 86, 201), (68, 86, 212)),
    "curricularface": ((234, 86, 176), (242, 86, 179)),
    "linear_cross_entropy": ((24, 18, 114), (48, 18, 124)),
    "sphereface2": ((350, 86, 163), (358, 86, 166)),
}


class Moved(NamedTuple):
    """Bytes for every logit and for every weight; operations; and how many of these are products."""

    per_logit: float
    per_weight: float
    operations: int
    products: int


def moved(name: str, path: str, size: str, dtype: str) -> Moved:
    """Of a step, forward and backward."""
    samples, dimension, classes = SIZES[size]
    vectors = [torch.randn(count, dimension, dtype=TYPES[dtype], requires_grad=True) for count in (samples, classes)]
    labels, options = torch.randint(0, classes, (samples,)), {"keep_bytes": KEEP_BYTES[path]}
    loss: Any = anglos.LOSSES[name]
    with as_on_cuda(), watched(Traffic(samples, dimension, classes)) as traffic:
        loss(*vectors, labels, **options).backward()
    return Moved(traffic.per_logit, traffic.per_weight, traffic.operations.total(), traffic.products)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("path", KEEP_BYTES)
@pytest.mark.parametrize("name", BARS)
def test_a_step_moves_no_more(name: str, path: str, size: str, dtype: str) -> None:
    found, bar = moved(name, path, size, dtype), BARS[name][path == "recomputed"]
    assert found.products == 3 + (path == "recomputed")
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
    print(f"{'':37}" + "".join(f"{path:>28}" for path in KEEP_BYTES))
    print(f"{'':37}" + f"{'logit':>8}{'weight':>8}{'operations':>12}" * 2)
    for row in ((name, dtype, size) for name in BARS for dtype in TYPES for size in SIZES):
        cells = [moved(row[0], path, row[2], row[1]) for path in KEEP_BYTES]
        print("{:22}{:10}{:5}".format(*row) + "".join(f"{a:8.0f}{b:8.0f}{c:12}" for a, b, c, _ in cells))
