"""Whether kernels make a product with what follows it, and how: said once of every kind of call, to those who listen.

    logging.getLogger("anglos").setLevel(logging.DEBUG)

Triton is not imported here, and no number of a tensor is read.
"""

import functools
import logging
import os
import re
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from .._seen import recorded
from . import blocks

_logger = logging.getLogger("anglos")
said: set[str] = set()


def way_of(product: Any) -> str | None:
    """One of those in `blocks`; None where the library's own operations serve."""
    w, x = product.prototypes, product.points
    return way_on(x.dtype, x.device, against_recording() or against_arrays(w, x))


def way_on(dtype: torch.dtype, device: torch.device, reason: str | None) -> str | None:
    """The same for arrays of a type, unless there is a reason against them. It sees none: a graph fixes its answer."""
    reason = against_device(device) or reason
    if reason is not None:
        say(f"{dtype} on CUDA: by PyTorch's operations, since {reason}")
        return None
    way = blocks.HALF if dtype.itemsize == 2 else blocks.TF32 if tf32_is_allowed() else blocks.IEEE
    say(f"{dtype} on CUDA: by kernels ({way})")
    return way


def way_of_pullback(slopes: torch.Tensor, samples: torch.Tensor, direction: torch.Tensor, rounded: bool) -> str | None:
    """The same of the gradient in prototypes, without a word: it has the reasons that its logits have."""
    if reason_against(slopes, samples, direction, of_one_type=False) is not None:
        return None
    return blocks.HALF if rounded else blocks.TF32 if tf32_is_allowed() else blocks.IEEE


def reason_against(*arrays: torch.Tensor, of_one_type: bool = True) -> str | None:
    """Why kernels do not serve, if they do not."""
    return (against_device(arrays[0].device) or against_recording()
            or against_arrays(*arrays, of_one_type=of_one_type))


def against_device(device: torch.device) -> str | None:
    """Why they do not serve there."""
    asked = os.environ.get("ANGLOS_TRITON", "")
    if asked not in ("", "0", "1"):
        raise ValueError(f"ANGLOS_TRITON in the environment was {asked!r}; wanted 0 or 1")
    if asked == "0":
        return "ANGLOS_TRITON is 0"
    if not has_triton():
        return "there is no Triton of version 3.6 or later"
    capability = capability_of(device)
    return None if capability >= (8, 0) else f"the device has capability {capability}, and kernels want (8, 0)"


def against_recording() -> str | None:
    """Why they do not serve here, where nobody could look into them."""
    return "what is done is differentiated again, or transformed" if recorded() else None


def against_arrays(*arrays: torch.Tensor, of_one_type: bool = True) -> str | None:
    """Why they do not serve these."""
    if any(type(array) not in (torch.Tensor, torch.nn.Parameter) for array in arrays):
        return "there is a subclass of torch.Tensor"
    types = {array.dtype for array in arrays}
    if torch.float64 in types or (of_one_type and len(types) > 1):
        return "kernels multiply two arrays of one type, which is not float64"
    return "there is nothing to multiply" if any(array.numel() == 0 for array in arrays) else None


def say(words: str) -> None:
    """Once, to those who listen by then."""
    if words not in said and _logger.isEnabledFor(logging.DEBUG):
        said.add(words)
        _logger.debug(words)


@functools.cache
def has_triton() -> bool:
    """Whether there is one that these kernels are written for, under any of the names that it comes by."""
    for name in ("triton", "pytorch-triton", "triton-windows"):
        try:
            found = version(name)
        except PackageNotFoundError:
            continue
        return tuple(map(int, re.findall(r"\d+", found)[:2])) >= (3, 6)
    return False


def capability_of(device: torch.device) -> tuple[int, int]:
    """Of an NVIDIA device; (0, 0) of others, for which there are no blocks."""
    return (0, 0) if torch.version.hip else torch.cuda.get_device_capability(device)


def tf32_is_allowed() -> bool:
    """Whether the user lets float32 be multiplied as TF32. The older question fails where the newer switch was used."""
    matmul: Any = torch.backends.cuda.matmul
    precision = getattr(matmul, "fp32_precision", None)  # since PyTorch 2.9
    return bool(matmul.allow_tf32) if precision is None else precision == "tf32"
