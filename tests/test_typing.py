"""What a user's type checker says: `mypy --strict` over calls that are right and calls that are wrong."""

import functools
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import anglos
from anglos import Loss

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def check(code: str, skip: str = "") -> list[tuple[int, str]]:
    """Line and message of every error, with the package as it is when installed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site" / "anglos").mkdir(parents=True)
        for path in (*(ROOT / "anglos").iterdir(), ROOT / "backends"):
            (folder / "site" / "anglos" / path.name).symlink_to(path)
        (folder / "user.py").write_text(code)
        (folder / "mypy.ini").write_text(
            "[mypy]\nstrict = true\nmypy_path = site\n[mypy-anglos.*]\nfollow_imports = silent\n"
            f"[mypy-array_api_compat.*{skip}]\nfollow_imports = skip\n")
        done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", "cache", "user.py"], cwd=folder,
                              capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return [(int(line), text) for line, text in re.findall(r"^user\.py:(\d+): error: (.*)$", done.stdout, re.M)]


def assert_errors(code: str, skip: str = "") -> None:
    """Where a line says so in a comment, an error with these words; elsewhere none."""
    found = check(code, skip)
    wanted = {number: line.partition("  # ")[2] for number, line in enumerate(code.splitlines(), 1) if "  # " in line}
    assert {number for number, _ in found} == set(wanted), found
    for number, text in found:
        assert wanted[number] in text


def calls(loss: Loss[...]) -> list[tuple[str, str]]:
    """Calls of a loss, and what is wrong with them; the first two are right."""
    x = ", ".join(["x"] * loss.required)
    full = ", ".join(f"{name}={default!r}" for name, default in loss.defaults.items())
    name = f"anglos.{loss.name}"
    return [
        (f"{name}({x}, {full})", ""),
        (f"array = {name}.plain({x}, {full}); array, _ = {name}.value_and_grad({x}, {full})", ""),
        (f"{name}({x}, reductoin='mean')", 'Unexpected keyword argument "reductoin"'),
        (f"{name}.plain({x}, reductoin='mean')", 'Unexpected keyword argument "reductoin"'),
        (f"{name}.value_and_grad({x}, reductoin='mean')", "No overload variant"),
        (f"{name}({x}, reduction='avg')", "incompatible type" if "reduction" in loss.defaults else "Unexpected"),
        (f"{name}({', '.join(['[[0.0]]', *['x'] * (loss.required - 1)])})", "cannot be"),
        (f"word: str = {name}({x})", ""),
    ]


@functools.cache
def errors_by_loss() -> dict[str, list[list[str]]]:
    """Of every loss, for every call, the errors: of one run."""
    lines = ["import anglos", "import numpy as np", "x = np.ones((2, 2))", "array = x"]
    places = {}
    for loss in anglos.LOSSES.values():
        places[loss.name] = range(len(lines) + 1, len(lines) + 1 + len(calls(loss)))
        lines += [code for code, _ in calls(loss)]
    found = check("\n".join(lines))
    return {name: [[text for number, text in found if number == place] for place in numbers]
            for name, numbers in places.items()}


def test_wrong_calls_are_type_errors(loss: Loss[...]) -> None:
    """A misspelt option, a wrong word, a list; a right call is none, and gives an array of the same library."""
    right, whole, *wrong, word = errors_by_loss()[loss.name]
    assert right == whole == []
    assert word
    for (code, wanted), found in zip(calls(loss)[2:-1], wrong, strict=True):
        assert any(wanted in text for text in found), (code, found)


def test_options_have_types() -> None:
    assert_errors("""
import anglos
import numpy as np

x, w, y = np.ones((2, 3)), np.ones((4, 3)), np.zeros(2, dtype=np.int64)
anglos.arcface(x, w, y, margin=np.full(2, 0.5), scale=np.float32(30.0), sample_weight=None)
anglos.arcface(x, w, y, margin="0.5")  # "margin" to "__call__" of "Loss" has incompatible type "str"
anglos.arcface(x, w, y, margin=[0.5, 0.5])  # has incompatible type "list[float]"
anglos.arcface(x, w, y, label_smoothing="0.1")  # has incompatible type "str"; expected "float | Array"
anglos.arcface(x, w, y, past_pi="keep")  # expected "Literal['smooth',
anglos.arcface(x, w)  # Too few arguments
anglos.arcface(x, w, labels=y)  # labels
anglos.triplet(x, y, mining="hard")  # expected "Literal['batch_hard',
anglos.triplet(x, y, margin="sft")  # expected "float | Array | Literal['soft']"
anglos.arcface.value_and_grad(x, w, y, wrt=("weights", "scale"), scale=30.0)
anglos.arcface.value_and_grad(x, w, y, wrt="weights")  # No overload variant
loss: anglos.Loss[...] = anglos.LOSSES["arcface"]
number: int = anglos.LOSSES  # Incompatible types in assignment
anglos.LOSSES["arcface"](x, w, y, margin=0.5)
anglos.degrees("28")  # incompatible type
""")


def test_types_of_every_framework() -> None:
    """What goes in comes out."""
    for name in ("mlx.core", "ndonnx"):
        pytest.importorskip(name, reason=f"{name} is not installed")
    assert_errors("""
import anglos
import jax
import mlx.core as mx
import ndonnx as ndx
import torch
from anglos.backends.flax import Head as FlaxHead
from anglos.backends.torch import Head
from flax import nnx

def of_torch(x: torch.Tensor, w: torch.nn.Parameter, y: torch.Tensor) -> torch.Tensor:
    return anglos.arcface(x, w, y, margin=x)

def of_jax(x: jax.Array, y: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    return anglos.supcon.value_and_grad(x, y, temperature=x)

def of_mlx(x: mx.array, y: mx.array) -> mx.array:
    return anglos.supcon.plain(x, y, temperature=x)

def of_ndonnx(x: ndx.Array, y: ndx.Array) -> ndx.Array:
    return anglos.supcon(x, y, temperature=x)

def of_another(x: torch.Tensor, y: torch.Tensor) -> jax.Array:
    return anglos.supcon(x, y)  # Incompatible return value type (got "Tensor", expected "Array")

head = Head(anglos.arcface, 10, 4, margin=0.5)
parameter: torch.nn.Parameter = head.weight
Head(anglos.arcface, "10", 4)  # "Head" has incompatible type "str"; expected "int"
Head("arcface", 10, 4)  # "Head" has incompatible type "str"; expected "Loss

flax_head = FlaxHead(anglos.arcface, 10, 4, margin=0.5, rngs=nnx.Rngs(0))
FlaxHead(anglos.arcface, 10, 4)  # Missing named argument "rngs"
FlaxHead(anglos.arcface, 10, "4", rngs=nnx.Rngs(0))  # incompatible type "str"; expected "int"

def of_flax(x: jax.Array, y: jax.Array) -> jax.Array:
    return flax_head(x, y)
""", skip=",flax.*")
