"""The scripts for a machine with a GPU, which may be there once, run without one."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
SCRIPTS = {"ceilings": ("copy", "x Wᵀ"), "table": ("3 products", "anglos.arcface, recomputed"), "kernels": ("kernels",),
           "heads": ("step", "ways"), "sweep": ("torch.mm", "terms", "running", "∂w", "∂w by the library"),
           "profiled": ("shares", "∂w", "lengths")}
"""And some of what they measure."""
COMPILED = ("heads", "kernels", "sweep")
"""By several processes before they measure."""


def ended(script: str, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    if script in ("kernels", "sweep", "profiled") and not find_spec("triton"):
        pytest.skip("Triton is not installed: the extra `triton`, on Linux x86-64")
    return subprocess.run([sys.executable, str(ROOT / ".gpu" / f"{script}.py"), "--dry"], cwd=ROOT, check=False,
                          env={**os.environ, "OUT": str(out), "CELLS": "0,5", **environment}, capture_output=True,
                          text=True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_for_a_gpu_run_dry(script: str, tmp_path: Path) -> None:
    """All but what needs a device: the tables of blocks too, of which the interpreter takes some."""
    run = ended(script, tmp_path)
    assert run.returncode == 0, run.stderr
    figures = [json.loads(line) for line in run.stdout.splitlines() if line.startswith("{")]
    assert figures == [json.loads(line) for line in (tmp_path / f"{script}.jsonl").read_text().splitlines()]
    assert [figure["failure"] for figure in figures if figure.get("failure")] == []
    assert {*SCRIPTS[script]} <= {figure.get("what") for figure in figures}
    if script == "sweep":
        assert {figure["own"] for figure in figures if figure.get("what") == "terms"} == {True, False}
    if script == "kernels":
        assert all(figure["ok"] for figure in figures if "ok" in figure)


@pytest.mark.parametrize("script", COMPILED)
def test_a_process_that_compiles_says_nothing_unless_it_fails(script: str, tmp_path: Path) -> None:
    run = ended(script, tmp_path, SHARD="2/9")
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_every_call_names_scripts_and_tests_that_are_there() -> None:
    calls = (ROOT / ".gpu" / "run").read_text()
    assert all(f" {script}" in calls for script in SCRIPTS)
    assert {word for line in re.findall(r"^(?:.\)|) +compiled \d+ \d+ (.*)", calls, re.MULTILINE)
            for word in line.split()} == {*COMPILED}
    named = {word for word in calls.split() if word.startswith("tests/")}
    assert named
    assert all((ROOT / word).is_file() for word in named)
