"""The suite itself: a new loss is tested without one more line, and a wrong gradient is caught."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The one file; {sign} is right with −.
LOSS = '''"""A loss that does not exist."""

from functools import partial
from typing import Any

from anglos import define


@define.prototypes(formula="φ = cos θ − m cos² θ", paper="nobody 2026")
def throw_away(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    margin: define.CosineMargin = 0.2, scale: define.Scale = 8.0,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.Row:
    """A loss that does not exist."""
    return define.Row(scale, partial(_target, margin=margin))


def _target(backend: Any, cos: Any, length: Any, *, margin: Any) -> define.Curve:
    """φ = cos θ − m cos² θ, φ′ = 1 − 2 m cos θ, ∂φ/∂m = −cos² θ."""
    return define.Curve(cos - margin * cos * cos, 1.0 {sign} 2.0 * margin * cos, {{"margin": -cos * cos}})
'''
EXPORT = "from anglos.losses.throw_away import throw_away as throw_away\n"
DOCS = "| `throw_away` | φ = cos θ − m cos² θ | margin=0.2 scale=8 | nobody 2026 |\n"


def with_a_new_loss(folder: Path, sign: str) -> None:
    """A copy of the repository with one more file, one more export and one more line of docs."""
    for name in ("anglos", "backends", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    (folder / "anglos" / "backends").symlink_to(folder / "backends")  # what the build does in an installed package
    (folder / "anglos" / "losses" / "throw_away.py").write_text(LOSS.format(sign=sign))
    catalogue = folder / "anglos" / "losses" / "__init__.py"
    catalogue.write_text(catalogue.read_text().replace("\n\nLOSSES", f"\n{EXPORT}\nLOSSES"))
    readme = folder / "README.md"
    readme.write_text(readme.read_text().replace("\n\nOptions that recur", f"\n{DOCS}\nOptions that recur"))


def suite(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-n", "0", *arguments],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})
    return done.returncode, done.stdout


def test_a_new_loss_is_tested_without_one_more_line(tmp_path: Path) -> None:
    with_a_new_loss(tmp_path, sign="-")
    files = [f"tests/test_{name}.py" for name in ("gradients", "properties", "package", "torch", "jax")]
    status, output = suite(tmp_path, "-k", "throw_away and not docstring or agree", *files)
    assert status == 0, output
    assert int(output.rsplit(" passed")[0].split()[-1]) > 60, output


def test_a_wrong_sign_is_caught(tmp_path: Path) -> None:
    with_a_new_loss(tmp_path, sign="+")
    status, output = suite(tmp_path, "-k", "throw_away", "-x", "tests/test_gradients.py")
    assert status == 1, output
    assert "test_value_and_grad_is_autodiff_of_plain[throw_away]" in output


def test_an_incomplete_loss_is_named(tmp_path: Path) -> None:
    with_a_new_loss(tmp_path, sign="-")
    status, output = suite(tmp_path, "-k", "throw_away", "tests/test_package.py")
    assert status == 1, output
    assert "test_docstring_is_complete_and_its_example_right[throw_away]" in output


@pytest.mark.parametrize("leak", [True, False])
def test_a_leaking_cache_is_caught(leak: bool, tmp_path: Path) -> None:
    """In PyTorch the backward pass must not use its cache when it is itself differentiated."""
    (tmp_path / "leak.py").write_text(
        "import anglos.call.loss as core\n"
        "right = core.Plan.backward\n"
        "def backward(plan, g, arrays, residuals, needs, memo=None, anew=False):\n"
        "    if anew and type(arrays[0]).__module__.startswith('torch'):\n"
        "        import torch\n"
        "        with torch.no_grad():\n"
        "            residuals = plan.forward(arrays)[1]\n"
        f"    return right(plan, g, arrays, residuals, needs, {{}}, anew and not {leak})\n"
        "core.Plan.backward = backward\n")
    test = f"{ROOT / 'tests' / 'test_gradients.py'}::test_gradient_penalty_is_that_of_autodiff"
    status, output = suite(tmp_path, "-p", "leak", "-k", "arcface", test)
    assert (status == 1) == leak, output
