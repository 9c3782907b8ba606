"""What type checkers see of an editable install, as the README makes it: the package, and the options of its losses."""

import json
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

USER = """\
import anglos
from anglos.backends.torch import Head
from typing import Any

x: Any = None
anglos.arcface(x, x, x, margin=0.5)
anglos.mining.batch_hard(x, x)
Head(anglos.arcface, 5, 4, margin=0.3).resize_classes(7)
anglos.arcface(x, x, x, margn=0.5)
anglos.arcfac
anglos.mining.CHOISES
reveal_type(anglos.cosface)
"""
WRONG = {9: "margn", 10: "arcfac", 11: "CHOISES"}


def is_seen() -> bool:
    """Whether anglos is installed so that tools which run no code find it."""
    places = map(Path, sys.path)
    return any((folder / "__types__anglos.pth").exists() or (folder / "anglos" / "py.typed").exists()
               for folder in places if "site-packages" in folder.parts)


@pytest.fixture
def user(tmp_path: Path) -> Path:
    assert is_seen(), "pip install -e . again: of this install type checkers see nothing"
    (tmp_path / "user.py").write_text(USER)
    return tmp_path


def test_mypy_sees_the_options(user: Path) -> None:
    """Without a path to the repository, and without a word of configuration but that other libraries are skipped."""
    (user / "mypy.ini").write_text("[mypy]\n[mypy-torch.*,array_api_compat.*,numpy.*]\nfollow_imports = skip\n")
    done = subprocess.run([sys.executable, "-m", "mypy", "--cache-dir", str(user / "cache"), "user.py"], cwd=user,
                          capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    errors = {int(line.split(":")[1]): line for line in lines if ": error: " in line}
    assert errors.keys() == WRONG.keys(), done.stdout
    assert all(word in errors[number] for number, word in WRONG.items())
    assert any("Loss[" in line and "margin: float" in line for line in lines)


@pytest.mark.slow
def test_pyright_sees_the_options(user: Path) -> None:
    """And so does an editor's hover, which asks it. What else it says of the install is a warning at most."""
    command = shutil.which("basedpyright", path=str(Path(sys.executable).parent)) or shutil.which("basedpyright")
    if command is None:
        pytest.skip("basedpyright is not installed")
    (user / "pyrightconfig.json").write_text('{"typeCheckingMode": "standard"}')
    done = subprocess.run([command, "--outputjson", "--pythonpath", sys.executable, "user.py"], cwd=user,
                          capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)["generalDiagnostics"]
    errors = {one["range"]["start"]["line"] + 1: one["message"] for one in said if one["severity"] == "error"}
    assert errors.keys() == WRONG.keys(), said
    assert all(word in errors[number] for number, word in WRONG.items())
    assert any("margin: float | Array = " in one["message"] for one in said if one["severity"] == "information")


def test_nothing_of_it_is_imported() -> None:
    """The links are for tools alone."""
    anglos = import_module("anglos")
    assert "anglos-stubs" not in str(anglos.__file__)
    assert "anglos-stubs" not in str(import_module("anglos.backends").__file__)
