"""The kernels for CUDA devices, on a CPU."""

import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from anglos.arrays.tile import Product

choice: Any = importlib.import_module("anglos.backends.torch.triton.choice")


@pytest.mark.slow(first=True)
def test_in_tritons_interpreter() -> None:
    """In a process of its own: whether kernels are interpreted is decided when Triton is imported."""
    pytest.importorskip("triton", reason="Triton is not installed: the extra `triton`, on Linux x86-64")
    command = ["-m", "pytest", "-n0", "-q", "-p", "no:cacheprovider"]
    files = sorted(Path(__file__).parent.glob("interpreted*.py"))
    ended = subprocess.run([sys.executable, *command, *files], env=os.environ | {"TRITON_INTERPRET": "1"},
                           capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture
def on_a_hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    """With Triton."""
    monkeypatch.setattr(choice, "has_triton", lambda: True)
    monkeypatch.setattr(choice, "capability_of", lambda device: (9, 0))
    monkeypatch.setattr(choice, "recorded", lambda: False)


def product(dtype: torch.dtype = torch.float32, classes: int = 3) -> Product:
    w, x = torch.ones(classes, 2, dtype=dtype), torch.ones(4, 2, dtype=dtype)
    return Product(w, x, 1.0, None, None, None, torch.zeros(4, dtype=torch.int64), 0)


@pytest.mark.usefixtures("on_a_hopper")
def test_the_way_follows_types_and_the_users_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choice.way_of(product(torch.bfloat16)) == choice.way_of(product(torch.float16)) == "half"
    assert choice.way_of(product()) == "ieee"
    precision = torch.get_float32_matmul_precision()
    for asked, way in (("high", "tf32"), ("medium", "tf32"), ("highest", "ieee")):
        torch.set_float32_matmul_precision(asked)
        try:
            assert choice.way_of(product()) == way
        finally:
            torch.set_float32_matmul_precision(precision)


class Subclass(torch.Tensor):
    """Whose hooks a kernel would not call."""


@pytest.mark.usefixtures("on_a_hopper")
@pytest.mark.parametrize(("reason", "name", "answer", "made"), [
    ("there is no Triton of version 3.6 or later", "has_triton", False, product()),
    ("what is done is differentiated again, or transformed", "recorded", True, product()),
    ("the device has capability (7, 5), and kernels want (8, 0)", "capability_of", (7, 5), product()),
    ("kernels multiply two arrays of one type, which is not float64", None, None, product(torch.float64)),
    ("kernels multiply two arrays of one type, which is not float64", None, None,
     product()._replace(points=torch.ones(4, 2, dtype=torch.bfloat16))),
    ("there is nothing to multiply", None, None, product(classes=0)),
    ("there is a subclass of torch.Tensor", None, None,
     product()._replace(prototypes=torch.ones(3, 2).as_subclass(Subclass))),
])
def test_it_is_said_once_why_kernels_do_not_serve(
        reason: str, name: str | None, answer: Any, made: Product, monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture) -> None:
    if name is not None:
        monkeypatch.setattr(choice, name, lambda *_: answer)
    monkeypatch.setattr(choice, "said", set())
    choice.way_of(made)  # of which nobody asked to hear
    with caplog.at_level("DEBUG", logger="anglos"):
        assert choice.way_of(made) is choice.way_of(made) is None
    assert caplog.messages == [f"{made.points.dtype} on CUDA: by PyTorch's operations, since {reason}"]


@pytest.mark.usefixtures("on_a_hopper")
def test_a_variable_of_the_environment_switches_kernels_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANGLOS_TRITON", "0")
    assert choice.way_of(product()) is None
    assert choice.reason_against(*product()[:2]) == "ANGLOS_TRITON is 0"
    monkeypatch.setenv("ANGLOS_TRITON", "off")
    with pytest.raises(ValueError, match=r"^ANGLOS_TRITON in the environment was 'off'; wanted 0 or 1$"):
        choice.reason_against(*product()[:2])
    monkeypatch.setenv("ANGLOS_TRITON", "1")
    assert choice.way_of(product()) == "ieee"


def test_nothing_of_triton_is_imported_with_the_adapter() -> None:
    """Nor by a loss of tensors on a processor."""
    code = ("import sys, torch, anglos; anglos.arcface(torch.eye(3), torch.eye(3), torch.arange(3)); "
            "print([name for name in sys.modules if name.startswith('anglos.backends.torch.triton')])")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
