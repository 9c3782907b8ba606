"""Every script of docs/examples runs as it stands, and ends with what it is there to show."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import pytest
from ranks import CRASHES, torchrun_crashed

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
STARTED_BY = {"train_sharded.py": ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")}


def numbers(line: str) -> list[float]:
    return [float(word) for word in line.split() if word[:1].isdigit()]


def learnt(line: str) -> bool:
    """Which of 4,000 classes it is."""
    return numbers(line)[0] > 0.4


# What a script needs, and whether its last line shows that it has learnt something.
SCRIPTS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "lightning_digits.py": ("lightning", lambda line: numbers(line)[0] > 0.85),  # one in ten by chance
    "onnx_export.py": ("ndonnx", lambda line: math.isclose(*numbers(line)[1:], rel_tol=1e-5)),  # onnxruntime, NumPy
    "optax_digits.py": ("equinox", lambda line: numbers(line)[0] > 0.85),
    "sentence_transformers_topics.py": (
        "sentence_transformers", lambda line: numbers(line)[1] > numbers(line)[0] + 0.1),  # before, after
    "train_sharded.py": ("torch", learnt),
    "train_sharded_jax.py": ("orbax", learnt),
}


def test_plan_stands_on_its_page() -> None:
    planned = subprocess.run([sys.executable, str(EXAMPLES / "plan_devices.py")], capture_output=True, text=True,
                             check=True)
    assert planned.stdout in (EXAMPLES.parent / "more_classes_than_fit.md").read_text()


def test_every_example_has_its_line() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SCRIPTS, "plan_devices.py"}


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_example_learns(script: str, tmp_path: Path) -> None:
    needed, shown = SCRIPTS[script]
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    run = partial(subprocess.run, [sys.executable, *STARTED_BY.get(script, ()), str(EXAMPLES / script)], text=True,
                  capture_output=True, check=False, cwd=tmp_path, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    done = run()
    if done.returncode and torchrun_crashed(done.stderr):
        CRASHES.append(script)
        shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
        done = run()
    assert done.returncode == 0, done.stderr
    assert shown(done.stdout.splitlines()[-1]), done.stdout
