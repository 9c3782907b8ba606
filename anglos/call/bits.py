"""What an argument may be that says yes or no: an array of 0 and 1."""

from dataclasses import dataclass
from typing import Any

from anglos.call.kinds import ArrayOf, Refuse, spell


@dataclass(frozen=True)
class Bits(ArrayOf):
    """An array of 0 and 1, of any type, or of booleans."""

    dtype: Any = ("bool", "integral", "real floating")
    low: float = 0.0

    def __str__(self) -> str:
        return f"an array of 0 and 1, of boolean, integral or real floating dtype and shape {spell(self.shapes)}"

    def measured(self, xp: Any, array: Any) -> Any:
        """How far they are from ½, twice."""
        floating = xp.isdtype(array.dtype, "real floating")
        return xp.abs(2.0 * (array if floating else xp.astype(array, xp.float32)) - 1.0)

    def check_range(self, refuse: Refuse, verb: str, low: float, high: float) -> None:
        """Refuse an array where these are not 1."""
        if not low == high == 1.0:
            refuse(ValueError, f"{verb} a number that was neither 0 nor 1", str(self))

    def nan_outside(self, xp: Any, array: Any) -> Any:
        """The array: an integer cannot be NaN, so that the result must be."""
        return array
