"""Losses whose classes, or whose batches, are shared by the ranks of a process group."""

from .classes import class_sharded

__all__ = ["class_sharded"]
