"""Losses whose classes, or whose batches, are shared by the ranks of a process group."""

from .batches import batch_sharded
from .classes import class_sharded

__all__ = ["batch_sharded", "class_sharded"]
