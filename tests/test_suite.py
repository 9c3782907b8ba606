"""The suite itself: a new loss is tested without one more line, and a wrong gradient is caught."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from representatives import cover, lines_of, options_of, representatives

import anglos
from anglos import Loss

ROOT = Path(__file__).parents[1]

# One file each, with options of names that others have for something else, or nobody has; {sign} is right with −.
LOSSES = {
    "throw_away": '''"""A loss that does not exist."""

from functools import partial
from typing import Any

from anglos import define


@define.prototypes(formula="φ = κ cos θ − β cos² θ", paper="nobody 2026")
def throw_away(
    embeddings: define.Embeddings, weights: define.Weights, labels: define.Labels, /, *,
    beta: define.CosineMargin = 0.2, steepness2: define.PositiveFactor = 1.0, scale: define.Scale = 8.0,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.Row:
    """A loss that does not exist."""
    return define.Row(scale, partial(_target, beta=beta, steepness2=steepness2))


def _target(backend: Any, cos: Any, length: Any, *, beta: Any, steepness2: Any) -> define.Curve:
    """φ = κ cos θ − β cos² θ, φ′ = κ − 2 β cos θ, ∂φ/∂β = −cos² θ, ∂φ/∂κ = cos θ."""
    return define.Curve(steepness2 * cos - beta * cos * cos, steepness2 {sign} 2.0 * beta * cos,
                        {{"beta": -cos * cos, "steepness2": cos}})
''',
    "throw_away_pairs": '''"""A loss over pairs that does not exist."""

from functools import partial
from typing import Any

from anglos import define


@define.pairs(formula="ℓ = ½ β (1 − cos θ_p)² + ½ cos² θ_n", paper="nobody 2026")
def throw_away_pairs(
    points: define.Embeddings, groups: define.Groups, /, *,
    beta: define.PositiveFactor = 3.0, scale: define.Probability = 0.9,
    sample_weight: define.SampleWeight = None, ignore_index: int = -100, reduction: define.Reduction = "mean",
) -> define.PairRow:
    """A loss over pairs that does not exist."""
    return define.PairRow(partial(_terms, beta=beta, scale=scale), ignore_index=ignore_index)


def _terms(backend: Any, tile: define.PairTile, *, beta: Any, scale: Any) -> define.Terms:
    """½ β (a − s)² of positives, ½ s² of negatives; slopes −β (a − s) and s, ∂/∂β = ½ (a − s)², ∂/∂a = β (a − s)."""
    xp, s, pair = backend.xp, tile.values, tile.positive | tile.negative
    error = tile.weighted(xp.where(tile.positive, scale - s, 0.0))
    push = xp.where(tile.negative, s, 0.0)
    pull = 0.5 * xp.sum(xp.where(tile.positive, error * (scale - s), 0.0), axis=1)
    return define.Terms(beta * pull + 0.5 * xp.sum(push * push, axis=1), define.count_pairs(xp, tile, pair),
                        lambda: push {sign} beta * error,
                        lambda: {{"beta": pull, "scale": beta * xp.sum(error, axis=1)}})
'''}
DOCS = """\
| `throw_away` | φ = κ cos θ − β cos² θ | beta=0.2 steepness2=1 scale=8 | nobody 2026 |
| `throw_away_pairs` | ℓ = ½ β (1 − cos θ_p)² + ½ cos² θ_n | beta=3 scale=0.9 | nobody 2026 |
"""


def with_new_losses(folder: Path, sign: str) -> None:
    """A copy of the repository where each has a file, an export and a line of docs."""
    for name in ("anglos", "backends", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    (folder / "anglos" / "backends").symlink_to(folder / "backends")  # what the build does in an installed package
    for name, code in LOSSES.items():
        (folder / "anglos" / "losses" / f"{name}.py").write_text(code.format(sign=sign))
    exports = "".join(f"from anglos.losses.{name} import {name} as {name}\n" for name in LOSSES)
    catalogue = folder / "anglos" / "losses" / "__init__.py"
    catalogue.write_text(catalogue.read_text().replace("\n\nLOSSES", f"\n{exports}\nLOSSES"))
    readme = folder / "README.md"
    readme.write_text(readme.read_text().replace("\n\nOptions that recur", f"\n{DOCS}\nOptions that recur"))


def suite(folder: Path, *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-n", "0", *arguments],
        capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)})
    return done.returncode, done.stdout


def test_a_new_loss_is_tested_without_one_more_line(tmp_path: Path) -> None:
    with_new_losses(tmp_path, sign="-")
    # Of JAX, which compiles, one test.
    files = [f"tests/test_{name}.py" for name in ("gradients", "properties", "package", "head", "out_of_place", "jax")]
    some = "throw_away and not docstring and (not jax or jit_grad) or agree"
    status, output = suite(tmp_path, "-k", some, *files)
    assert status == 0, output
    assert int(output.rsplit(" passed")[0].split()[-1]) > 180, output


def test_a_wrong_sign_is_caught(tmp_path: Path) -> None:
    with_new_losses(tmp_path, sign="+")
    status, output = suite(tmp_path, "-k", "throw_away and autodiff_of_plain", "tests/test_gradients.py")
    assert status == 1, output
    for name in LOSSES:
        assert f"test_value_and_grad_is_autodiff_of_plain[torch-{name}]" in output


def test_an_incomplete_loss_is_named(tmp_path: Path) -> None:
    with_new_losses(tmp_path, sign="-")
    status, output = suite(tmp_path, "-k", "throw_away", "tests/test_package.py")
    assert status == 1, output
    assert "test_docstring_is_complete_and_its_example_right[throw_away]" in output


def twin(changes: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Loss[...]:
    """Another CosFace, whose file differs in this."""
    code = (ROOT / "anglos" / "losses" / "cosface.py").read_text()
    for before, after in {"def cosface(": "def twin(", **changes}.items():
        assert before in code
        code = code.replace(before, after)
    module = ModuleType("twin")
    monkeypatch.setitem(sys.modules, "twin", module)
    exec(code, vars(module))
    found: Loss[...] = vars(module)["twin"]
    return found


STRAIGHT = 'gradient == "straight_through"'


@pytest.mark.parametrize(("changes", "chosen", "by_words"), [
    pytest.param({}, False, False, id="nothing"),
    pytest.param({STRAIGHT: f"True if {STRAIGHT} else False"}, False, True, id="a branch"),
    pytest.param({"scale: define": "planted: define", "Row(scale": "Row(planted",
                  "bias=bias": "bias=bias, names={'planted': (('scale', 1.0),), **{"
                               "one: ((one, 1.0),) for one in ('bias', 'label_smoothing')}}"},
                 True, True, id="an option"),
    pytest.param({STRAIGHT: "True"}, True, True, id="a line of an engine"),
])
def test_a_loss_stands_for_itself_in_what_no_other_does(
    changes: dict[str, str], chosen: bool, by_words: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    another = twin(changes, monkeypatch)
    losses = [*anglos.LOSSES.values(), another]
    assert (another.name, 0) not in lines_of(another)  # a call did not fail
    assert [another in representatives(losses, words=words) for words in (False, True)] == [chosen, by_words]


def test_representatives_run_what_a_call_by_default_does_not() -> None:
    losses = list(anglos.LOSSES.values())
    chosen = representatives(losses)
    files = [file for file, _ in frozenset[Any]().union(*map(lines_of, chosen))]
    assert anglos.LOSSES.keys().isdisjoint(files)  # no call failed
    lines = Counter(Path(file).stem for file in files)
    # Learnt options, rounded slopes, probabilities and weights of pairs in place of labels.
    least = {"of_options": 30, "by_scale": 20, "linear": 45, "targets": 15, "masks": 45}
    assert {name: lines[name] for name in least if lines[name] < least[name]} == {}
    learnt = {name for loss in chosen for name, _ in options_of(loss)}
    assert learnt > {"a", "h", "k", "m1", "m2", "m3", "gamma", "concentration", "negative_weight"}
    assert len(chosen) < 0.7 * len(losses)


def test_representatives_by_words_have_all_code_of_whole_arrays() -> None:
    losses = list(anglos.LOSSES.values())
    by_words = {loss.name for loss in representatives(losses, words=True)}
    assert by_words > {
        "histogram", "smooth_ap", "ranked_list", "lifted_structure", "snr_contrastive", "soft_supcon", "center",
        "entropy", "triplet_margin", "info_nce", "adacos"}
    assert by_words.isdisjoint({"arcface", "cosface", "am_softmax"})
    assert cover({"first": {1, 2}, "part": {2}, "same": {1, 2}, "new": {3}}) == ["first", "new"]


@pytest.mark.parametrize("leak", [True, False])
def test_a_leaking_cache_is_caught(leak: bool, tmp_path: Path) -> None:
    """In PyTorch the backward pass must not use its cache when it is itself differentiated."""
    (tmp_path / "leak.py").write_text(
        "import anglos.call.plan as core\n"
        "right = core.Plan.backward\n"
        "def backward(plan, g, arrays, residuals, needs, anew=False, remembered=None):\n"
        "    if anew and type(arrays[0]).__module__.startswith('torch'):\n"
        "        import torch\n"
        "        with torch.no_grad():\n"
        "            residuals = plan.forward(arrays)[1]\n"
        f"    return right(plan, g, arrays, residuals, needs, anew and not {leak})\n"
        "core.Plan.backward = backward\n")
    test = f"{ROOT / 'tests' / 'test_gradients.py'}::test_gradient_penalty_is_that_of_autodiff"
    status, output = suite(tmp_path, "-p", "leak", "-k", "arcface", test)
    assert (status == 1) == leak, output
