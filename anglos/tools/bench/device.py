"""`--device cuda`: medians of events around a step, its memory and Python's time, for a table of sizes and types."""

import gc
import json
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

from anglos.tools.bench.device_report import Row, as_json, table
from anglos.tools.bench.device_rows import OF_OTHERS, TYPES, draw, rows
from anglos.tools.bench.problem import Problem
from anglos.tools.bench.steps import PRODUCTS, Step

SIZES = ((256, 50_000, 512), (1024, 50_000, 512), (8192, 50_000, 512), (1024, 50_000, 128), (1024, 1_000_000, 512))
"""B, C and D."""

FLUSHED = 256 << 20
"""Bytes that are written between two steps: more than a GPU's cache, which would hold small arrays."""


@dataclass(frozen=True)
class Clock:
    """How the steps of a device are timed. On "cpu" it rehearses: no events, no memory."""

    device: str
    repeats: int

    def milliseconds(self, step: Step, capture: bool = True) -> tuple[float, bool]:
        """The median; and whether a graph was replayed, so that Python had no part in it, as it may be."""
        if self.device == "cpu":
            return self.of_python(step), False
        torch: Any = import_module("torch")
        replay = _captured(step) if capture else None
        flushed = torch.empty(FLUSHED, dtype=torch.int8, device=self.device)
        pairs = [[torch.cuda.Event(enable_timing=True) for _ in range(2)] for _ in range(self.repeats)]
        for start, end in pairs:
            flushed.zero_()
            start.record()
            (replay or step)()
            end.record()
        torch.cuda.synchronize()
        return median(start.elapsed_time(end) for start, end in pairs), replay is not None

    def of_python(self, step: Step) -> float:
        """How long the step takes to return, waited for or not: the median of a few, with nothing in the queue."""
        taken = []
        for _ in range(min(self.repeats, 10)):
            self.wait()
            start = time.perf_counter()
            step()
            taken.append(1000 * (time.perf_counter() - start))
        self.wait()
        return median(taken)

    def bytes(self, step: Step, gradients: int) -> int | None:
        """The peak of what is allocated, beyond what there was and the gradients."""
        if self.device == "cpu":
            return None
        cuda: Any = import_module("torch").cuda
        cuda.synchronize()
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        step()
        cuda.synchronize()
        return max(0, int(cuda.max_memory_allocated()) - int(before) - gradients)

    def wait(self) -> None:
        if self.device != "cpu":
            import_module("torch").cuda.synchronize()


def problems(loss: str, dtype: str | None = None, batch: int | None = None, classes: int | None = None,
             dimension: int | None = None) -> list[Problem]:
    """The table; of sizes and types those that are given."""
    given, types = (batch, classes, dimension), [dtype] if dtype else [name for name in TYPES if name != "float16"]
    sizes = SIZES if not any(given) else [tuple(one or usual for one, usual in zip(given, SIZES[0], strict=True))]
    # IEEE float32 over a million classes takes minutes, and says what fewer say.
    return [Problem(loss, b, d, c, name) for b, c, d in sizes for name in types
            if any(given) or dtype or name != "float32" or c < 1_000_000]


def run(problems: Sequence[Problem], device: str, repeats: int, heard: Callable[[str], None], save: str | None = None
        ) -> list[Row]:
    """Measure every row of the problems, of which a JSON line is heard at once; print the table, or JSON; save that."""
    found: list[Row] = []
    for problem in problems:
        for row in measure(problem, Clock(device, repeats)):
            heard(json.dumps(asdict(row)))
            found.append(row)
    text = json.dumps(as_json(found, device, repeats), indent=2)
    print(text if save == "-" else table(found, device, repeats))
    if save not in (None, "-"):
        Path(save).write_text(text + "\n")
    return found


def measure(problem: Problem, clock: Clock) -> Iterator[Row]:
    """Its rows, the three products first. One that fails, for want of memory say, has the reason."""
    with _multiplied(TYPES[problem.dtype].tf32):
        arrays = draw(problem, clock.device)
        gradients = sum(array.numel() * array.element_size() for array in arrays[:2])
        base: float | None = None
        for name, make in rows(problem, arrays).items():
            row = _row(problem, name, make, clock, gradients)
            base = row.milliseconds if name == PRODUCTS else base
            yield row if None in (base, row.milliseconds) else row.beside(base)
            _freed(clock.device)


def _row(problem: Problem, name: str, make: Callable[[], Step], clock: Clock, gradients: int) -> Row:
    sizes = (name, problem.dtype, problem.batch, problem.classes, problem.dimension)
    try:
        step = make()
        step()  # what is compiled or allocated once
        used = clock.bytes(step, gradients)
        milliseconds, graph = clock.milliseconds(step, capture=not name.startswith(OF_OTHERS))
        python = clock.of_python(step)
    except Exception as failure:  # of a peer, too
        return Row(*sizes, failure=f"{type(failure).__name__}: {str(failure).strip().partition(chr(10))[0][:200]}")
    return Row(*sizes, milliseconds, graph, None, None if used is None else used / 2**20, python)


def _captured(step: Step) -> Callable[[], Any] | None:
    """What replays the step as a graph; None where it waits for the device, which no graph can.

    It is asked first: after a capture that failed PyTorch gives no memory back.
    """
    torch: Any = import_module("torch")
    graph, aside = torch.cuda.CUDAGraph(), torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    try:
        with torch.cuda.stream(aside):
            with _waiting_refused():
                step()
            with torch.cuda.graph(graph, stream=aside):
                step()
    except RuntimeError:
        return None
    finally:
        torch.cuda.synchronize()
    replay: Callable[[], Any] = graph.replay
    return replay


@contextmanager
def _waiting_refused() -> Iterator[None]:
    cuda: Any = import_module("torch").cuda
    before = cuda.get_sync_debug_mode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is a prototype
        cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        cuda.set_sync_debug_mode(before)


@contextmanager
def _multiplied(tf32: bool) -> Iterator[None]:
    """With float32 in TF32, or not."""
    torch: Any = import_module("torch")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _freed(device: str) -> None:
    gc.collect()
    if device != "cpu":
        with suppress(RuntimeError):  # as long as PyTorch believes that something is captured
            import_module("torch").cuda.empty_cache()
