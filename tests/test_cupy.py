"""What can be said of CuPy without a GPU. What needs one is marked `gpu`, and a run says that it was skipped."""

import ast
import functools
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from anglos import Loss

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def uses(source: str) -> Iterator[tuple[str, str, frozenset[str]]]:
    """Every name that is taken from a namespace called xp, or cupy, with the keywords that it is called with."""
    tree = ast.parse(source)
    keywords: dict[ast.expr, frozenset[str]] = {
        node.func: frozenset(word.arg for word in node.keywords if word.arg)
        for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            for space in {"xp", "cupy"} & {getattr(node.value, "id", ""), getattr(node.value, "attr", "")}:
                yield space, node.attr, keywords.get(node, frozenset())


@functools.cache
def unknown(path: Path) -> set[str]:
    """Names that CuPy has not, and keywords that its function, where it says so, does not take."""
    spaces = {"xp": import_module("array_api_compat.cupy"), "cupy": import_module("cupy")}
    found = set()
    for space, name, keywords in uses(path.read_text()):
        if not hasattr(spaces[space], name):
            found.add(name)
            continue
        try:
            known = inspect.signature(getattr(spaces[space], name)).parameters
        except (TypeError, ValueError):  # no function, or one that is compiled
            continue
        if not any(one.kind is one.VAR_KEYWORD for one in known.values()):
            found |= {f"{name}({word}=)" for word in keywords - known.keys()}
    return found


def test_cupy_has_every_name(loss: Loss[...]) -> None:
    """Of the loss and of all that is below it."""
    pytest.importorskip("cupy", reason="CuPy is not installed")
    shared = [path for path in (ROOT / "anglos").glob("**/*.py") if path.parent.name != "losses"]
    for path in (ROOT / "anglos" / "losses" / f"{loss.name}.py", ROOT / "backends" / "cupy.py", *shared):
        assert not unknown(path), path


@pytest.mark.parametrize(("right", "wrong", "found"), [
    ("self.xp.where(", "self.xp.wheer(", "wheer"),
    ("xp.reshape(", "xp.rehsape(", "rehsape"),
    ("cupy.matmul(", "cupy.matmull(", "matmull"),
    ("xp.max(xp.abs(x), axis=-1, keepdims=True)", "xp.max(xp.abs(x), axis=-1, keepdim=True)", "max(keepdim=)"),
])
def test_the_scan_finds_a_wrong_name(right: str, wrong: str, found: str, tmp_path: Path) -> None:
    pytest.importorskip("cupy", reason="CuPy is not installed")
    source = "".join((ROOT / name).read_text() for name in (
        "anglos/arrays/backend.py", "anglos/engines/numerics.py", "backends/cupy.py"))
    assert right in source
    (tmp_path / "wrong.py").write_text(source.replace(right, wrong))
    assert unknown(tmp_path / "wrong.py") == {found}


@pytest.fixture
def nvrtc() -> Any:
    pytest.importorskip("cupy", reason="CuPy is not installed")
    nvrtc = import_module("cupy_backends.cuda.libs.nvrtc")
    try:
        nvrtc.getVersion()
    except RuntimeError:
        pytest.skip("NVRTC is not installed")
    return nvrtc


def compiled(nvrtc: Any, inputs: str, operation: str, number_type: str) -> str:
    """The operation as CUDA's compiler takes it, for one element."""
    parameters = [parameter.split() for parameter in inputs.split(", ")]
    pointers = ", ".join(f"const {kind}* {name}_" for kind, name in parameters)
    source = f"""
        typedef long long int64;
        typedef {number_type} T;
        extern "C" __global__ void kernel({pointers}, T* out_) {{
            {" ".join(f"const {kind}& {name} = {name}_[threadIdx.x];" for kind, name in parameters)}
            T& out = out_[threadIdx.x];
            {operation};
        }}"""
    program = nvrtc.createProgram(source, "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, ("--gpu-architecture=compute_90",))
        return str(nvrtc.getPTX(program))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))


@pytest.mark.parametrize("number_type", ["float", "double"])
def test_kernels_compile(nvrtc: Any, number_type: str) -> None:
    kernels = import_module("anglos.backends.cupy").KERNELS
    for inputs, operation in kernels.values():
        machine_code = compiled(nvrtc, inputs, operation, number_type)
        assert ".visible .entry kernel" in machine_code
        assert "min.f" not in machine_code  # which would make a number of NaN, as max.f
        assert "max.f" not in machine_code
    with pytest.raises(pytest.fail.Exception, match="identifier \"logitt\" is undefined"):
        compiled(nvrtc, "T logit", "out = exp(logitt)", number_type)
