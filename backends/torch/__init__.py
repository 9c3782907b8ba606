"""PyTorch: autograd, autocast, compiled and transformed functions, a layer, and losses over many devices."""

from typing import TYPE_CHECKING, Any

# Not by their full names, under which a type checker does not find them in this repository.
from ._backend import PyTorch, backend
from ._grad_cache import grad_cache
from ._head import Head
from ._sampled_rows import SampledRows

if TYPE_CHECKING:
    from .sharding import batch_sharded, class_sharded

__all__ = ["Head", "PyTorch", "SampledRows", "backend", "batch_sharded", "class_sharded", "grad_cache"]


def __getattr__(name: str) -> Any:
    """What stands on torch.distributed, which is imported where it is used."""
    if name in __all__:
        from . import sharding

        return getattr(sharding, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
