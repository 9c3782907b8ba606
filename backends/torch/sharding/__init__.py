"""Losses whose classes, or whose batches, are shared by the ranks of a process group."""
