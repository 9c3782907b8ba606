"""Pictures: of a margin, and of what a head does to a batch. Needs matplotlib."""

from anglos.plot.diagnosis import plot_diagnosis as plot_diagnosis
from anglos.plot.style import BLUES as BLUES
from anglos.plot.style import FAINT as FAINT
from anglos.plot.style import GREY as GREY
from anglos.plot.style import INK as INK
from anglos.plot.style import MESH as MESH
from anglos.plot.style import ORANGE as ORANGE
from anglos.plot.target import plot_target as plot_target

__all__ = ["plot_diagnosis", "plot_target"]


def __dir__() -> list[str]:
    return list(__all__)
