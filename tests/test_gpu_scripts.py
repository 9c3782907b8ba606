"""The scripts for a machine with a GPU, which may be there once, run without one."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SCRIPTS = {"ceilings": ("copy", "x Wᵀ"), "table": ("3 products", "anglos.arcface, recomputed"),
           "kernels": ("kernels", "head"), "sweep": ("torch.mm", "terms"), "profiled": ()}
"""And some of what they measure."""


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_for_a_gpu_run_dry(script: str, tmp_path: Path) -> None:
    if script in ("kernels", "sweep") and not find_spec("triton"):
        pytest.skip("Triton is not installed: the extra `triton`, on Linux x86-64")
    ended = subprocess.run([sys.executable, str(ROOT / ".gpu" / f"{script}.py"), "--dry"], cwd=ROOT, check=False,
                           env={**os.environ, "OUT": str(tmp_path), "CELLS": "0,5"}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    figures = [json.loads(line) for line in ended.stdout.splitlines() if line.startswith("{")]
    assert figures == [json.loads(line) for line in (tmp_path / f"{script}.jsonl").read_text().splitlines()]
    assert [figure["failure"] for figure in figures if figure.get("failure")] == []
    assert {*SCRIPTS[script]} <= {figure.get("what") for figure in figures}


def test_every_call_names_scripts_and_tests_that_are_there() -> None:
    calls = (ROOT / ".gpu" / "run").read_text()
    assert all(f" {script}" in calls for script in SCRIPTS)
    named = {word for word in calls.split() if word.startswith("tests/")}
    assert named
    assert all((ROOT / word).is_file() for word in named)
