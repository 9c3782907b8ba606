"""The suite itself: a new loss is tested without one more line, and a wrong gradient is caught."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# One file of a loss that does not exist, as it would stand in anglos/losses; {sign} is right with −.
THROW_AWAY = '''
from functools import partial

import anglos
from anglos import _prototypes
from anglos._arguments import Embeddings, Labels, Reduction, SampleWeight, Weights, Scale, CosineMargin
from anglos._loss import loss
from anglos._row import Curve, Row


@loss(_prototypes, formula="φ = cos θ − m cos² θ", paper="nobody")
def throw_away(embeddings: Embeddings, weights: Weights, labels: Labels, /, *, margin: CosineMargin = 0.2,
               scale: Scale = 8.0, sample_weight: SampleWeight = None, ignore_index: int = -100,
               reduction: Reduction = "mean") -> Row:
    return Row(scale, partial(_target, margin=margin))


def _target(backend, cos, length, *, margin):
    return Curve(cos - margin * cos * cos, 1.0 {sign} 2.0 * margin * cos, {{"margin": -cos * cos}})
'''


def suite_with(code: str, folder: Path) -> tuple[int, str]:
    """The property tests, with the loss registered before they are collected."""
    (folder / "throw_away_plugin.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "throw_away_plugin", "-k", "throw_away", "-x", "--no-header",
         "-p", "no:cacheprovider", str(TESTS / "test_gradients.py"), str(TESTS / "test_properties.py")],
        capture_output=True, text=True, check=False, cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": str(folder)})
    return done.returncode, done.stdout


def test_a_new_loss_is_tested_without_one_more_line(tmp_path: Path) -> None:
    status, output = suite_with(THROW_AWAY.format(sign="-"), tmp_path)
    assert status == 0, output
    assert int(output.rsplit(" passed")[0].split()[-1]) > 40, output


def test_a_wrong_sign_is_caught(tmp_path: Path) -> None:
    status, output = suite_with(THROW_AWAY.format(sign="+"), tmp_path)
    assert status == 1, output
    assert "test_value_and_grad_is_autodiff_of_plain[throw_away]" in output


@pytest.mark.parametrize("leak", ["residuals", "None"])
def test_a_leaking_cache_is_caught(leak: str, tmp_path: Path) -> None:
    """In PyTorch the backward pass must not use its cache when it is itself differentiated."""
    code = ("import anglos._loss as core\nright = core.Plan.backward\n"
            "def backward(plan, g, arrays, residuals, needs):\n"
            "    if residuals is None and type(arrays[0]).__module__.startswith('torch'):\n"
            "        import torch\n        with torch.no_grad():\n            residuals = plan.forward(arrays)[1]\n"
            f"    return right(plan, g, arrays, {leak}, needs)\n"
            "core.Plan.backward = backward\n")
    (tmp_path / "leak_plugin.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "leak_plugin", "--no-header", "-p", "no:cacheprovider",
         f"{TESTS / 'test_gradients.py'}::test_gradient_penalty_is_that_of_autodiff"],
        capture_output=True, text=True, check=False, cwd=TESTS.parent, env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert (done.returncode == 1) == (leak == "residuals"), done.stdout
