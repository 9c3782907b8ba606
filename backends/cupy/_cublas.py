"""Products that `cupy.matmul` has not: of float16 numbers with sums of float32, and of float32 rounded to TF32."""

from typing import Any

import cupy
import numpy as np

_ONE, _ZERO = np.ones((), np.float32), np.zeros((), np.float32)  # cuBLAS reads both from the host


def wide_product(a: Any, b: Any, out: Any = None, tf32: bool = False) -> Any:
    """A b, (n, k) and (k, m), in float32; cuBLAS, whose matrices lie in columns, makes its transpose of theirs.

    TF32: float32 is rounded to the digits of float16, but not to its range, where the GPU is faster with that.
    """
    cublas, runtime = cupy.cuda.cublas, cupy.cuda.runtime
    out = cupy.empty((a.shape[0], b.shape[1]), np.float32) if out is None else out
    if not a.size or not b.size:
        out.fill(0)
        return out
    (n, k), m, kind = a.shape, b.shape[1], runtime.CUDA_R_16F if a.dtype == np.float16 else runtime.CUDA_R_32F
    (b, b_turned, b_step), (a, a_turned, a_step) = _operand(b), _operand(a)
    compute = cublas.CUBLAS_COMPUTE_32F_FAST_TF32 if tf32 else cublas.CUBLAS_COMPUTE_32F
    cublas.gemmEx(cupy.cuda.get_cublas_handle(), b_turned, a_turned, m, n, k, _ONE.ctypes.data,
                  b.data.ptr, kind, b_step, a.data.ptr, kind, a_step, _ZERO.ctypes.data,
                  out.data.ptr, runtime.CUDA_R_32F, m, compute, cublas.CUBLAS_GEMM_DEFAULT)
    return out


def _operand(array: Any) -> tuple[Any, int, int]:
    """A matrix without gaps, how cuBLAS is to turn it, and the step between what it takes for columns."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return array, cupy.cuda.cublas.CUBLAS_OP_T, array.shape[0]
    return cupy.ascontiguousarray(array), cupy.cuda.cublas.CUBLAS_OP_N, array.shape[1]
