"""Elementwise kernels: CUDA C, compiled at the first call."""

from typing import Any

import cupy

# Each is one pass, in place: name -> inputs, outputs, operation.
KERNELS = {
    "with_label": ("int64 number, int64 label, T value, T term", "T out", "out = number == label ? value : term"),
    "exponential": ("T logit, T shift", "T out", "out = exp(logit - shift)"),
    # Not by min(), which turns NaN into a number.
    "probability": ("T logit, T total", "T out", "out = exp(logit > total ? T(0) : logit - total)"),
    "project_out": ("T vector, T unit, T along", "T out", "out = vector - unit * along"),
    # Places in order, and whose they are: the first of equal ones adds the rows of them all. By atomics the sums would
    # be others every time.
    "add_rows": (
        "raw int64 places, raw int64 order, raw T values, int64 count, int64 width, int64 length", "raw T whole",
        """
        const long long first = i / width, column = i % width, place = places[first];
        if (place >= 0 && place < length && (first == 0 || places[first - 1] != place)) {
            double total = 0;
            for (long long next = first; next < count && places[next] == place; ++next)
                total += values[order[next] * width + column];
            whole[place * width + column] += T(total);
        }
        """),
}
fused = {name: cupy.ElementwiseKernel(*kernel, f"anglos_{name}") for name, kernel in KERNELS.items()}


def add_rows(whole: Any, places: Any, values: Any) -> Any:
    """The whole, (T, ...), with values, (B, ...), added at places, (B,); what is beyond it is passed over."""
    if not values.size:
        return whole
    order, count = cupy.argsort(places), len(values)
    return fused["add_rows"](places[order], order, cupy.ascontiguousarray(values, whole.dtype), count,
                             values.size // count, len(whole), whole, size=values.size)


# 1 / |x| of a row, which is read once: no square of a float32 leaves the range of a double.
INVERSE_LENGTH = ("T x", "float32 inverse", "double(float(x)) * float(x)", "a + b",
                  f"inverse = sqrt(a) <= {1e8 * 2.0**-126} ? 0.0 : 1.0 / sqrt(a)", "0")
_inverse_length = cupy.ReductionKernel(*INVERSE_LENGTH, "anglos_inverse_length", "double")


def inverse_lengths(x: Any) -> Any:
    """1 / |x| along the last axis, which stays; 0 of what counts as 0."""
    return _inverse_length(x, axis=-1, keepdims=True)
