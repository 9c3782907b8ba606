"""Margins of classes, which are added to those of their samples before an engine sees them: m_i + m_{y_i}."""

from typing import Annotated, Any

from anglos.arrays.backend import Backend
from anglos.call.arguments import Array
from anglos.call.kinds import ArrayOf

ROLE = "class_margin"

ClassMargin = Annotated[Array | None, ArrayOf("C", optional=True, role=ROLE, text=(
    "Of every class, added to the margin m of its samples, as `anglos.classes` makes them. To the default too: where "
    "they stand alone, m is 0. It is differentiated."))]


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
