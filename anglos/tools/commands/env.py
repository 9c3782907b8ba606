"""`anglos env`."""

import argparse
import os
import platform
from importlib.metadata import distributions
from importlib.util import find_spec

import anglos
from anglos.tools.bench.report import cores, processor
from anglos.tools.probes import PROBES, answers

HELP = "versions, devices and threads, for a bug report"

_BESIDE = ("array-api-compat", "threadpoolctl", "triton", "flax", "equinox", "optax", "ndonnx", "matplotlib",
           "pytorch-metric-learning")
_SWITCHES = ("ANGLOS", "CUDA_VISIBLE_DEVICES", "JAX_", "MKL_NUM", "NVIDIA_TF32", "OMP_", "OPENBLAS_", "PYTORCH_",
             "TORCH", "TRITON_", "XLA_")
"""How the names of environment variables begin that change what a library does."""


def add(parser: argparse.ArgumentParser) -> None:
    """Takes nothing."""


def run(parsed: argparse.Namespace) -> None:
    versions = _versions()
    print(f"anglos {anglos.__version__}, Python {platform.python_version()} ({platform.python_implementation()}), "
          f"{platform.platform()}\n{processor()}, {cores()} cores\n")
    found = answers(name for name in PROBES if _is_there(name))
    for name in PROBES:
        version = next((version for one, version in versions.items() if one.partition("-cuda")[0] == name), "")
        print(" ".join(filter(None, [name, version])) + f": {found.get(name, 'not installed')}")
    print("beside them: " + ", ".join(f"{name} {versions[name]}" for name in _BESIDE if name in versions))
    print(*(f"{name}={value}" for name, value in sorted(os.environ.items()) if name.startswith(_SWITCHES)), sep="\n")


def _is_there(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return True  # whose own words say what is wrong with it


def _versions() -> dict[str, str]:
    """Of all distributions that say what they are."""
    found: dict[str, str] = {}
    for one in distributions():
        try:
            found.setdefault(one.metadata["Name"].lower().replace("_", "-"), one.version)
        except Exception:  # of one that is half removed
            continue
    return found
