"""What can be said about CuPy without a GPU: its kernels compile. All else is run by `pytest -m gpu`."""

from importlib import import_module
from typing import Any

import pytest

pytestmark = pytest.mark.slow


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
        assert ".visible .entry kernel" in compiled(nvrtc, inputs, operation, number_type)
    with pytest.raises(pytest.fail.Exception, match="identifier \"logitt\" is undefined"):
        compiled(nvrtc, "T logit", "out = exp(logitt)", number_type)
