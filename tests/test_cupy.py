"""What can be said of CuPy without a GPU: names, kernels as CUDA's compiler takes them, and both run on a stand-in."""

import ast
import functools
import inspect
import re
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
    for path in (ROOT / "anglos" / "losses" / f"{loss.name}.py", *(ROOT / "backends" / "cupy").glob("*.py"), *shared):
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
        "anglos/arrays/backend.py", "anglos/engines/numerics.py", "backends/cupy/__init__.py"))
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


def compiled(nvrtc: Any, source: str, number_type: str, architecture: int) -> str:
    """What CUDA's compiler makes of it."""
    program = nvrtc.createProgram(f"typedef {number_type} T; typedef {number_type} U; {source}", "kernel.cu", (), ())
    try:
        nvrtc.compileProgram(program, (f"--gpu-architecture=compute_{architecture}",))
        return str(nvrtc.getPTX(program))
    except nvrtc.NVRTCError:
        pytest.fail(nvrtc.getProgramLog(program))


def of_one_element(inputs: str, outputs: str, operation: str) -> str:
    """The source of an elementwise kernel, as CuPy would write it."""
    parameters = [parameter.split() for parameter in f"{inputs}, {outputs}".replace("int64", "LL").split(", ")]
    pointers = ", ".join(f"{kind}* {name}_" for *_, kind, name in parameters)
    elements = "".join(f"{kind}* {name} = {name}_;" if raw else f"{kind}& {name} = {name}_[i];"
                       for *raw, kind, name in parameters)
    return f"""typedef long long LL; extern "C" __global__ void kernel({pointers}) {{
        long long i = threadIdx.x; {elements} {operation}; }}"""


def of_one_pair(inputs: str, output: str, each: str, both: str, last: str, identity: str, reduce_type: str) -> str:
    """The source of a reduction of two elements."""
    parameters = [parameter.replace("float32", "float").split() for parameter in f"{inputs}, {output}".split(", ")]
    pointers = ", ".join(f"{kind}* {name}_" for kind, name in parameters)
    elements = "".join(f"{kind} {name} = {name}_[i];" for kind, name in parameters[:-1])
    kind, name = parameters[-1]
    return f"""extern "C" __global__ void kernel({pointers}) {{
        {reduce_type} a = {identity};
        for (int i = 0; i < 2; ++i) {{ {elements} {reduce_type} b = ({each}); a = ({both}); }}
        {kind}& {name} = {name}_[0]; ({last}); }}"""


@pytest.mark.parametrize("architecture", [80, 90])
@pytest.mark.parametrize("number_type", ["float", "double"])
def test_kernels_compile(nvrtc: Any, number_type: str, architecture: int) -> None:
    kernels, softmax = (import_module(f"anglos.backends.cupy.{name}") for name in ("_kernels", "_softmax"))
    for source in (*(of_one_element(*kernel) for kernel in kernels.KERNELS.values()),
                   *(of_one_pair(*kernel) for kernel in kernels.REDUCTIONS.values()), softmax.SOURCE):
        machine_code = compiled(nvrtc, source, number_type, architecture)
        assert f".target sm_{architecture}" in machine_code
        assert ".visible .entry " in machine_code
        assert "min.f" not in machine_code  # which would make a number of NaN, as max.f
        assert "max.f" not in machine_code
        assert ".local" not in machine_code  # all that a thread has is in registers
        assert not re.search(r"\b(atom|red)\.", machine_code)  # whose order is another every time
        if source is softmax.SOURCE and number_type == "float":
            assert ".f64" not in machine_code
    with pytest.raises(pytest.fail.Exception, match="identifier \"logitt\" is undefined"):
        compiled(nvrtc, of_one_element("T logit", "T out", "out = exp(logitt)"), number_type, architecture)
