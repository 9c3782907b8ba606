"""How all pictures look."""

from matplotlib.axes import Axes

INK, GREY, FAINT, MESH, ORANGE = "#1b2433", "#6b7688", "#9aa4b5", "#e6e9ef", "#d9730d"
BLUES = ("#8cbcf0", "#2f7dd1", "#123f7a")


def plain(axes: Axes) -> None:
    """A mesh behind the lines, and no frame."""
    axes.grid(color=MESH, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, labelsize=10, length=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)


def of_angles(axes: Axes) -> None:
    """From 0° to 180°."""
    axes.set(xlim=(0, 180), xticks=[0, 45, 90, 135, 180], xticklabels=["0°", "", "90°", "", "180°"])
    # Centred, those of neighbours would touch.
    for label in axes.get_xticklabels()[:1]:
        label.set_horizontalalignment("left")
    for label in axes.get_xticklabels()[-1:]:
        label.set_horizontalalignment("right")
