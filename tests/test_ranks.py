"""The harness itself: results, errors, deaths and hangs of ranks."""

import os
import re
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from ranks import (
    CRASHES,
    OF_A_CRASH,
    Collective,
    Failure,
    on_ranks,
    recorded,
    torchrun_crashed,
    tried,
    tried_on_ranks,
)

torch: Any = import_module("torch")
dist: Any = import_module("torch.distributed")

pytestmark = pytest.mark.slow


def total(rank: int, more: int) -> int:
    tensor = torch.tensor(rank + more)
    dist.all_reduce(tensor)
    return int(tensor)


def recorded_total(rank: int) -> Any:
    with recorded() as record:
        total(rank, 0)
    return record


def faulty(rank: int, fault: str) -> Any:
    if fault == "caught":
        return tried(lambda: 1 // (rank - 1))
    if rank == 1:
        if fault == "dies":
            os._exit(3)
        if fault == "sleeps":
            time.sleep(60.0)
        raise ValueError("of rank 1")
    return total(rank, 0)


def test_results_are_those_of_every_rank() -> None:
    assert on_ranks(total, 2, 1) == [3, 3]
    assert on_ranks(total, 3, 1) == [6] * 3
    assert on_ranks(total, 2, 0) == [1, 1]
    for record in on_ranks(recorded_total, 2):
        assert record == [Collective("allreduce_", (), "int64", 8)]
    assert on_ranks(faulty, 2, "caught")[1][:2] == ("ZeroDivisionError", "integer division or modulo by zero")


def crashing(rank: int, of: int, once: Path | None) -> int:
    if rank == 1 and (once is None or not once.exists()):
        if once is not None:
            once.touch()
        os.kill(os.getpid(), of)
    return total(rank, 0)


@pytest.mark.parametrize("of", OF_A_CRASH)
def test_a_crash_is_one_if_it_comes_again(of: signal.Signals, tmp_path: Path) -> None:
    assert on_ranks(crashing, 2, of, tmp_path / "once") == [1, 1]
    assert CRASHES.pop() == "crashing"
    with pytest.raises(RuntimeError, match=rf"^rank \d: (Died: exit code -{of:d}|RuntimeError: .*Connection)"):
        on_ranks(crashing, 2, of, None)
    assert CRASHES.pop() == "crashing"


@pytest.mark.slow
@pytest.mark.parametrize(("of", "crashed"), [*((of, True) for of in OF_A_CRASH), (signal.SIGKILL, False)])
def test_torchrun_tells_of_a_crash(of: signal.Signals, crashed: bool, tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(f"import os\nos.kill(os.getpid(), {of:d})\n")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", str(tmp_path / "dies.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode
    assert torchrun_crashed(done.stderr) == crashed


def test_errors_deaths_and_hangs() -> None:
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=re.compile(r"rank 1: ValueError: of rank 1.*in faulty", re.DOTALL)):
        on_ranks(faulty, 2, "raises")
    found = tried_on_ranks(faulty, 2, "dies")
    assert found[0].kind == "RuntimeError"
    assert re.search("Connection (closed|reset) by peer", found[0].message)
    assert found[1][:2] == ("Died", "exit code 3")
    assert isinstance(found[0], Failure)
    found = tried_on_ranks(faulty, 2, "sleeps", timeout=2.0)
    assert "Timed out" in found[0].message
    assert found[1].kind == "Hung"
    assert time.monotonic() - began < 60.0
    assert on_ranks(total, 2, 1) == [3, 3]
