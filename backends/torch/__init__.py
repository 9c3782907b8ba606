"""PyTorch: autograd, autocast, compiled and transformed functions, and a layer."""

# Not by their full names, under which a type checker does not find them in this repository.
from ._backend import PyTorch, backend
from ._head import Head

__all__ = ["Head", "PyTorch", "backend"]
