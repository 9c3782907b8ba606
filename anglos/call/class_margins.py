"""Margins of classes, which are added to those of their samples before an engine sees them: m_i + m_{y_i}."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

from anglos.arrays.backend import Backend
from anglos.call.arguments import Array
from anglos.call.kinds import ArrayOf, Number, Refuse, in_degrees

ROLE = "class_margin"


@dataclass(frozen=True)
class OfClasses(ArrayOf):
    """Margins of classes, each as large as the margin that they are added to may be, or as far below 0."""

    margin: Number | None = None

    def __str__(self) -> str:
        what = getattr(self.margin, "what", "")
        return super().__str__() + (f", each {what} from {-self.high:g} to {self.high:g}" if self.ranged else "")

    @property
    def high(self) -> float:
        return math.inf if self.margin is None else self.margin.high

    @property
    def ranged(self) -> bool:
        return self.high < math.inf

    def check_range(self, refuse: Refuse, verb: str, low: float, high: float) -> None:
        """Refuse an array with these bounds; NaN is never in range."""
        for number in (high, low):
            if not -self.high <= number <= self.high:
                refuse(ValueError, f"{verb} {number:g}", f"{self}{in_degrees(self.margin, number)}")

    def nan_outside(self, xp: Any, array: Any) -> Any:
        """The array, with NaN where a value is refused: for when it cannot be looked at."""
        return xp.where((array >= -self.high) & (array <= self.high), array, math.nan)


ClassMargin = Annotated[Array | None, OfClasses("C", optional=True, role=ROLE, text=(
    "Of every class, added to the margin m of its samples, as `anglos.classes` makes them. To the default too: where "
    "they stand alone, m is 0. In the units of m, and no larger than m may be, above 0 or below. It is "
    "differentiated."))]


def beside_margin(kinds: dict[str, Any]) -> dict[str, Any]:
    """The kinds of a loss, in which margins of classes know the margin."""
    return {name: replace(kind, margin=kinds.get(margin_of(kinds))) if isinstance(kind, OfClasses) else kind
            for name, kind in kinds.items()}


def margin_of(kinds: Any) -> str:
    """The option that they are added to."""
    return "margin" if "margin" in kinds else "m2"


def added(backend: Backend, margin: Any, of_classes: Any, labels: Any) -> Any:
    """The margin of every sample, (B,)."""
    return margin + backend.total(backend.of_label(of_classes, labels))


def added_pullback(backend: Backend, d_margin: Any, of_classes: Any, labels: Any) -> Any:
    """∂m_j, the sum over the samples of class j; 0 where there is none."""
    nothing = backend.xp.zeros_like(of_classes, dtype=d_margin.dtype)
    return backend.add_at_labels(labels, 0, nothing, d_margin)
