"""What every script here does: it says a figure when it has found it, and ends in time. Not a part of the package."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

DRY = "--dry" in sys.argv
if DRY:  # before Triton is imported
    os.environ["TRITON_INTERPRET"] = "1"

import torch

from anglos.tools.bench.device import Clock
from anglos.tools.bench.device_report import where

DEVICE = "cpu" if DRY else "cuda"
CLOCK = Clock(DEVICE, 2 if DRY else 30)
NAME = Path(sys.argv[0]).stem
SHARD, SHARDS = map(int, os.environ.get("SHARD", "0/0").split("/"))
"""Of a process that only compiles, with others beside it, what another measures later."""
START, BUDGET = time.monotonic(), float(os.environ.get("BUDGET", "540"))
FILE = Path(os.environ.get("OUT") or mkdtemp(), f"{NAME}.jsonl")
TYPES = {"bfloat16": (torch.bfloat16, "highest"), "float16": (torch.float16, "highest"),
         "tf32": (torch.float32, "high"), "float32": (torch.float32, "highest")}
"""Of a name, the type and the precision that float32 is multiplied in."""


def say(**figure: Any) -> None:
    """On the screen and in the file."""
    if SHARDS:
        return
    line = json.dumps({"script": NAME, **figure})
    print(line, flush=True)
    with FILE.open("a") as file:
        file.write(line + "\n")


def mine(some: Iterable[Any]) -> list[Any]:
    """All of them, or those that this process compiles."""
    return list(some)[SHARD::SHARDS or None]


def milliseconds(step: Callable[[], Any]) -> float:
    """Of a step, which is compiled first."""
    step()
    if SHARDS:
        return 1.0
    return CLOCK.milliseconds(step)[0]


def error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    """Of a vector beside its length; NaN where one is."""
    return float((got.double() - wanted).norm() / wanted.norm())


@contextmanager
def found(**about: Any) -> Iterator[dict[str, Any]]:
    """A figure to be filled in; what fails says so, and the next goes on, unless no step can follow on the device."""
    figure: dict[str, Any] = {}
    try:
        yield figure
    except Exception as failure:
        traceback.print_exc(limit=3)
        figure["failure"] = f"{type(failure).__name__}: {str(failure)[:300]}"
    say(**about, **figure)
    if "failure" in figure and not DRY:
        try:
            torch.cuda.synchronize()
        except RuntimeError as failure:
            sys.exit(f"{NAME}: the device is lost to this process: {failure}")


def in_time() -> bool:
    """Whether there is some left of what the script was given."""
    if (left := BUDGET - (time.monotonic() - START)) > 0.0:
        return True
    say(out_of_time=left)
    return False


@contextmanager
def multiplied(precision: str) -> Iterator[None]:
    """Float32 by PyTorch, and so by the kernels: "high" is TF32."""
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision("highest")


say(machine=where(DEVICE), dry=DRY)
