"""What takes one pass in some libraries, and for some arrays; None where it does not, and engines compose it."""

from collections.abc import Callable
from typing import Any

from anglos.arrays.library import Array, Library


class AtOnce(Library):
    """Nothing, by itself."""

    at_once = False
    """Whether any of these may be there, beside inverse lengths."""

    def inverse_lengths(self, x: Array) -> Array | None:
        """1 / |x| along the last axis, which stays, in float32 at least.

        Of what cannot be read. It is 0 of lengths that count as 0: `near_rows`.
        """
        return None

    def unit_rows(self, x: Array) -> tuple[Array, Array] | None:
        """X / |x| and 1 / |x| along the last axis, as `inverse_lengths`."""
        return None

    def turned_cosine(self, cos: Array, numbers: Callable[[], tuple[Any, ...]]) -> tuple[Array, Array] | None:
        """Cos(θ + m) and its slope in cos θ.

        The numbers: cos m, sin m, and the least sin θ; the cosine below which, or at it too, it is a line; the line's
        constant, and its factors of cos θ and of cos(θ + m).
        """
        return None

    def softplus(self, x: Array) -> Array | None:
        """Log(1 + eˣ)."""
        return None

    def log_add_exp(self, a: Array, b: Array) -> Array | None:
        """Log(eᵃ + eᵇ), of numbers one of which is finite."""
        return None

    def running_log_sum(self, z: Array, back: bool) -> Array | None:
        """For each of (A, N) log Σ eᶻ of its row up to it; back: from it on."""
        return None

    def sigmoid(self, x: Array) -> Array | None:
        """1 / (1 + e^−x)."""
        return None
