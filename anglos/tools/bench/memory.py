"""How much memory a step needs beyond its inputs and gradients; `python -m` this file measures one row."""

import ctypes
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from anglos.tools.bench.problem import Problem
from anglos.tools.bench.steps import LIBRARIES, PRODUCTS, Step

_WARM_UP_CLASSES = 1000


def memory(problem: Problem, library: str, row: str) -> int | None:
    """Bytes, measured in a process of its own; None where the system does not say (Linux does).

    Raises MemoryError with the reason if the process does not come to its end.
    """
    command = [sys.executable, "-m", "anglos.tools.bench.memory", json.dumps(asdict(problem)), library, row]
    # Otherwise glibc keeps arrays below 32 MiB in a heap, whose gaps depend on the order of all that came before.
    environment = {"MALLOC_MMAP_THRESHOLD_": str(2**17), **os.environ}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        last = ended.stderr.strip().rpartition("\n")[2]
        raise MemoryError(f"its process was ended by signal {-ended.returncode}, as when memory runs out"
                          if ended.returncode < 0 else last)
    return None if (answer := json.loads(ended.stdout)) is None else int(answer)


def _beyond(problem: Problem, library: str, row: str) -> int | None:
    small, drawn = replace(problem, classes=min(problem.classes, _WARM_UP_CLASSES)), problem.draw()
    LIBRARIES[library].rows(small, small.draw())[row]()()
    rows = LIBRARIES[library].rows(problem, drawn)
    rows[PRODUCTS]()()  # at full size: a BLAS keeps memory of its own, more of it for larger products
    peak = _PEAKS.get(library, resident_peak)(rows[row]())
    return None if peak is None else max(0, peak - problem.gradient_bytes)


def resident_peak(step: Step) -> int | None:
    """By how many bytes the resident set of this process grows, at its highest, while the step runs."""
    reset = Path("/proc/self/clear_refs")
    if not reset.exists():
        return None
    _settle()
    reset.write_text("5")  # the highest resident set is counted from here on
    before = _status("VmRSS")
    _ = step()  # results stay until they are counted
    return _status("VmHWM") - before


def _settle() -> None:
    """Give back what is free, whose use would not be seen. JAX frees in threads of its own."""
    for _ in range(3):
        gc.collect()
        time.sleep(0.1)
        getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _pool_peak(step: Step) -> int:
    """By how much CuPy's pool grows: it gives nothing back before it is asked to."""
    import cupy
    pool = cupy.get_default_memory_pool()
    pool.free_all_blocks()
    before = pool.total_bytes()
    _ = step()
    return int(pool.total_bytes() - before)


_PEAKS: dict[str, Callable[[Step], Any]] = {"cupy": _pool_peak}


if __name__ == "__main__":
    print(json.dumps(_beyond(Problem(**json.loads(sys.argv[1])), *sys.argv[2:])))
