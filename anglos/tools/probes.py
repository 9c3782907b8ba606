"""What a library computes on here: `python -m` this file answers of one, in a process of its own, which may crash."""

import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Any

_PATIENCE = 120.0
"""How many seconds a library may take to answer; a GPU's may take some."""


def _numpy() -> str:
    numpy: Any = import_module("numpy")
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    try:
        pools = import_module("threadpoolctl").threadpool_info()
    except ModuleNotFoundError:
        return "one thread, as threadpoolctl is not installed"
    return ", ".join(f"{pool['internal_api']} {pool.get('version') or ''}: {pool['num_threads']} threads"
                     for pool in pools if pool["user_api"] == "blas")


def _torch() -> str:
    torch: Any = import_module("torch")
    found = [f"cpu: {torch.get_num_threads()} threads"]
    if torch.cuda.is_available():
        found += [f"cuda:{i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    elif torch.version.cuda:
        found += [f"built for CUDA {torch.version.cuda}, finds no device"]
    if torch.backends.mps.is_available():
        found += ["mps"]
    return ", ".join([*found, f"default dtype {str(torch.get_default_dtype()).removeprefix('torch.')}"])


def _jax() -> str:
    jax: Any = import_module("jax")
    devices = ", ".join(f"{device.platform}:{device.id}: {device.device_kind}" for device in jax.devices())
    return f"{devices}, x64 {'on' if jax.config.jax_enable_x64 else 'off'}"


def _cupy() -> str:
    cuda: Any = import_module("cupy").cuda
    if not cuda.is_available():
        return "finds no GPU"
    names = (cuda.runtime.getDeviceProperties(i)["name"].decode() for i in range(cuda.runtime.getDeviceCount()))
    return ", ".join(f"cuda:{i}: {name}" for i, name in enumerate(names))


def _mlx() -> str:
    return str(import_module("mlx.core").default_device())


PROBES: dict[str, Callable[[], str]] = {"numpy": _numpy, "torch": _torch, "jax": _jax, "cupy": _cupy, "mlx": _mlx}


def answers(libraries: Iterable[str], python: str = sys.executable) -> dict[str, str]:
    """Of each library what it computes on, or why it does not; asked all at once."""
    asked = {name: subprocess.Popen([python, "-m", __name__, name], stdin=subprocess.DEVNULL, text=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for name in libraries}
    return {name: _answer(process) for name, process in asked.items()}


def _answer(process: subprocess.Popen[str]) -> str:
    try:
        said, complaint = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return f"does not answer within {_PATIENCE:g} s"
    if process.returncode < 0:
        return f"ends Python by signal {-process.returncode}"
    last = (complaint if process.returncode else said).strip().rpartition("\n")[2]
    return f"fails: {last or f'ends Python with status {process.returncode}'}" if process.returncode else last


if __name__ == "__main__":
    print(PROBES[sys.argv[1]]())
