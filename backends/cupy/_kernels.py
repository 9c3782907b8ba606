"""Elementwise kernels: CUDA C, compiled at the first call."""

from typing import Any

import cupy

# Each is one pass, in place: name -> inputs, outputs, operation.
KERNELS = {
    "with_label": ("int64 number, int64 label, T value, T term", "T out", "out = number == label ? value : term"),
    "exponential": ("T logit, T shift", "T out", "out = exp(logit - shift)"),
    # Not by min(), which turns NaN into a number.
    "probability": ("T logit, T total", "T out", "out = exp(logit > total ? T(0) : logit - total)"),
    "project_out": ("T vector, U direction, T along", "T out", "out = vector - T(direction) * along"),
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


# Along the last axis, each in one read: name -> inputs, output, of an element, of two, in the end, at first, type.
REDUCTIONS = {
    "dot": ("T x, U y", "T out", "x * T(y)", "a + b", "out = a", "0", "T"),
    # No square of a float32 leaves the range of a double.
    "inverse_length": ("T x", "float32 out", "double(float(x)) * float(x)", "a + b",
                       f"out = sqrt(a) <= {1e8 * 2.0**-126} ? 0.0 : 1.0 / sqrt(a)", "0", "double"),
}
reduced = {name: cupy.ReductionKernel(*kernel, f"anglos_{name}", kind) for name, (*kernel, kind) in REDUCTIONS.items()}
