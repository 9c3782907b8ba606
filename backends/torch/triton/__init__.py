"""Kernels of the losses for CUDA devices, one file each, in the Triton that PyTorch ships.

Nothing here is imported before a tensor on such a device is met. None of them uses atomics: sums of blocks are stored,
and added up in one order, so that equal inputs give equal bits.
"""
