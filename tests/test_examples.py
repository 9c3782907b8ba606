"""Every script of docs/examples runs as it stands, and ends with what it is there to show."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"


def numbers(line: str) -> list[float]:
    return [float(word) for word in line.split() if word[:1].isdigit()]


# What a script needs, and whether its last line shows that it has learnt something.
SCRIPTS: dict[str, tuple[str, Callable[[str], bool]]] = {
    "lightning_digits.py": ("lightning", lambda line: numbers(line)[0] > 0.85),  # one in ten by chance
    "onnx_export.py": ("ndonnx", lambda line: math.isclose(*numbers(line)[1:], rel_tol=1e-5)),  # onnxruntime, NumPy
    "optax_digits.py": ("equinox", lambda line: numbers(line)[0] > 0.85),
    "sentence_transformers_topics.py": (
        "sentence_transformers", lambda line: numbers(line)[1] > numbers(line)[0] + 0.1),  # before, after
}


def test_every_example_has_its_line() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == set(SCRIPTS)


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_example_learns(script: str) -> None:
    needed, shown = SCRIPTS[script]
    if find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    done = subprocess.run([sys.executable, str(EXAMPLES / script)], capture_output=True, text=True, check=False,
                          env={**os.environ, "HF_HUB_OFFLINE": "1"})
    assert done.returncode == 0, done.stderr
    assert shown(done.stdout.splitlines()[-1]), done.stdout
