"""A training step of a head whose classes are shared by devices, on paper: time, traffic and memory of one device.

python docs/examples/plan_devices.py
python docs/examples/plan_devices.py --devices 16 --classes 5e6 --rows 256 --dimension 256 --memory 40e9

Nothing here is measured: it is arithmetic on the assumptions below, each of which is an argument.
"""

import argparse
import math
from typing import NamedTuple

ASSUMED: dict[str, tuple[float, str]] = {
    "dimension": (512, "D, numbers in an embedding"),
    "rows": (128, "of the batch, on each device"),
    "flops": (300e12, "a second, in products: tf32 on an H100"),
    "bandwidth": (2.8e12, "bytes a second from and to memory"),
    "within": (360e9, "bytes a second that a device sends inside its node"),
    "between": (45e9, "the same once there is more than one node"),
    "node": (8, "devices in a node"),
    "large": (25e-6, "seconds until embeddings are gathered or scattered, in a node; eight times the devices: × 6"),
    "small": (15e-6, "the same of a few numbers a row; eight times the devices: × 4"),
    "keep_bytes": (2**28, "the option of the loss"),
    "memory": (80e9, "bytes on a device"),
}
FLOAT = 4  # bytes
LARGE, SMALL = 2, 6  # collectives of a step
SENT_FOR_A_ROW = 36  # bytes: label, its cosine (summed, so twice), maximum and sum (twice 8), upstream gradient
OF_ROWS = 10  # arrays of the embeddings of all ranks, and of what is made of them, at most
TILE = 3 * 2**24 * FLOAT  # arrays of the largest tile


class Step(NamedTuple):
    """Of one device: seconds, then bytes."""

    products: float
    logits: float
    weights: float
    communication: float
    sent: float
    memory: float


def step(devices: int, classes: int, rate: float, a: argparse.Namespace) -> Step:
    """AdamW, float32; a share `rate` of the classes is sampled, and the optimizer touches no others."""
    here, batch = math.ceil(classes / devices), a.rows * devices
    swept = math.ceil(rate * here)
    logits, shard, moved = batch * swept, here * a.dimension * FLOAT, swept * a.dimension * FLOAT
    kept = FLOAT * logits <= a.keep_bytes
    sampled = rate < 1
    # The logits, ∂X and ∂W, and the logits once more where they were not kept.
    products = (3 if kept else 4) * 2 * logits * a.dimension / a.flops
    # Passes over float32 logits that are not fused: 7 if they were kept, else 10.
    elementwise = (7 if kept else 10) * FLOAT * logits / a.bandwidth
    # W: 10 passes of the loss and 7 of AdamW; sampled, 6 more that fetch and return rows and state.
    weights = (10 + 7 + (6 if sampled else 0)) * moved / a.bandwidth
    # All ranks' X come, and each sends ∂X of its classes for all.
    others = (devices - 1) / devices
    sent = others * batch * (2 * FLOAT * a.dimension + SENT_FOR_A_ROW)
    eightfolds = math.log(devices / a.node, 8)
    latency = LARGE * a.large * 6**eightfolds + SMALL * a.small * 4**eightfolds
    communication = sent / (a.within if devices <= a.node else a.between) + (latency if devices > 1 else 0.0)
    # W and two states of AdamW; the gradient twice, and sampled a copy of rows and states; embeddings of all ranks.
    memory = (3 * shard + (5 if sampled else 2) * moved + OF_ROWS * batch * a.dimension * FLOAT
              + min(FLOAT * logits, a.keep_bytes) + TILE)
    return Step(products, elementwise, weights, communication, sent, memory)


def line(devices: int, classes: int, rate: float, a: argparse.Namespace) -> str:
    """A row of the table."""
    one = step(devices, classes, rate, a)
    times = [one.products, one.logits, one.weights, one.communication]
    cells = [f"{devices:,}", f"{classes / 1e6:g}M", f"{a.rows * devices:,}", f"{rate:g}",
             *(f"{1e3 * time:.3g}" for time in (*times, sum(times))), f"{one.sent / 1e6:.0f} MB",
             f"{one.memory / 1e9:.1f} GB{', too much' if one.memory > a.memory else ''}"]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print a table in Markdown; times are in milliseconds."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--devices", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--classes", type=float, nargs="+", default=[1e6, 29e6, 100e6])
    parser.add_argument("--rate", type=float, nargs="+", default=[1.0, 0.1], help="of the classes that are sampled")
    for name, (value, meaning) in ASSUMED.items():
        parser.add_argument(f"--{name}", type=type(value), default=value, help=meaning)
    asked = parser.parse_args()
    names = ["devices", "classes", "batch", "rate", "products", "logits", "weights", "communication", "step", "sent",
             "memory"]
    print(f"| {' | '.join(names)} |\n|{' ---: |' * len(names)}")
    for devices in asked.devices:
        for classes in asked.classes:
            for rate in asked.rate:
                print(line(devices, int(classes), rate, asked))


if __name__ == "__main__":
    main()
