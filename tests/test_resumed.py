"""A training that is killed, and resumed with another number of processes, has the losses of one that was not."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ranks import CRASHES, torchrun_crashed

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
STEPS, SAVED_EVERY = 150, 50
# Float64, in which the order of a sum's terms shows in the ninth digit after so many steps of AdamW.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "JAX_ENABLE_X64": "1"}


def torchrun(count: int) -> list[list[str]]:
    return [["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count),
             str(EXAMPLES / "train_sharded.py"), "--dtype", "float64"]]


def jax_processes(count: int) -> list[list[str]]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    return [[str(EXAMPLES / "train_sharded_jax.py"), "--processes", str(count), "--process", str(process),
             "--address", address, "--devices", "1"] for process in range(count)]


@contextmanager
def started(commands: list[list[str]], folder: Path) -> Iterator[list[Any]]:
    """The first tells what happens; errors of all are in a file, which cannot fill up as a pipe can."""
    with (folder / "errors").open("a") as errors:
        running = [subprocess.Popen([sys.executable, *command, "--steps", str(STEPS)], cwd=folder, env=ENVIRONMENT,
                                    stderr=errors, stdout=errors if place else subprocess.PIPE, text=True)
                   for place, command in enumerate(commands)]
        try:
            yield running
        finally:
            for one in running:
                one.kill()
                one.wait()


def outcome(commands: list[list[str]], folder: Path) -> tuple[list[int], str, str]:
    """Exit codes; what the first printed; and the errors of all, without those of earlier runs in this folder."""
    errors = folder / "errors"
    earlier = len(errors.read_text()) if errors.exists() else 0
    with started(commands, folder) as running:
        output, _ = running[0].communicate(timeout=300)
        return [one.wait(60) for one in running], output, errors.read_text()[earlier:]


def finished(commands: list[list[str]], folder: Path) -> tuple[dict[int, float], str]:
    """The loss of every step, and the last line."""
    folder.mkdir(exist_ok=True)
    as_it_was = shutil.copytree(folder, folder.with_name(f"{folder.name} as it was"))
    codes, output, errors = outcome(commands, folder)
    if any(codes) and torchrun_crashed(errors):
        CRASHES.append("train_sharded.py")
        codes, output, errors = outcome(commands, as_it_was)
    assert codes == [0] * len(codes), errors
    losses = re.findall(r"^step (\d+) loss (\S+)$", output, re.M)
    return {int(step): float(loss) for step, loss in losses}, output.splitlines()[-1]


def dying(once: Path, how: str) -> list[list[str]]:
    """Of a script that changes its folder and dies, the first time."""
    script = once.with_name("dies.py")
    script.write_text(f"""import os, pathlib
assert not pathlib.Path("changed").exists()
if not pathlib.Path({str(once)!r}).exists():
    pathlib.Path({str(once)!r}).touch()
    pathlib.Path("changed").touch()
    {how}
print("step 7 loss 0.5")
""")
    return [["-m", "torch.distributed.run", "--standalone", str(script)]]


def test_a_crash_is_run_again_from_the_folder_as_it_was(tmp_path: Path) -> None:
    """Not another error, even where an earlier run in the folder had crashed."""
    before = list(CRASHES)
    assert finished(dying(tmp_path / "once", "os.abort()"), tmp_path / "crashed") == ({7: 0.5}, "step 7 loss 0.5")
    assert CRASHES.pop() == "train_sharded.py"
    (tmp_path / "failed").mkdir()
    (tmp_path / "failed" / "errors").write_text("Signal 6 (SIGABRT) received by PID 1\n")
    with pytest.raises(AssertionError, match="exitcode  : 3"):
        finished(dying(tmp_path / "twice", "raise SystemExit(3)"), tmp_path / "failed")
    assert before == CRASHES


def kill_one(commands: list[list[str]], folder: Path, step: int) -> None:
    """The last process, once the first has said that it did this step; all others must end with an error."""
    folder.mkdir(exist_ok=True)
    with started(commands, folder) as running:
        for line in running[0].stdout:
            if line.startswith(f"step {step} "):
                break
        else:
            raise AssertionError((folder / "errors").read_text())
        children = subprocess.run(["pgrep", "-P", str(running[-1].pid)], capture_output=True, text=True, check=False)
        os.kill(int((children.stdout.split() or [running[-1].pid])[-1]), signal.SIGKILL)
        assert f"step {STEPS - 1} " not in running[0].communicate(timeout=120)[0]
        assert all(one.wait(120) for one in running)


@pytest.mark.parametrize("commands", [torchrun, jax_processes])
def test_killed_and_resumed(commands: Callable[[int], list[list[str]]], tmp_path: Path) -> None:
    wanted, wanted_end = finished(commands(2), tmp_path / "undisturbed")
    assert list(wanted) == list(range(STEPS))
    kill_one(commands(2), tmp_path / "killed", step=SAVED_EVERY + 20)
    kill_one(commands(3), tmp_path / "killed", step=2 * SAVED_EVERY + 20)
    found, end = finished(commands(1), tmp_path / "killed")
    assert list(found) == list(range(2 * SAVED_EVERY, STEPS))
    assert found == pytest.approx({step: wanted[step] for step in found}, abs=1.5e-6)  # as printed
    assert end == wanted_end
