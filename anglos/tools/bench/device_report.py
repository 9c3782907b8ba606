"""What was measured on a device, as a table for each size and type, and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from typing import Any

from anglos.tools.bench.report import machine, version_of

_HEADINGS = ("what", "ms", "× products", "MiB", "Python ms")
_NOTES = """\
ms: {clock}, forward and backward; * no graph was replayed: Python's time may be in it
3 products: x Wᵀ, G W and Gᵀ x alone, 6·B·C·D operations, in the type that its peers multiply in
MiB: peak of what PyTorch allocates, beyond inputs and gradients
Python ms: until a step returns, with nothing in the queue
amp: embeddings in bfloat16, weights in float32; F., Liger and QuACK are a softmax without normalisation or margin"""
_PEERS = {"triton": "triton", "liger_kernel": "liger-kernel", "quack": "quack-kernels"}
"""Of a module, the package."""


@dataclass(frozen=True)
class Row:
    """What was measured of one step; None where nothing could be."""

    what: str
    dtype: str
    batch: int
    classes: int
    dimension: int
    milliseconds: float | None = None
    graph: bool = False
    """Whether it was replayed, without Python."""
    ratio: float | None = None
    """To the three products."""
    mebibytes: float | None = None
    python: float | None = None
    """Milliseconds until a step returns."""
    failure: str | None = None

    def beside(self, products: float | None) -> "Row":
        """With the ratio to the milliseconds of the three products."""
        return replace(self, ratio=self.milliseconds / products) if self.milliseconds and products else self


def table(rows: Sequence[Row], device: str, repeats: int) -> str:
    """A block for each size and type, and what the columns mean."""
    blocks = []
    for (dtype, batch, classes, dimension), some in groupby(
            rows, key=lambda row: (row.dtype, row.batch, row.classes, row.dimension)):
        group = list(some)
        cells = [_HEADINGS, *map(_cells, group)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip()
                 for line in cells]
        failed = [f"{row.what}: {row.failure}" for row in group if row.failure]
        blocks.append("\n".join([f"{dtype}, B = {batch:,}, C = {classes:,}, D = {dimension:,}", *lines, *failed]))
    clock = f"median of {repeats} by " + ("a processor's clock" if device == "cpu" else "CUDA's events")
    return "\n\n".join([*blocks, "\n".join([*where(device).values(), _NOTES.format(clock=clock)])])


def as_json(rows: Sequence[Row], device: str, repeats: int) -> dict[str, Any]:
    """The same, numbers unrounded."""
    return {"machine": where(device), "repeats": repeats, "rows": [asdict(row) for row in rows]}


def where(device: str) -> dict[str, str]:
    """Device, versions, date."""
    torch: Any = import_module("torch")
    here = machine(("torch",))
    if device == "cpu":
        return {"device": here["processor"], "versions": here["versions"], "date": here["date"]}
    about = torch.cuda.get_device_properties(device)
    peers = [f"{package} {version_of(package)}" for name, package in _PEERS.items() if find_spec(name)]
    return {"device": f"{about.name}, {about.total_memory / 2**30:.0f} GiB, compute capability "
                      f"{about.major}.{about.minor}, {about.multi_processor_count} multiprocessors",
            "versions": ", ".join([here["versions"], f"CUDA {torch.version.cuda}", *peers]), "date": here["date"]}


def _cells(row: Row) -> tuple[str, ...]:
    numbers = ((row.milliseconds, ",.3f"), (row.ratio, ".2f"), (row.mebibytes, ",.1f"), (row.python, ",.2f"))
    what, *others = (row.what, *("–" if number is None else format(number, how) for number, how in numbers))
    return (what, others[0] + ("" if row.graph else "*"), *others[1:]) if row.milliseconds else (what, *others)
